"""Kill a run at each of its crash points, recover it in a fresh process, and compare.

`python -m tests.crash.exhaustive SHAPE FOLDER [--mode start|serve] [--empty]` prints what it found as JSON.
It has neither threads nor an event loop of its own: each run and each recovery is a child by `os.fork`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec

from awaitpy import Err
from awaitpy._wire import Entry
from awaitpy.durable import Durable, UnknownRun
from awaitpy.durable._parts import is_final
from awaitpy.stores import SQLiteStore
from tests.crash.kids import Log, ended, fork
from tests.crash.shapes import SHAPES, Expected, answerable, noted, value

RUN = "r"
LEASE = 60.0
LANES = 4
PATIENCE = 60
"""Seconds after which one child is hanging: they take some hundredths of one."""
_WRITES = {"create", "append", "save", "claim", "release", "rewrite", "delete", "renew"}
decode = msgspec.msgpack.Decoder(Entry).decode


class Points:
    """The named moments of a process; at the one it is told, it kills itself."""

    def __init__(self, log, target):
        self._log, self._target = log, target
        self._seen = Counter()
        self.names = []

    def hit(self, name):
        self._seen[name] += 1
        full = f"{name} #{self._seen[name]}"
        self.names.append(full)
        if full == self._target:
            self._log.note("killed")
            os.kill(os.getpid(), signal.SIGKILL)

    def step(self, what, run, key):
        """Note what a step does; it may be killed before, in the middle and after."""
        if what == "begins":
            self.hit(f"before step {key}")
        self._log.note(what, run, key)
        self.hit(f"{'in' if what == 'begins' else 'after'} step {key}")


class Watched:
    """A store that has a crash point before and after each verb that writes."""

    def __init__(self, store, points, log):
        self._store, self._points, self._log = store, points, log

    def __getattr__(self, verb):
        inner = getattr(self._store, verb)
        if verb not in _WRITES:
            return inner

        async def watched(*args, **kwargs):
            entries = [decode(line.data) for line in args[1]] if verb == "append" else []
            name = " ".join([verb, *(entry.key for entry in entries)])
            self._points.hit(f"before {name}")
            given = await inner(*args, **kwargs)
            for entry in filter(is_final, entries):
                self._log.note("kept", RUN, entry.key)
            self._points.hit(f"after {name}")
            return given

        return watched


def connected(path, points):
    """A connection that has a crash point before and after each commit."""

    class Connection(sqlite3.Connection):
        def execute(self, statement, *args):
            if statement != "COMMIT":
                return super().execute(statement, *args)
            points.hit("before commit")
            done = super().execute(statement, *args)
            points.hit("after commit")
            return done

    return sqlite3.connect(path, factory=Connection, check_same_thread=False)


class Time:
    def __init__(self, ahead=0.0):
        self.ahead = ahead

    def __call__(self):
        return time.time() + self.ahead


class Client:
    """Who starts a run and answers its hooks, and notes what it asks and what it was told."""

    def __init__(self, durable, shape, clock, log, points=None):
        self._durable, self._shape, self._clock = durable, shape, clock
        self._log = log
        self._hit = points.hit if points else lambda name: None
        self._serving = False

    async def starts(self, *, enqueue=False):
        begin = self._durable.enqueue if enqueue else self._durable.start
        await self._told("start", begin(self._shape, RUN, run_id=RUN))

    async def answers(self, told=frozenset(), *, serving=False):
        """Answer hooks until the run has ended; what was acknowledged before is not sent again."""
        while (record := await self._durable.get(RUN)).status not in {"completed", "failed"}:
            assert record.status != "interrupted", record.trouble
            if record.status != "suspended" or (
                record.due is not None and record.due.timestamp() <= self._clock()
            ):
                await (asyncio.sleep(0.002) if serving else self._durable.resume(RUN))
                continue
            for name, hook_id in answerable(record.pending).items():
                assert name not in told, f"the acknowledged delivery {name} is lost"
                await self._deliver(name, hook_id, wait=not serving)
                break
            else:
                self._clock.ahead += 100
                await self._durable.resume(RUN)

    async def _deliver(self, name, hook_id, *, wait):
        """Deliver by each of both verbs in turn."""
        verb = self._durable.inject if wait and ord(name[-1]) % 2 else self._durable.deliver
        self._log.note("has", name, hook_id)
        taken = await self._told(name, verb(hook_id, value(name), delivery_id=name))
        assert not isinstance(taken, Err), taken

    async def _told(self, name, asking):
        self._log.note("asks", name)
        self._hit(f"before asking {name}")
        answer = await asking
        self._hit(f"before hearing of {name}")
        self._log.note("told", name)
        self._hit(f"after hearing of {name}")
        return answer


def plays(folder, shape, mode, target):
    """What dies at a point; without one, its points are what it gives."""
    log = Log(folder / "log")
    points = Points(log, target)
    noted.at = points.step
    clock = Time()

    async def main():
        store = SQLiteStore(connection=connected(folder / "runs.db", points), synchronous="NORMAL")
        async with Durable(
            Watched(store, points, log), workflows=[shape], lease=LEASE, clock=clock
        ) as durable:
            client = Client(durable, shape, clock, log, points)
            serving = asyncio.create_task(durable.serve()) if mode == "serve" else None
            await client.starts(enqueue=mode == "serve")
            await client.answers(serving=mode == "serve")
            durable.stop()
            if serving is not None:
                await serving

    signal.alarm(PATIENCE)
    asyncio.run(main())
    log.note("survived")
    (folder / "points").write_text(json.dumps(points.names))


def recovers(folder, shape):
    """A process that serves where another one died, long after."""
    log = Log(folder / "log")
    told = {words[2] for words in log.lines() if words[1] == "told"}
    noted.at = log.note
    clock = Time(1000.0)

    async def main():
        store = SQLiteStore(folder / "runs.db", synchronous="NORMAL")
        async with Durable(store, workflows=[shape], lease=LEASE, clock=clock) as durable:
            client = Client(durable, shape, clock, log)
            on_disk = await _journal(durable)
            log.note("recovers")
            serving = asyncio.create_task(durable.serve())
            if "start" not in told:
                await client.starts()
            await client.answers(told, serving=True)
            end = await _end(durable, shape)
            await _asks_all_again(durable, shape, log)
            assert await _end(durable, shape) == end, "a delivery that came again changed the run"
            durable.stop()
            await serving
            return {"result": end[0], "keys": end[1], "on_disk": on_disk}

    signal.alarm(PATIENCE)
    (folder / "end").write_text(json.dumps(asyncio.run(main())))


async def _journal(durable):
    try:
        return list((await durable.state(RUN)).steps)
    except UnknownRun:
        return None


async def _end(durable, shape):
    outcome = await durable.start(shape, RUN, run_id=RUN)
    return repr(outcome.result), sorted(outcome.state.steps), outcome.state.revision


async def _asks_all_again(durable, shape, log):
    """Deliver all again: the same is taken for the same, and another value is refused."""
    for name, hook_id in {words[2]: words[3] for words in log.lines() if words[1] == "has"}.items():
        again = await durable.deliver(hook_id, value(name), delivery_id=name)
        assert not isinstance(again, Err), again
        other = await durable.deliver(hook_id, "another", delivery_id=f"another {name}")
        assert isinstance(other, Err), other
        assert other.error.status == 409, other


def checked(folder, expected, target):
    """Give what is wrong after a recovery, and whether the process was killed at all."""
    lines = [words[1:] for words in Log(folder / "log").lines()]
    cut = lines.index(["recovers"]) if ["recovers"] in lines else len(lines)
    before, after = lines[:cut], lines[cut:]
    end = json.loads((folder / "end").read_text())
    on_disk = end["on_disk"] or []
    wrong = []
    for found, wanted in ((end["result"], expected.result), (end["keys"], expected.keys)):
        if found != wanted:
            wrong.append(f"{found} is not {wanted}")
    if end["on_disk"] is None and ["told", "start"] in before:
        wrong.append("the run was acknowledged and is not on disk")
    wrong += [
        f"{words[2]} was kept and is not on disk"
        for words in before
        if words[0] == "kept" and words[2] not in on_disk
    ]
    begun = Counter(words[2] for words in before if words[0] == "begins")
    again = Counter(words[2] for words in after if words[0] == "begins")
    if len(open_at_end := [key for key in begun if key not in on_disk]) > expected.width:
        wrong.append(f"{open_at_end} were under way at once")
    for key in {*begun, *again, *expected.ran}:
        under_way = int(begun[key] > 0 and key not in on_disk)
        if begun[key] + again[key] != expected.ran[key] + under_way or begun[key] > 1:
            wrong.append(f"{key} ran {begun[key]} + {again[key]} times")
    killed = ["killed"] in before
    if not killed and ["survived"] not in before:
        wrong.append("it died by itself")
    return {"target": target, "killed": killed, "wrong": wrong}


def tried(folder, shape, mode, target, expected, template):
    """Kill at one point, recover, compare."""
    folder.mkdir()
    if template is not None:
        shutil.copy(template, folder / "runs.db")
    ended(fork(plays, folder, shape, mode, target))
    if ended(fork(recovers, folder, shape)) != 0:
        return {"target": target, "killed": True, "wrong": ["the recovery failed, see above"]}
    found = checked(folder, expected, target)
    if not found["wrong"]:
        shutil.rmtree(folder)
    return found


def lane(folder, number, targets, *rest):
    """Try some of the points, one after the other."""
    found = [
        tried(folder / f"{number}-{n}", *rest[:2], target, *rest[2:]) for n, target in enumerate(targets)
    ]
    (folder / f"lane-{number}").write_text(json.dumps(found))


def _migrates(path):
    async def main():
        store = SQLiteStore(path, synchronous="NORMAL")
        await store.open()
        await store.close()

    asyncio.run(main())


def main(words):
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mode", choices=["start", "serve"], default="start")
    parser.add_argument(
        "--empty", action="store_true", help="begin without a file, so that the tables are made too"
    )
    given = parser.parse_args(words)
    folder, shape = given.folder, SHAPES[given.shape]
    expected = Expected(shape)
    gc.freeze()  # what is there now is shared with all children
    template = None
    if not given.empty:
        template = folder / "template.db"
        assert ended(fork(_migrates, template)) == 0
    dry = folder / "dry"
    dry.mkdir()
    if template is not None:
        shutil.copy(template, dry / "runs.db")
    assert ended(fork(plays, dry, shape, given.mode, None)) == 0, "it fails without being killed"
    targets = json.loads((dry / "points").read_text())
    lanes = [
        fork(lane, folder, n, targets[n::LANES], shape, given.mode, expected, template)
        for n in range(LANES)
    ]
    codes = [ended(pid) for pid in lanes]
    assert codes == [0] * LANES, codes
    found = [each for n in range(LANES) for each in json.loads((folder / f"lane-{n}").read_text())]
    print(json.dumps({"points": targets, "found": found}))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(sys.argv[1:])
