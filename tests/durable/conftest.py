from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from awaitpy import Err, create_hook, pending_hook
from awaitpy.durable import Durable
from awaitpy.stores import MemoryStore, SQLiteStore
from tests.guard import guarded

START = 1_000_000.0
PATIENCE = 60


@pytest.fixture(autouse=True)
def _guard():
    with guarded(PATIENCE):
        yield


class Time:
    """A clock that only the test moves, and sleepers that wake when it comes to their time."""

    def __init__(self):
        self.now = START
        self.sleepers = []
        self.busy = 0

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        waiter = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.now + seconds, waiter))
        await waiter

    def tick(self, seconds):
        """Let time pass, but not while a store is at work: that takes no time here."""
        if not self.busy:
            self.advance(seconds)

    def asleep(self):
        """How many wait for a time to come."""
        return sum(not waiter.done() for _, waiter in self.sleepers)

    def advance(self, seconds):
        self.now += seconds
        due = [waiter for at, waiter in self.sleepers if at <= self.now]
        self.sleepers = [(at, waiter) for at, waiter in self.sleepers if at > self.now]
        for waiter in due:
            if not waiter.done():
                waiter.set_result(None)

    async def run(self, task, step=1.0):
        """Let time pass until a task is done, and give what it gave."""
        async with asyncio.timeout(PATIENCE):
            while not task.done():
                await turns()
                self.tick(step)
        return task.result()


class Seen:
    """A store through which the tests see and disturb what a Durable asks of it.

    `before(verb, n)` is called before the n-th verb, counted from 1, and `after` when it was done; what
    they raise comes out of the verb. `changed` ends by the clock of the test.
    """

    def __init__(self, store, clock):
        self.store = store
        self.clock = clock
        self.asked = []
        self.before = self.after = lambda verb, n: None

    def __getattr__(self, name):
        verb = getattr(self.store, name)
        if name == "within":
            return verb

        async def asked(*args, **kwargs):
            self.asked.append(name)
            n = len(self.asked)
            self.before(name, n)
            self.clock.busy += 1
            try:
                return await verb(*args, **kwargs)
            finally:
                self.clock.busy -= 1
                self.after(name, n)

        return asked

    async def changed(self, timeout):  # noqa: ASYNC109  the name that stores have
        waits = [
            asyncio.ensure_future(self.store.changed(3600)),
            asyncio.ensure_future(self.clock.sleep(timeout)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.wait(waits)


async def turns(n=40):
    for _ in range(n):
        await asyncio.sleep(0)


async def until(condition):
    """Let the others go on until something is so."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came to be so"
        await asyncio.sleep(0)


class World:
    """What the steps of a test did, for as many processes as it plays."""

    def __init__(self, clock, store, reopened):
        self.clock = clock
        self.store = store
        self.reopened = reopened
        self.disk = reopened().store
        self.ran = Counter()
        self.gates = {}
        self.flows = [getattr(self, name) for name in ("pay", "slow", "many", "timed", "broken", "plain")]

    def do(self, what):
        self.ran[what] += 1
        return what

    async def gated(self, what):
        """A step that is under way until the test opens its gate."""
        self.ran[f"{what} begins"] += 1
        await self.gates.setdefault(what, asyncio.Event()).wait()
        self.ran[what] += 1
        return what

    def fail(self, what):
        self.ran[what] += 1
        raise ConnectionError(f"{what} does not answer")

    async def pay(self, step, total: int) -> list[str]:
        first = await step("first", self.do, "first")
        hook = await step("hook", create_hook)
        paid = await step("wait", pending_hook, hook.hook_id, str)
        return [first, paid, await step("last", self.do, f"last {total}")]

    async def slow(self, step) -> str:
        await step("a", self.do, "a")
        await step("b", self.gated, "b")
        return await step("c", self.do, "c")

    async def many(self, step, count: int) -> list[int]:
        hook = await step("hook", create_hook, many=True)
        taken = []
        for n in range(count):
            value = await step(f"wait {n}", pending_hook, hook.hook_id, int)
            taken.append(await step(f"did {n}", self.do, value))
        return taken

    async def timed(self, step) -> str:
        hook = await step("hook", create_hook)
        paid = await step.attempt("wait", pending_hook, hook.hook_id, str, timeout=100)
        return await step("end", self.do, "too late" if isinstance(paid, Err) else "in time")

    async def broken(self, step) -> str:
        await step("a", self.do, "a")
        return await step("b", self.fail, "b")

    async def plain(self, step, n: int) -> int:
        return await step("one", self.do, n)

    def durable(self, store=None, **options):
        options.setdefault("workflows", self.flows)
        return Durable(store or self.store, clock=self.clock, sleep=self.clock.sleep, **options)

    @asynccontextmanager
    async def serving(self, store=None, **options):
        """A Durable that serves; `.serving` is the task."""
        async with self.durable(store, **options) as durable:
            task = asyncio.ensure_future(durable.serve())
            await asyncio.sleep(0)
            try:
                yield durable
            finally:
                durable.stop()
                for gate in self.gates.values():
                    gate.set()
                await task

    async def status(self, run_id):
        """The status of a run on disk, asked beside any Durable."""
        stored = await self.disk.load(run_id, tail=True)
        return None if stored is None else stored.head.status

    async def hook(self, durable, run_id):
        """The hook that a run waits for."""
        (hook,) = (await durable.get(run_id)).pending
        return hook.hook_id

    async def comes_to(self, run_id, status):
        """Wait until a run has this status on disk."""
        end = time.monotonic() + PATIENCE
        while await self.status(run_id) != status:
            assert time.monotonic() < end, f"{run_id} never became {status}"
            await turns(1)

    async def parked(self, durable, run_id):
        """Wait until a run is parked, and give its record."""
        end = time.monotonic() + PATIENCE
        while not (record := await durable.get(run_id)).parked:
            assert time.monotonic() < end, f"{run_id} was never parked"
            await turns(1)
        return record


@pytest.fixture
def clock():
    return Time()


@pytest.fixture(params=["memory", "sqlite"])
async def world(request, clock, tmp_path):
    """Workflows, a store of each kind, and `reopened`, which gives what another process would have."""
    memory = MemoryStore()

    def opened():
        if request.param == "memory":
            return Seen(memory, clock)
        return Seen(SQLiteStore(tmp_path / "runs.db", synchronous="NORMAL"), clock)

    world = World(clock, opened(), opened)
    await world.disk.open()
    yield world
    await world.disk.close()
