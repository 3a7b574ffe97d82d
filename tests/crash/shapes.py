"""Workflows of many shapes. Their steps note when they begin and end, by the keys of their entries."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta

from awaitpy import Err, Ok, Result, Runner, create_hook, first_of, inject_hook, next_wakeup, pending_hook

START = 1_700_000_000.0
NEVER = "never"
"""The name of a hook that nobody comes to."""
IN_MEMORY = "in memory"


class Noted:
    """Where steps note what they do: `at` is called with "begins" or "ends", the run and the key."""

    def __init__(self):
        self.at = None


noted = Noted()


async def work(run: str, key: str) -> str:
    """An effect that takes some turns of the loop."""
    noted.at("begins", run, key)
    for _ in range(len(key) % 3):
        await asyncio.sleep(0)
    noted.at("ends", run, key)
    return key.upper()


def quick(run: str, key: str) -> str:
    noted.at("begins", run, key)
    noted.at("ends", run, key)
    return key.upper()


def checked(run: str, key: str, good: bool) -> Result[str, str]:
    quick(run, key)
    return Ok(key) if good else Err(f"{key} is bad")


def named(run: str, name: str, hook_id: str | None = None, **terms):
    """Wait for a hook to which clients come by this name."""
    return pending_hook(hook_id or f"{run}-{name}", str, metadata={"name": name}, **terms)


async def serial(step, run: str):
    a = await step("a", work, run, "a")
    b = await step("b", quick, run, "b")
    return [a, b, await step("ccc", work, run, "ccc")]


async def loop(step, run: str):
    return [await step(f"item-{i}", work, run, f"item-{i}") for i in range(4)]


async def gathered(step, run: str):
    return await asyncio.gather(*(step(n, work, run, n) for n in ("x", "yy", "zzz")))


async def grouped(step, run: str):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step(n, work, run, n)) for n in ("x", "yy", "zzz")]
    return [task.result() for task in tasks]


async def scoped(step, run: str):
    async def called(mine, name):
        return [await mine(n, work, run, f"{name}/{n}") for n in ("a", "bb")]

    first = await called(step.scope("one"), "one")
    return [first, await called(step.scope("two"), "two"), await step("a", quick, run, "a")]


async def attempted(step, run: str):
    good = await step.attempt("good", checked, run, "good", good=True)
    bad = await step.attempt("bad", checked, run, "bad", good=False)
    return [good.unwrap(), bad.unwrap_err(), await step("mend", work, run, "mend")]


async def failing(step, run: str):
    await step("a", work, run, "a")
    await step("bad", checked, run, "bad", good=False)
    return await step("unreached", work, run, "unreached")


async def early_exit(step, run: str):
    if await step("a", work, run, "a") == "A":
        return "early"
    return await step("unreached", work, run, "unreached")


async def nested(step, run: str):
    async def inner(n):
        async def innermost():
            return await step(f"deep-{n}", work, run, f"deep-{n}")

        return [await innermost(), await step(f"flat-{n}", quick, run, f"flat-{n}")]

    return [await inner(1), await inner(2)]


async def two_hooks(step, run: str):
    one = await step("make-1", create_hook)
    a = await step("w1", named, run, "w1", one.hook_id)
    await step("between", work, run, "between")
    return [a, await step("w2", named, run, "w2"), await step("end", work, run, "end")]


async def hook_in_a_loop(step, run: str):
    got = []
    for i in range(3):
        await step(f"tell-{i}", work, run, f"tell-{i}")
        got.append(await step(f"w{i}", named, run, f"w{i}"))
    return got


async def parallel_hooks(step, run: str):
    async def branch(n):
        await step(f"before-{n}", work, run, f"before-{n}")
        answer = await step(f"w{n}", named, run, f"w{n}")
        return [answer, await step(f"after-{n}", work, run, f"after-{n}")]

    return await asyncio.gather(*(branch(n) for n in range(3)))


async def nested_gather(step, run: str):
    async def pair(n):
        return await asyncio.gather(step(f"{n}a", work, run, f"{n}a"), step(f"{n}h", named, run, f"{n}h"))

    return await asyncio.gather(pair("p"), asyncio.gather(pair("q"), step("r", work, run, "r")))


async def limited(step, run: str):
    gate = asyncio.Semaphore(2)

    async def one(n):
        async with gate:
            first = await step(f"s{n}", work, run, f"s{n}")
            return [first, await step(f"t{n}", work, run, f"t{n}")]

    return await asyncio.gather(*(one(n) for n in range(3)))


async def scoped_parallel(step, run: str):
    async def sub(mine, n):
        a = await mine("a", work, run, f"sub-{n}/a")
        answer = await mine("w", named, run, f"sub-{n}")
        return [a, answer, await mine("b", work, run, f"sub-{n}/b")]

    return await asyncio.gather(*(sub(step.scope(f"sub-{n}"), n) for n in range(2)))


async def many_hook(step, run: str):
    hook = await step("make", create_hook, many=True)
    return [await step(f"w{i}", named, run, f"w{i}", hook.hook_id) for i in range(3)]


async def raced(step, run: str):
    await step("a", work, run, "a")
    won = await step("race", first_of, named(run, "h1"), named(run, NEVER))
    return [won.value, await step("b", work, run, "b")]


async def late(step, run: str):
    await step("a", work, run, "a")
    answer = await step.attempt("w", named, run, NEVER, timeout=50)
    return [isinstance(answer, Err), await step("b", work, run, "b")]


async def slept(step, run: str):
    await step("a", work, run, "a")
    await step.sleep("nap", 50)
    return await step("b", work, run, "b")


async def undone(step, run: str):
    def back(key):
        return lambda _: quick(run, f"undo:{key}")

    for key in ("a", "bb"):
        await step.options(undo=back(key))(key, work, run, key)
    await step("w", named, run, "w")
    return await step("bad", checked, run, "bad", good=False)


SHAPES = {
    shape.__name__: shape
    for shape in (
        serial,
        loop,
        gathered,
        grouped,
        scoped,
        attempted,
        failing,
        early_exit,
        nested,
        two_hooks,
        hook_in_a_loop,
        parallel_hooks,
        nested_gather,
        limited,
        scoped_parallel,
        many_hook,
        raced,
        late,
        slept,
        undone,
    )
}

WIDTH = {
    "gathered": 3,
    "grouped": 3,
    "parallel_hooks": 3,
    "nested_gather": 3,
    "limited": 2,
    "scoped_parallel": 2,
}
"""How many steps may be under way at once, where it is more than one."""


def value(name):
    """What is delivered to the hook of this name."""
    return f"value of {name}"


def answerable(pending):
    """The hooks to which somebody comes, by name."""
    found = {}
    for record in pending:
        found.setdefault(record.metadata["name"], record.hook_id)
    found.pop(NEVER, None)
    return found


class Expected:
    """What a shape gives, journals and does when nothing goes wrong: run in memory, without a store."""

    def __init__(self, shape):
        self.result, self.keys, self.ran = asyncio.run(_inline(shape))
        self.width = WIDTH.get(shape.__name__, 1)


async def _inline(shape):
    ran = Counter()
    before = noted.at
    noted.at = lambda what, run, key: ran.update([key] if what == "begins" else [])
    now = START
    runner = Runner(clock=lambda: datetime.fromtimestamp(now).astimezone())
    outcome = await runner.run(shape, IN_MEMORY)
    while outcome.state.status == "suspended":
        state = outcome.state
        for name, hook_id in answerable(state.pending).items():
            state = inject_hook(state, hook_id, value(name), delivery_id=name)
            break
        else:
            now = (next_wakeup(state) + timedelta(seconds=1)).timestamp()
        outcome = await runner.resume(shape, state)
    noted.at = before
    return repr(outcome.result), sorted(outcome.state.steps), ran
