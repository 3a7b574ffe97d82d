"""Workflows of many shapes, all made of steps that note their key and give a value made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from awaitpy import (
    Err,
    Ok,
    Outcome,
    PendingHook,
    PendingTimer,
    Result,
    ResumeState,
    Retry,
    Runner,
    catching,
    create_hook,
    current_step,
    first_of,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
)
from tests.guard import guarded

ran: list[str] = []
SECONDS = 120

# Runs are quick, but the machine may be busy: what takes too long is a hang, see `guarded`.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """End a test that would hang, be it in a deadlock or in a busy loop, and again what comes after it."""
    with guarded(SECONDS, again=2):
        return (yield)


@pytest.fixture(name="ran")
def _ran() -> list[str]:
    """Give what really ran, in order; empty at the start of a test."""
    ran.clear()
    return ran


class Clock:
    """The time of all runs here: it passes when a run sleeps, or jumps to when one is due."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


clock = Clock()


def runner(**options: Any) -> Runner:
    """A runner of that time, whose random bytes are all zero."""
    return Runner(clock=clock, sleep=clock.sleep, entropy=bytes, **options)


class World:
    """All that a run needs from outside: runners, answers to its hooks, and time that passes."""

    clock = clock
    runner = staticmethod(runner)

    @staticmethod
    def through_bytes(state: ResumeState) -> ResumeState:
        back = ResumeState.from_bytes(state.to_bytes())
        assert back == state
        return back

    @staticmethod
    def through_json(state: ResumeState) -> ResumeState:
        back = ResumeState.from_json(state.to_json())
        assert back == state
        return back

    @staticmethod
    def waits(outcome: Outcome[Any, Any]) -> bool:
        error = outcome.result.error if isinstance(outcome.result, Err) else None
        return isinstance(error, PendingHook | PendingTimer)

    def answer_first(self, state: ResumeState, answer: str | None = None) -> ResumeState:
        """Answer the first wait of a state that has been in another process; without one, let time pass."""
        state = self.through_json(self.through_bytes(state))
        hook_ids = get_pending_hooks(state)
        if not hook_ids:
            self.pass_time(state)
            return state
        record = next(r for r in state.pending if r.hook_id == hook_ids[0])
        answer = f"for {record.step_key}" if answer is None else answer
        return inject_hook(state, hook_ids[0], answer, now=self.clock.now)

    def pass_time(self, state: ResumeState) -> None:
        """Let time pass until the run is due."""
        due = next_wakeup(state)
        assert due is not None
        self.clock.now = max(self.clock.now, due)


@pytest.fixture
def world() -> World:
    clock.now = Clock().now
    return World()


async def work(name: str, value: Any = None) -> Any:
    """An effect: it takes some turns of the loop, and is noted when it happened."""
    for _ in range(len(name) % 3):
        await asyncio.sleep(0)
    ran.append(name)
    return value if value is not None else name.upper()


def quick(name: str) -> str:
    ran.append(name)
    return name.upper()


def checked(name: str, good: bool) -> Result[str, str]:
    ran.append(name)
    return Ok(name) if good else Err(f"{name} is bad")


async def serial(step):
    a = await step("a", work, "a")
    b = await step("b", quick, "b")
    return [a, b, await step("c", work, "ccc", {"n": [1, None]})]


async def loop(step):
    return [await step(f"item-{i}", work, f"item-{i}") for i in range(4)]


async def gathered(step):
    return await asyncio.gather(*(step(n, work, n) for n in ("x", "yy", "zzz")))


async def grouped(step):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step(n, work, n)) for n in ("x", "yy", "zzz")]
    return [task.result() for task in tasks]


async def scoped(step):
    first = await serial(step.scope("one"))
    return [first, await serial(step.scope("two")), await step("a", quick, "a")]


async def attempted(step):
    good = await step.attempt("good", checked, "good", good=True)
    bad = await step.attempt("bad", checked, "bad", good=False)
    if isinstance(bad, Err):
        return [good.unwrap(), await step("mend", work, "mend")]
    return "never"


async def failing(step):
    await step("a", work, "a")
    await step("bad", checked, "bad", good=False)
    return await step("never", work, "never")


async def early_exit(step):
    if await step("a", work, "a") == "A":
        return "early"
    return await step("b", work, "b")


async def nested_functions(step):
    async def inner(n):
        async def innermost():
            return await step(f"deep-{n}", work, f"deep-{n}")

        return [await innermost(), await step(f"flat-{n}", quick, f"flat-{n}")]

    return [await inner(1), await inner(2)]


async def two_hooks(step):
    one = await step("make-1", create_hook)
    a = await step("w1", pending_hook, one.hook_id)
    await step("between", work, "between")
    return [a, await step("w2", pending_hook, "second"), await step("end", work, "end")]


async def hook_in_a_loop(step):
    got = []
    for i in range(3):
        await step(f"tell-{i}", work, f"tell-{i}")
        got.append(await step(f"w{i}", pending_hook, f"h{i}"))
    return got


async def parallel_hooks(step):
    async def branch(n):
        await step(f"before-{n}", work, f"before-{n}")
        answer = await step(f"w{n}", pending_hook, f"h{n}")
        return [answer, await step(f"after-{n}", work, f"after-{n}")]

    return await asyncio.gather(*(branch(n) for n in range(3)))


async def nested_gather(step):
    async def pair(n):
        return await asyncio.gather(step(f"{n}a", work, f"{n}a"), step(f"{n}h", pending_hook, f"{n}h"))

    return await asyncio.gather(pair("p"), asyncio.gather(pair("q"), step("r", work, "r")))


async def timed(step):
    async def stuck():
        await asyncio.sleep(0.1)

    async with asyncio.timeout(5):
        a = await step("in-time", work, "in-time")
    try:
        async with asyncio.timeout(0.001):
            b = await step("stuck", stuck)
    except TimeoutError:
        b = await step("fallback", work, "fallback")
    return [a, b, await step("w", pending_hook, "h"), await step("end", work, "end")]


async def gather_returning_exceptions(step):
    async def raises():
        await step("first", work, "first")
        raise ValueError("of the body")

    got = await asyncio.gather(
        raises(), step("w", pending_hook, "h"), step("b", work, "b"), return_exceptions=True
    )
    return [str(one) for one in got]


async def limited(step):
    gate = asyncio.Semaphore(2)

    async def one(n):
        async with gate:
            first = await step(f"s{n}", work, f"s{n}")
            return [first, await step(f"t{n}", work, f"t{n}")]

    return await asyncio.gather(*(one(n) for n in range(4)))


async def scoped_parallel(step):
    async def sub(mine, n):
        a = await mine("a", work, f"a{n}")
        answer = await mine("w", pending_hook, f"h{n}")
        return [a, answer, await mine("b", work, f"b{n}")]

    return await asyncio.gather(*(sub(step.scope(f"sub-{n}"), n) for n in range(3)))


async def many_hook(step):
    hook = await step("make", lambda: create_hook(many=True, new_id=lambda: "box"))
    return [await step(f"w{i}", pending_hook, hook.hook_id) for i in range(3)]


async def raced(step):
    await step("a", work, "a")
    won = await step("race", first_of, pending_hook("h1"), pending_hook("h2"))
    return [won.hook_id, won.value, await step("b", work, "b")]


async def caught(step):
    def breaks(n: int) -> int:
        ran.append(f"breaks {n}")
        return 1 // n

    def told(error: ZeroDivisionError) -> str:
        return "no division"

    safe = catching(breaks, ZeroDivisionError, into=told)
    one = await step.attempt("one", safe, 1)
    none = await step.attempt("none", safe, 0)
    return [one.unwrap(), none.unwrap_err(), await step("w", pending_hook, "h")]


async def cancelled_loser(step):
    async def late():
        await asyncio.sleep(0.03)

    tasks = [asyncio.ensure_future(step("late", late)), asyncio.ensure_future(step("a", work, "a"))]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return [task.result() for task in done] + [await step("b", work, "b")]


async def background(step):
    task = asyncio.ensure_future(step("back", work, "back"))
    front = [await step(f"front-{i}", work, f"front-{i}") for i in range(3)]
    return [front, await task]


async def delivery(step, name: str):
    a = await step("a", work, f"{name}-a")
    answer = await step("w", pending_hook, f"h-{name}")
    return [a, answer, await step("b", work, f"{name}-b")]


async def child(step):
    first = await step("first", work, "first")
    got = await step.child("ship", delivery, "one")
    return [first, got, await step("last", quick, "last")]


async def children_gathered(step):
    return await asyncio.gather(
        step.child("one", delivery, "one"),
        step.child("two", delivery, name="two"),
        step("w", pending_hook, "own"),
        step("d", work, "dd"),
    )


async def children_grouped(step):
    async def branch(n):
        before = await step(f"before-{n}", work, f"before-{n}")
        got = await step.child(f"c{n}", delivery, f"c{n}")
        return [before, got, await step(f"after-{n}", work, f"after-{n}")]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch(n)) for n in range(3)]
    return [task.result() for task in tasks]


async def family(step, depth: int):
    own = await step("own", work, f"own-{depth}")
    if depth == 0:
        return [own, await step("w", pending_hook, "deep")]
    pair = await asyncio.gather(step.child("next", family, depth - 1), step("by", work, f"by-{depth}"))
    return [own, pair, await step("end", work, f"end-{depth}")]


async def child_in_child(step):
    return [await step.child("family", family, 2), await step("after", work, "after")]


async def parallel_child(step, name: str):
    return await asyncio.gather(
        *(delivery(step.scope(f"s{n}"), f"{name}{n}") for n in range(2)), step("q", work, f"{name}-q")
    )


async def children_of_branches(step):
    return await asyncio.gather(*(step.child(f"c{n}", parallel_child, f"c{n}") for n in range(2)))


def unwork(name: str):
    return lambda _: ran.append(f"undo {name}")


async def spoiled(step, name: str):
    await step.options(undo=unwork(f"{name}-a"))("a", work, f"{name}-a")
    answer = await step("w", pending_hook, f"h-{name}")
    await step.options(undo=unwork(f"{name}-b"))("b", work, f"{name}-b")
    return await step("bad", checked, answer, good=False)


async def failed_child(step):
    await step.options(undo=unwork("first"))("first", work, "first")
    await step.options(undo=unwork("ship")).child("ship", delivery, "one")
    lost = await step.attempt_child("lost", spoiled, "tried")
    return [str(lost.unwrap_err()), await step.child("spoil", spoiled, "two")]


async def failed_beside_a_child(step):
    async def fails():
        await step("gate", pending_hook, "gate")
        await step("bad", checked, "bad", good=False)

    return await asyncio.gather(fails(), step.child("under-way", spoiled, "late"))


async def timed_child(step):
    async def stuck(inner):
        await inner("a", lambda: 1)  # no effect: on a busy machine the time may be over before it
        await inner("b", asyncio.sleep, 0.1)

    try:
        async with asyncio.timeout(0.005):
            got = await step.child("stuck", stuck)
    except TimeoutError:
        got = await step("fallback", work, "fallback")
    return [got, await step("w", pending_hook, "h"), await step("end", work, "end")]


async def mapped(step):
    got = await step.map("m", work, ["m1", "m22", "m333", "m4", "m55"], limit=2)
    return [got, await step("end", work, "end")]


async def mapped_hooks(step):
    hooks = await step.map("hook", lambda i: create_hook(new_id=lambda: f"h{i}"), range(4))
    return await step.map("wait", lambda hook: pending_hook(hook.hook_id), hooks, limit=1)


async def mapped_typed_hooks(step):
    def item(i: int) -> Result[str, PendingHook]:
        ran.append(f"item {i}")
        return pending_hook(f"h{i}")

    return await step.map("wait", item, range(5), limit=2)


async def mapped_failing(step):
    def item(i):
        return pending_hook(f"h{i}") if i % 2 else checked(f"i{i}", good=i < 3)

    return await step.map("m", item, range(6), limit=2)


async def collected_with_a_sibling(step):
    def item(i):
        return pending_hook("h") if i == 1 else checked(f"i{i}", good=i != 2)

    got, other = await asyncio.gather(
        step.map("m", item, range(4), limit=2, collect=True), step("x", work, "x")
    )
    return [repr(got), other]


async def raced_branches(step):
    async def branch(mine, n):
        return [await mine("a", quick, f"a{n}"), await mine("w", pending_hook, f"h{n}")]

    won = await step.race("r", {f"b{n}": lambda s, n=n: branch(s, n) for n in range(3)})
    return [won.name, won.value, await step("end", work, "end")]


async def races_in_gather(step):
    async def decided(n):
        won = await step.race(
            f"r{n}",
            {
                "hook": lambda s: s("w", pending_hook, f"h{n}"),
                "never": lambda s: s.map("m", lambda i: pending_hook(f"never-{n}{i}"), range(2)),
            },
        )
        return [won.name, won.value, await step(f"after-{n}", work, f"after-{n}")]

    return await asyncio.gather(*(decided(n) for n in range(2)), step("x", work, "x"))


# --- policies, alone and in pairs ---------------------------------------------------------------


def flaky(name: str) -> str:
    """Fails once in each series of attempts."""
    ran.append(f"{name} attempt {current_step().attempt}")
    if current_step().attempt < 2:
        raise ConnectionError("down")
    return name.upper()


async def stuck(name: str) -> str:
    await asyncio.get_running_loop().create_future()
    return name


def undo(value: object) -> None:
    ran.append(f"undo {value}")


def declined(name: str) -> Result[str, str]:
    ran.append(name)
    return Err(f"{name} is declined")


def told(error: ConnectionError) -> str:
    return str(error)


async def a_retry(step, key):
    return await step.options(retry=Retry(delay=60))(key, flaky, key)


async def a_retry_at_once(step, key):
    return await step.options(retry=Retry(delay=1))(key, flaky, key)


async def a_timeout(step, key):
    return repr(await step.options(timeout=0.001).attempt(key, stuck, key))


async def a_sleep(step, key):
    await step.sleep(f"{key}-nap", 1)
    await step.sleep(key, 3600)
    return str(await step.uuid(f"{key}-id"))


async def an_undo(step, key):
    return await step.options(undo=undo)(key, work, key)


async def a_note(step, key):
    return await step.options(on_unknown="run")(key, work, key)


async def a_hook(step, key):
    return await step(key, pending_hook, f"hook-{key}")


async def an_attempt(step, key):
    return repr(await step.attempt(key, declined, key))


async def a_caught_one(step, key):
    safe = catching(flaky, ConnectionError, into=told)
    return repr(await step.options(retry=Retry(on=str, delay=60)).attempt(key, safe, key))


async def a_map(step, key):
    return await step.map(key, work, [f"{key}-1", f"{key}-22", f"{key}-3"], limit=2)


async def a_race(step, key):
    won = await step.race(key, {"hook": lambda s: s("w", pending_hook, f"race-{key}")})
    return [won.name, won.value]


async def a_child(step, key):
    return await step.child(key, serial)


POLICIES = [a_retry, a_timeout, a_sleep, an_undo, a_note]
OTHERS = [a_hook, an_attempt, a_caught_one, a_retry_at_once, a_map, a_race, a_child]


def pair(one, other):
    """A workflow of two kinds of steps: one after another, in parallel, in a scope, and undone."""

    async def paired(step):
        first = await one(step.scope("s").options(undo=undo), "a")
        both = await asyncio.gather(other(step, "b"), one(step, "c"))
        last = await other(step.options(undo=undo), "d")
        await step("told", work, "told", [first, both, last])
        await step("end", declined, "end")

    paired.__name__ = paired.__qualname__ = f"{one.__name__}_and_{other.__name__}"
    return paired


PAIRS = [pair(one, one) for one in POLICIES]
PAIRS += [pair(one, other) for one, other in combinations(POLICIES, 2)]
PAIRS += [pair(one, other) for one in POLICIES for other in OTHERS]

SHAPES = [
    serial,
    loop,
    gathered,
    grouped,
    scoped,
    attempted,
    failing,
    early_exit,
    nested_functions,
    two_hooks,
    hook_in_a_loop,
    parallel_hooks,
    nested_gather,
    timed,
    gather_returning_exceptions,
    limited,
    scoped_parallel,
    many_hook,
    raced,
    caught,
    cancelled_loser,
    background,
    child,
    children_gathered,
    children_grouped,
    child_in_child,
    children_of_branches,
    failed_child,
    failed_beside_a_child,
    timed_child,
    mapped,
    mapped_hooks,
    mapped_typed_hooks,
    mapped_failing,
    collected_with_a_sibling,
    raced_branches,
    races_in_gather,
    *PAIRS,
]


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.__name__, scope="module")
def shape(request: pytest.FixtureRequest) -> Any:
    return request.param
