"""Let many inject into the same hooks at the same moment, and see from the log who won.

`python -m tests.crash.racing FOLDER SIZES KIND WHERE...`, where SIZES are as 2x8,64x2: eight runs with two
injectors each, two runs with 64. Each is done with the same value and with different ones. Prints how many
injections there were.
"""

from __future__ import annotations

import asyncio
import gc
import mmap
import signal
import sys
from collections import Counter, defaultdict
from pathlib import Path

from awaitpy import Ok, pending_hook
from awaitpy.durable import Durable
from tests.crash import places
from tests.crash.kids import Family, Log

PROCESSES = 4
LEASE = 600.0
PATIENCE = 300


class Race:
    """One race: `injectors` come to each of `runs`, from some processes."""

    def __init__(self, name, runs, injectors, different, place, log):
        self.runs = [f"{name}-{'different' if different else 'same'}-{n}" for n in range(runs)]
        self.injectors, self.different = injectors, different
        self.place, self.log = place, log
        self.processes = 1 if place[0] == "memory" else min(PROCESSES, injectors)
        self.at = memoryview(mmap.mmap(-1, 4 * self.processes)).cast("I")  # the run that each process is at

    def durable(self, store):
        return Durable(store, workflows=[self.waits], lease=LEASE)

    async def waits(self, step, run: str):
        got = await step("wait", pending_hook, f"{run}-hook", str)
        return await step("take", self.take, run, got)

    def take(self, run: str, got: str) -> str:
        self.log.note("took", run, got)
        return got

    async def begin(self, durable):
        for run in self.runs:
            await durable.start(self.waits, run, run_id=run)

    async def inject(self, durable, process):
        mine = range(process, self.injectors, self.processes)
        for n, run in enumerate(self.runs):
            await self._all_at(process, n + 1)
            await asyncio.gather(*(self._inject(durable, run, injector) for injector in mine))

    async def _all_at(self, process, n):
        self.at[process] = n
        while min(self.at) < n:  # noqa: ASYNC110  it is other processes that come
            await asyncio.sleep(0.0005)

    async def _inject(self, durable, run, injector):
        value = f"v{injector}" if self.different else "v"
        taken = await durable.inject(f"{run}-hook", value)
        if isinstance(taken, Ok):
            assert taken.value.result == Ok(value), taken
        self.log.note("heard", run, value, 200 if isinstance(taken, Ok) else taken.error.status)


async def _in_one_process(race):
    async with race.durable(places.store(*race.place)) as durable:
        await race.begin(durable)
        await race.inject(durable, 0)


async def _with(race, work):
    async with race.durable(places.store(*race.place)) as durable:
        await work(durable)


def in_processes(race):
    if race.place[0] == "memory":
        asyncio.run(_in_one_process(race))
        return
    with Family() as family:
        family.well_ended(family.fork(lambda: asyncio.run(_with(race, race.begin))))
        for process in range(race.processes):
            family.fork(lambda p=process: asyncio.run(_with(race, lambda durable: race.inject(durable, p))))
        for pid in list(family.pids):
            family.well_ended(pid)


def check(race):
    """Exactly one delivery was taken for each run; all who were told so had brought that value."""
    took, heard = defaultdict(list), defaultdict(Counter)
    for words in race.log.lines():
        if words[1] == "took":
            took[words[2]].append(words[3])
        else:
            heard[words[2]][words[3], words[4]] += 1
    for run in race.runs:
        assert len(took[run]) == 1, f"{run} took {took[run]}"
        told = heard[run]
        assert told.total() == race.injectors, f"{run}: {told}"
        won = 1 if race.different else race.injectors
        assert told[took[run][0], "200"] == won, f"{run} took {took[run]}: {told}"
        assert sum(n for (_, status), n in told.items() if status == "409") == race.injectors - won, told


def main(folder, sizes, *place):
    signal.alarm(PATIENCE)
    places.warm(place[0])
    gc.freeze()
    count = 0
    for size in sizes.split(","):
        injectors, runs = map(int, size.split("x"))
        for different in (False, True):
            log = Log(Path(folder) / f"race-{size}-{different}")
            race = Race(size, runs, injectors, different, place, log)
            in_processes(race)
            check(race)
            count += injectors * runs
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
