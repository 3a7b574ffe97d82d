"""Children in durable runs: their hooks are found, their entries outlive a crash, their time is kept."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from awaitpy import (
    HookAlreadyResolved,
    Ok,
    Retry,
    RunFinished,
    UnknownStep,
    create_hook,
    current_step,
    pending_hook,
)
from awaitpy.durable import StoreError

from .conftest import until


@pytest.fixture
def flows(world):
    """Workflows with children: `ordered` has one that waits, `deep` has that one in its child."""

    async def shipped(step, name: str) -> list[str]:
        packed = await step("pack", world.do, f"pack {name}")
        hook = await step("hook", create_hook)
        came = await step("came", pending_hook, hook.hook_id, str)
        return [packed, came, await step("close", world.do, f"close {name}")]

    async def ordered(step) -> list[str]:
        await step("first", world.do, "first")
        got = await step.child("ship", shipped, "book")
        return [*got, await step("last", world.do, "last")]

    async def deep(step) -> list[str]:
        return [*await step.child("order", ordered), await step("end", world.do, "end")]

    return {"ordered": ordered, "deep": deep, "shipped": shipped}


ORDERED = ["pack book", "came", "close book", "last"]


@pytest.mark.parametrize("checkpoint", ["each", "relaxed"])
@pytest.mark.parametrize("name", ["ordered", "deep"])
async def test_a_delivery_finds_the_hook_that_a_child_created(world, flows, name, checkpoint):
    flow = flows[name]
    options = {"workflows": [flow], "checkpoint": checkpoint}
    async with world.durable(**options) as durable:
        hook = (await durable.start(flow, run_id="r")).result.error.hook_id
        assert await world.hook(durable, "r") == hook
        assert await world.disk.find(hook) == "r"
    async with world.durable(world.reopened(), **options) as durable:
        outcome = (await durable.inject(hook, "came")).unwrap()
        assert outcome.result == Ok([*ORDERED, "end"][: len(outcome.result.value)])
        assert (await durable.inject(hook, "came")).unwrap() == outcome
        assert isinstance((await durable.inject(hook, "else")).error, HookAlreadyResolved)
        assert await durable.state("r") == outcome.state
    assert set(world.ran.values()) == {1}


async def test_a_hook_from_outside_that_only_a_child_waits_for_is_known(world):
    async def inner(step) -> str:
        return await step("w", pending_hook, "from outside", str)

    async def outer(step) -> str:
        return await step.child("c", inner)

    async with world.durable(workflows=[outer]) as durable:
        await durable.start(outer, run_id="r")
        assert (await durable.inject("from outside", "x")).unwrap().result == Ok("x")


async def test_a_hook_for_many_in_a_child_takes_each_delivery_once(world):
    async def inner(step) -> list[int]:
        hook = await step("hook", create_hook, many=True)
        return [await step(f"w{n}", pending_hook, hook.hook_id, int) for n in range(3)]

    async def outer(step) -> list[int]:
        return await step.child("c", inner)

    async with world.durable(workflows=[outer]) as durable:
        hook = (await durable.start(outer, run_id="r")).result.error.hook_id
        lost = iter([True])

        def after(verb, _):
            if verb == "save" and next(lost, False):
                raise StoreError("the answer was lost", transient=True)

        world.store.after = after
        for _ in range(3):
            sent = asyncio.ensure_future(durable.inject(hook, 7))
            outcome = (await world.clock.run(sent)).unwrap()
        assert outcome.result == Ok([7, 7, 7])


@pytest.mark.parametrize("name", ["ordered", "deep"])
async def test_a_crash_between_any_two_entries_runs_nothing_twice(world, flows, name):
    flow = flows[name]

    def after(verb, _):
        if verb == "append" and next(left, None) is None:
            raise StoreError("the process is gone, and the entry is kept")

    wanted = Ok([*ORDERED, "end"] if name == "deep" else ORDERED)
    for entries in range(40):
        world.ran.clear()
        run_id, left = f"r{entries}", iter(range(entries))
        dying = world.reopened()
        dying.after = after
        async with world.durable(dying, workflows=[flow]) as durable:
            with contextlib.suppress(StoreError):
                hook = (await durable.start(flow, run_id=run_id)).result.error.hook_id
                (await durable.inject(hook, "came")).unwrap()
        died = await world.status(run_id) != "completed"
        world.clock.advance(1000)
        async with world.durable(workflows=[flow]) as durable:
            outcome = await durable.resume(run_id)
            if outcome.state.status == "suspended":
                outcome = (await durable.inject(outcome.result.error.hook_id, "came")).unwrap()
        assert outcome.result == wanted
        assert set(world.ran.values()) == {1}
        if not died:
            break
    assert entries == (11 if name == "deep" else 8)  # so many are there to die after


@pytest.mark.parametrize("retry", [False, True], ids=["deadline", "retry"])
async def test_time_that_comes_in_a_child_is_kept_by_whoever_serves(world, retry):
    def flaky(name: str) -> str:
        world.ran["tried"] += 1
        if current_step().attempt < 2:
            raise ConnectionError("down")
        return name

    async def inner(step) -> str:
        if retry:
            return await step.options(retry=Retry(delay=100))("w", flaky, "late")
        hook = await step("hook", create_hook)
        return repr(await step.attempt("w", pending_hook, hook.hook_id, str, timeout=100))

    async def outer(step) -> str:
        await step.child("c", inner)
        return await step("end", world.do, "end")

    async with world.serving(workflows=[outer]) as durable:
        assert (await durable.start(outer, run_id="r")).state.status == "suspended"
        world.clock.advance(99)
        assert await world.status("r") == "suspended"
        await until(lambda: world.clock.tick(1) or world.ran["end"])
        await world.comes_to("r", "completed")
    assert world.ran["end"] == 1


async def test_a_child_that_was_cut_off_is_waited_for_no_more(world, flows):
    async def stalled(step) -> str:
        async def branch(mine) -> list[str]:
            return await mine.child("ship", flows["shipped"], "book")

        async def quick(mine) -> str:
            return await mine("q", pending_hook, "quick", str)

        won = await step.race("r", {"child": branch, "quick": quick})
        return won.value + await step("w", pending_hook, "other", str)

    async with world.durable(workflows=[stalled]) as durable:
        await durable.start(stalled, run_id="r")
        (mine,) = [h.hook_id for h in (await durable.get("r")).pending if h.hook_id != "quick"]
        (await durable.inject("quick", "1")).unwrap()
        assert await world.hook(durable, "r") == "other"
        before = await durable.state("r")
        assert isinstance((await durable.inject(mine, "came")).error, RunFinished)
        assert await durable.state("r") == before
        assert (await durable.inject("other", "2")).unwrap().result == Ok("12")


async def test_a_fork_has_children_of_its_own(world, flows):
    keys = []

    def told() -> str:
        keys.append(current_step().idempotency_key)
        return "told"

    async def inner(step) -> str:
        return await step("w", pending_hook, "gate", str) + await step("tell", told)

    async def outer(step) -> str:
        got = await step.child("c", inner)
        return got + await step("last", world.do, "last")

    async with world.durable(workflows=[outer]) as durable:
        await durable.start(outer, run_id="r")
        (await durable.inject("gate", "1")).unwrap()
        outcome = await durable.resume(await durable.fork("r", at="c/tell", new_id="other"))
        assert outcome.result == Ok("1toldlast")
        with pytest.raises(UnknownStep):
            await durable.fork("r", at="c/no such step")
    assert keys == ["r/c:tell", "other/c:tell"]
