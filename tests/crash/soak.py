"""Kill, stop and disturb processes at random for a while; then let one finish, and check everything.

`python -m tests.crash.soak --kills 2000 --store sqlite --seed 1`. The seed decides what is done to whom,
and which runs there are; when exactly it hits them is up to the machine. Prints counts as JSON, or what is
wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random

import attrs
import msgspec

from awaitpy import Err
from awaitpy._wire import Entry
from awaitpy.durable import Durable, StoreError, Tries
from awaitpy.durable._parts import is_final
from tests.crash import places
from tests.crash.kids import Family, Log, SharedTime
from tests.crash.shapes import SHAPES, Expected, answerable, noted, value

LEASE = 30.0
WORKERS = 3
UNFINISHED = 30
"""How many runs are under way at a time."""
PER_RESTART = 50
LONGEST = 1800
"""Seconds after which the soak is hanging."""
decode = msgspec.msgpack.Decoder(Entry).decode


@attrs.define
class World:
    """What all processes of a soak share."""

    place: tuple
    log: Log
    seed: int
    clock: SharedTime = attrs.field(factory=SharedTime)

    def shape(self, run):
        return SHAPES[Random(f"{self.seed} {run}").choice(list(SHAPES))]

    def jump(self, seconds):
        """Set the clock of all. Leases may run out by that: it is noted first."""
        self.log.note("jumps", round(seconds))
        self.clock.jump(seconds)

    def durable(self):
        return Durable(
            Watched(places.store(*self.place), self.log),
            workflows=SHAPES.values(),
            lease=LEASE,
            clock=self.clock,
            concurrency=8,
            tries=Tries(limit=1_000_000, delay=0.05, max_delay=0.5),
        )


class Watched:
    """A store that notes which entries it has kept, and who got which run, and since when they asked."""

    def __init__(self, store, log):
        self._store, self._log = store, log

    def __getattr__(self, verb):
        return getattr(self._store, verb)

    async def append(self, lease, lines):
        await self._store.append(lease, lines)
        for entry in filter(is_final, [decode(line.data) for line in lines]):
            self._log.note("kept", lease.run_id, entry.key)

    async def claim(self, *args, **kwargs):
        asked = self._log.size()
        leases = await self._store.claim(*args, **kwargs)
        for lease in leases:
            self._log.note("leased", lease.run_id, asked)
        return leases


# --- the processes ----------------------------------------------------------------------------------


def serves(world):
    """Work on what is due until it is killed."""

    async def main():
        async with world.durable() as durable:
            await durable.serve()

    noted.at = world.log.note
    asyncio.run(main())


class Client:
    """Queues runs, answers hooks, often twice and late, and notes where it was told what can't be."""

    def __init__(self, world, durable):
        self.world, self.durable, self.log = world, durable, world.log
        self.random = Random()
        lines = self.log.lines()
        self.asked = {words[2] for words in lines if words[1] == "asks-run"}
        self.told = {tuple(words[2:]) for words in lines if words[1] == "told"}
        self.has = {tuple(words[2:4]): words[4] for words in lines if words[1] == "has"}
        self.tasks = set()

    async def begin(self, run):
        self.log.note("asks-run", run)
        await self.durable.enqueue(self.world.shape(run), run, run_id=run)
        self.log.note("told", run)
        self.told.add((run,))

    async def begin_again(self):
        """Ask again for the runs of which nobody was told."""
        for run in [run for run in self.asked if (run,) not in self.told]:
            await self.begin(run)

    async def comes_and_goes(self):
        await self.begin_again()
        count = len(self.asked)
        while True:
            with suppress(StoreError):  # the server is being restarted: it is tried again
                count += await self._turn(count)
            await asyncio.sleep(0.005)

    async def _turn(self, count):
        begun = 0
        for _ in range(UNFINISHED - len(await self.looks())):
            await self.begin(f"run-{count + begun}")
            begun += 1
        if self.has and self.random.random() < 0.3:
            await self.comes_again(*self.random.choice(list(self.has)))
        return begun

    async def looks(self):
        """Answer the hooks of what has not ended; give that."""
        found = []
        for status in ("running", "interrupted", "suspended"):
            known = set(self.told)
            records = await self.durable.list(status=status, limit=1000)
            found += records
            for record in records:
                if record.parked:
                    self.wrong(record.run_id, "is parked:", record.trouble.splitlines()[-1])
                if status == "suspended" and record.due is None:
                    await self._answers(record, known)
        return found

    async def _answers(self, record, known):
        for name, hook_id in answerable(record.pending).items():
            if (record.run_id, name) in known:
                self.wrong(record.run_id, "has lost", name)
            self.log.note("has", record.run_id, name, hook_id)
            self.has[record.run_id, name] = hook_id
            verb = self.random.choice([self.durable.deliver, self.durable.deliver, self.durable.inject])
            for _ in range(self.random.choice([1, 1, 2])):
                self._spawn(self._delivers(verb, record.run_id, name, hook_id))
            await asyncio.sleep(0)

    def _spawn(self, work):
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _delivers(self, verb, run, name, hook_id):
        with suppress(StoreError):  # it is still waited for then, or was taken
            taken = await verb(hook_id, value(name), delivery_id=name)
            if isinstance(taken, Err):
                self.wrong(run, "refused", name, taken.error)
            else:
                self.log.note("told", run, name)
                self.told.add((run, name))

    async def comes_again(self, run, name):
        """Deliver what was acknowledged once more, and another value."""
        if (run, name) not in self.told:
            return
        hook_id = self.has[run, name]
        if isinstance(again := await self.durable.deliver(hook_id, value(name), delivery_id=name), Err):
            self.wrong(run, "refused a repeated", name, again.error)
        if "many" in self.world.shape(run).__name__:
            return
        other = await self.durable.deliver(hook_id, "another", delivery_id=f"other {name}")
        if not isinstance(other, Err) or other.error.status != 409:
            self.wrong(run, "took another value for", name, other)

    def wrong(self, *words):
        self.log.note("WRONG", *words)


def comes(world):
    """A client until it is killed."""

    async def main():
        async with world.durable() as durable:
            await Client(world, durable).comes_and_goes()

    noted.at = world.log.note
    asyncio.run(main())


def finishes(world, folder):
    """Let everything come to its end, disturbed by nobody else, and note how it ended."""

    async def main():
        async with world.durable() as durable:
            client = Client(world, durable)
            serving = asyncio.create_task(durable.serve())
            await client.begin_again()
            while unfinished := await client.looks():
                for record in unfinished:  # what sleeps for long is woken
                    if record.due is not None and record.due.timestamp() > world.clock() + 5:
                        world.jump(100)
                        await durable.resume(record.run_id)
                await asyncio.sleep(0.02)
            ends = {}
            for run in client.asked:
                outcome = await durable.start(world.shape(run), run, run_id=run)
                ends[run] = [repr(outcome.result), sorted(outcome.state.steps)]
            for run, name in client.has:
                await client.comes_again(run, name)
            durable.stop()
            await serving
            return ends

    noted.at = world.log.note
    (folder / "ends").write_text(json.dumps(asyncio.run(main())))


# --- what is done to them ------------------------------------------------------------------------------


class Chaos:
    """Does things to processes, as the seed says."""

    def __init__(self, world, family, server):
        self.world, self.family, self.server = world, family, server
        self.random = Random(world.seed)
        self.children = {}
        self.done = Counter()
        self._restart_at = PER_RESTART

    def go_on(self, kills):
        for _ in range(WORKERS):
            self._fork(serves)
        self._fork(comes)
        self._restart_at = min(PER_RESTART, kills // 2)
        while self.done["kills"] < kills:
            time.sleep(self.random.uniform(0.005, 0.06 if self.server is None else 0.2))
            self._act()
        for pid in self.children:
            self.world.log.note("kills", pid)
            self.family.kill(pid)

    def _fork(self, role):
        self.children[self.family.fork(role, self.world)] = role

    def _act(self):
        assert not (gone := self.family.gone()), f"processes died by themselves: {gone}"
        if self.server is not None and self.done["kills"] >= self._restart_at:
            self._restart_at += PER_RESTART
            self._restart()
        dice = self.random.random()
        if dice < 0.75:
            self._kill(self.random.choice(list(self.children)))
        elif dice < 0.82:
            self._stop(self.random.choice([pid for pid, role in self.children.items() if role is serves]))
        elif dice < 0.97:
            self._jump(LEASE + self.random.uniform(1, LEASE))
        else:
            self._jump(-self.random.uniform(1, 10))

    def _kill(self, pid):
        self.world.log.note("kills", pid)
        self.family.kill(pid)
        self._fork(self.children.pop(pid))
        self.done["kills"] += 1

    def _jump(self, seconds):
        self.world.jump(seconds)
        self.done["jumps"] += 1

    def _stop(self, pid):
        """Stop one for longer than its lease; the others go on meanwhile."""
        self.world.log.note("stops", pid)
        os.kill(pid, signal.SIGSTOP)
        self._jump(LEASE + 1)
        time.sleep(self.random.uniform(0.02, 0.3))
        os.kill(pid, signal.SIGCONT)
        self.done["stops"] += 1

    def _restart(self):
        self.world.log.note("restarts")
        self.server.restart(kill=self.random.random() < 0.5)
        self.world.log.note("restarted")
        self.done["restarts"] += 1


# --- the check -------------------------------------------------------------------------------------------


class Checker:
    """Reads the log: nothing that was kept is repeated, and nothing is repeated without a cause."""

    def __init__(self, world):
        self.wrong = []
        self.again = 0
        self._lines = world.log.placed_lines()
        self._died = {}
        self._disturbed = []
        self._stopped = defaultdict(list)
        self._restarts = []

    def check(self):  # noqa: C901  a table of the words of the log
        begins, kept, leased = defaultdict(list), {}, defaultdict(list)
        for at, (pid, what, *rest) in self._lines:
            match what:
                case "begins":
                    # Who has claimed its own run anew may be at the end of a step that began before.
                    begins[tuple(rest)].append((at, pid, (leased[pid, rest[0]][-2:] or [at])[0]))
                case "kept":
                    kept.setdefault(tuple(rest), at)
                case "leased":
                    leased[pid, rest[0]].append(int(rest[1]))
                case "kills":
                    self._died[rest[0]] = at
                case "jumps":
                    self._disturbed.append(at)
                case "stops":
                    self._stopped[rest[0]].append(at)
                case "restarts" | "restarted":
                    self._restarts.append(at)
                case "WRONG":
                    self.wrong.append(" ".join(rest))
        for step, times in begins.items():
            self._check_step(step, times, kept.get(step))
        return begins

    def _check_step(self, step, times, kept):
        for at, pid, since in times:
            if kept is not None and at > kept and not self._may_be_late(pid, since, at):
                self.wrong.append(f"{step} began again after it was kept, in {pid} at {at}")
        for (at, pid, since), (next_at, next_pid, next_since) in pairwise(times):
            self.again += 1
            late = self._may_be_late(pid, since, next_at) or self._may_be_late(
                next_pid, next_since, next_at
            )
            if not late and not self._was_cut(pid, at, next_at):
                self.wrong.append(
                    f"{step} of {pid} at {at} began again at {next_at}, and nothing had happened"
                )

    def _was_cut(self, pid, at, until_at):
        return self._died.get(pid, until_at) < until_at or any(
            at <= each <= until_at for each in self._restarts
        )

    def _may_be_late(self, pid, since, until_at):
        """Whether its lease may have run out between."""
        return any(since <= each <= until_at for each in (*self._disturbed, *self._stopped[pid]))


def check(world, folder):
    checker = Checker(world)
    begins = checker.check()
    ends = json.loads((folder / "ends").read_text())
    expected = {name: Expected(shape) for name, shape in SHAPES.items()}
    for run, (result, keys) in ends.items():
        wanted = expected[world.shape(run).__name__]
        if (result, keys) != (wanted.result, wanted.keys):
            checker.wrong.append(f"{run} ended with {result} {keys}, not {wanted.result} {wanted.keys}")
        for key in wanted.ran:
            if (run, key) not in begins:
                checker.wrong.append(f"{run} never ran {key}")
    return checker.wrong, {"runs": len(ends), "steps": len(begins), "again": checker.again}


def soak(kills, seed, folder, place, server=None):
    """Give what is wrong, and counts."""
    world = World(place, Log(folder / "log"), seed)
    logging.disable(logging.ERROR)  # what fails for a while is logged, and here it fails all the time
    places.warm(place[0])
    gc.freeze()
    with Family() as family:
        chaos = Chaos(world, family, server)
        chaos.go_on(kills)
        world.jump(10 * LEASE)
        family.well_ended(family.fork(finishes, world, folder))
    wrong, counts = check(world, folder)
    return wrong, {**chaos.done, **counts}


def main(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args(words)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("it takes too long"))
    signal.alarm(LONGEST)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="awaitpy-") as made:
        folder = given.folder or Path(made)
        if given.store == "sqlite":
            wrong, counts = soak(given.kills, given.seed, folder, ("sqlite", str(folder / "runs.db")))
        else:
            from tests.stores.servers import Postgres

            with Postgres() as server:
                place = ("postgres", server.url, uuid.uuid4().hex)
                wrong, counts = soak(given.kills, given.seed, folder, place, server)
    counts["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps({"store": given.store, "seed": given.seed, **counts}))
    if wrong:
        sys.exit("\n".join([f"{len(wrong)} things are wrong:", *wrong[:20]]))


if __name__ == "__main__":
    main(sys.argv[1:])
