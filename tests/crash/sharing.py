"""Let two processes serve the same queue; one of them is killed, or stopped for longer than its lease.

`python -m tests.crash.sharing FOLDER RUNS kill|stop KIND WHERE...` prints how the work was shared.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import os
import signal
import sqlite3
import sys
from collections import Counter, defaultdict
from pathlib import Path

from awaitpy.durable import Durable
from tests.crash import places
from tests.crash.kids import Family, Log, SharedTime, ended, fork, until

LEASE = 600.0
AT_ONCE = 8
STEPS = ("a", "b", "c")
PATIENCE = 300


class Office:
    """The runs, where they are kept, and the log of what their steps did."""

    def __init__(self, folder, count, place):
        self.place = place
        self.runs = [f"run-{n}" for n in range(count)]
        self.clock = SharedTime()
        self.log = Log(folder / "log")
        self.snapshot = folder / "snapshot"

    async def errand(self, step, run: str):
        return [await step(key, self.do, run, key) for key in STEPS]

    async def do(self, run: str, key: str) -> int:
        self.log.note("begins", run, key)
        await asyncio.sleep(0.003)
        self.log.note("ends", run, key)
        return os.getpid()

    def durable(self, owner):
        store = places.store(*self.place)
        return Durable(
            store, workflows=[self.errand], lease=LEASE, clock=self.clock, owner=owner, concurrency=AT_ONCE
        )

    def serves(self, owner):
        asyncio.run(self._serves(owner))

    async def _serves(self, owner):
        async with self.durable(owner) as durable:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, durable.stop)
            self.log.note("serves")
            await durable.serve()

    def enqueues(self, runs):
        asyncio.run(self._enqueues(runs))

    async def _enqueues(self, runs):
        async with self.durable("client") as durable:
            await asyncio.gather(*(durable.enqueue(self.errand, run, run_id=run) for run in runs))

    def waits(self, gone):
        """Return when every run is completed, or leased by the one that is gone."""
        asyncio.run(self._waits(gone))

    async def _waits(self, gone):
        async with self.durable("watcher") as durable:
            while not await self._all_rest(durable, gone):  # noqa: ASYNC110  it is other processes that work
                await asyncio.sleep(0.05)

    async def _all_rest(self, durable, gone):
        return all(_rests(record, gone) for record in await durable.list(limit=5000))

    def looks(self):
        """Note all that the store has."""
        asyncio.run(self._looks())

    async def _looks(self):
        store = places.store(*self.place)
        await store.open()
        kept = {run: await store.load(run) for run in self.runs}
        await store.close()
        found = {
            run: [
                stored.head.status,
                stored.revision,
                stored.updated,
                len(stored.lines),
                hashlib.sha256(b"".join(stored.lines)).hexdigest(),
                str(stored.lease),
            ]
            for run, stored in kept.items()
        }
        self.snapshot.write_text(json.dumps(found))

    def seen(self):
        assert ended(fork(self.looks)) == 0
        return json.loads(self.snapshot.read_text())


def _rests(record, gone):
    return record.status == "completed" or (
        record.leased_by is not None and record.leased_by[0].startswith(gone)
    )


def _stop(pid, place):
    """Stop a process, but not while it has the lock of the file: nobody could write until it goes on."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        if place[0] != "sqlite" or ended(fork(_writes_nothing, place[1])) == 0:
            return
        os.kill(pid, signal.SIGCONT)


def _writes_nothing(path):
    db = sqlite3.connect(path, timeout=0.5, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        os._exit(3)
    db.close()


def _both_work(office, pids):
    done = Counter(int(words[0]) for words in office.log.lines() if words[1] == "ends")
    enough = len(office.runs) * len(STEPS)
    return all(done[pid] >= enough / 10 for pid in pids) and done.total() >= enough / 2


def main(folder, count, how, *place):
    signal.alarm(PATIENCE)
    places.warm(place[0])
    gc.freeze()
    office = Office(Path(folder), int(count), place)
    with Family() as family:
        gone, other = (family.fork(office.serves, owner) for owner in ("gone", "other"))
        until(lambda: sum(words[1] == "serves" for words in office.log.lines()) == 2)
        family.well_ended(family.fork(office.enqueues, office.runs))
        until(lambda: _both_work(office, (gone, other)))
        if how == "kill":
            family.kill(gone)
        else:
            _stop(gone, place)
        office.log.note("gone")
        family.well_ended(family.fork(office.waits, "gone"))
        office.clock.jump(2 * LEASE)
        office.runs.append("one-more")  # whoever waits looks again
        family.well_ended(family.fork(office.enqueues, office.runs[-1:]))
        family.well_ended(family.fork(office.waits, "nobody"))
        before = office.seen()
        if how == "stop":
            os.kill(gone, signal.SIGCONT)
            os.kill(gone, signal.SIGTERM)
            family.well_ended(gone)
            assert office.seen() == before, "who had lost its leases wrote all the same"
        os.kill(other, signal.SIGTERM)
        family.well_ended(other)
    check(office, before, gone)


def check(office, kept, gone):
    """Each run is done once; only what was under way in the process that is gone was begun again."""
    assert {status for status, *_ in kept.values()} == {"completed"}
    assert {lines for _, _, _, lines, *_ in kept.values()} == {len(STEPS)}
    begun = defaultdict(list)
    last = {}
    for pid, what, *step in office.log.lines():
        if what == "begins":
            begun[tuple(step)].append(int(pid))
            if int(pid) == gone:
                last[step[0]] = step[1]
    assert set(begun) == {(run, key) for run in office.runs for key in STEPS}
    again = {step: pids for step, pids in begun.items() if len(pids) > 1}
    for (run, key), pids in again.items():
        assert len(pids) == 2, f"{run} {key} was begun by {pids}"
        assert pids.count(gone) == 1, f"{run} {key} was begun twice by one who was there all the time"
        assert last[run] == key, f"{run} {key} was not under way"
    assert len(again) <= AT_ONCE
    shares = Counter(pids[0] == gone for pids in begun.values())
    print(json.dumps({"gone": shares[True], "other": shares[False], "again": len(again)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
