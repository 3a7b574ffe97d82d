"""Law 4: how a suspension unwinds branches: each is cleaned up, once, and none is waited for in vain."""

from __future__ import annotations

# ruff: noqa: BLE001  what a workflow that catches everything may catch is the point
import asyncio
import contextlib
import sys

import pytest

from awaitpy import Ok, PendingHook, get_pending_hooks, pending_hook, resume, run


async def turns(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def branch(step, calls, name, slow: int):
    """Wait for a hook; clean up in some turns of the loop."""
    try:
        return await step(name, pending_hook, name)
    finally:
        await turns(slow)
        calls(f"cleaned {name}")


async def in_background(step, calls, slow):
    """The workflow waits itself, and so does a task that it has started."""
    task = asyncio.ensure_future(branch(step, calls, "a", slow))
    return [await branch(step, calls, "b", slow), await task]


async def in_body_of_group(step, calls, slow):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(branch(step, calls, "a", slow))
        await asyncio.sleep(0)
        last = await branch(step, calls, "b", slow)
    return [last, task.result()]


async def awaited_in_finally(step, calls, slow):
    task = asyncio.ensure_future(branch(step, calls, "a", slow))
    await asyncio.sleep(0)
    try:
        return [await branch(step, calls, "b", slow), await task]
    finally:
        await asyncio.wait([task])


async def nested_groups(step, calls, slow):
    async def nest(depth):
        if not depth:
            return await branch(step, calls, "a", slow)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(nest(depth - 1))
        return task.result()

    return list(await asyncio.gather(branch(step, calls, "b", slow), nest(8)))


async def shielded(step, calls, slow):
    task = asyncio.ensure_future(branch(step, calls, "a", slow))
    last = await asyncio.gather(asyncio.shield(task), branch(step, calls, "b", slow))
    return last[::-1]


WAYS = [in_background, in_body_of_group, awaited_in_finally, nested_groups, shielded]


@pytest.mark.parametrize("slow", [0, 1, 5, 40])
@pytest.mark.parametrize("way", WAYS)
async def test_every_branch_that_waits_is_cleaned_up_whole_at_each_suspension(calls, answered, way, slow):
    async def flow(step):
        return await way(step, calls, slow)

    first = await run(flow)
    assert isinstance(first.result.error, PendingHook)
    assert sorted(get_pending_hooks(first.state)) == ["a", "b"]
    assert sorted(calls) == ["cleaned a", "cleaned b"]
    calls.clear()
    second = await resume(flow, answered(first.state, a=1))
    assert get_pending_hooks(second.state) == ["b"]
    assert sorted(calls) == ["cleaned a", "cleaned b"]
    done = await resume(flow, answered(second.state, b=2))
    assert done.result == Ok([2, 1])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_workflow_that_swallows_its_suspension_and_awaits_a_branch_does_not_hang(calls):
    async def late(step):
        await asyncio.sleep(0.002)
        await step("late", calls, "late")

    async def flow(step):
        task = asyncio.ensure_future(late(step))
        try:
            await step("wait", pending_hook, "h")
        except BaseException:
            calls("swallowed")
        with contextlib.suppress(BaseException):
            await task
        return "fine"

    outcome = await run(flow)
    assert not isinstance(outcome.result, Ok)
    assert calls == ["swallowed"]
    assert get_pending_hooks(outcome.state) == ["h"]


async def test_a_branch_that_swallows_its_cancellation_and_asks_for_more_gets_nothing(calls):
    async def stubborn(step):
        for i in range(3):
            with contextlib.suppress(BaseException):
                await step(f"w{i}", pending_hook, f"h{i}")
        with contextlib.suppress(BaseException):
            await step("more", calls, "more")

    async def flow(step):
        await asyncio.gather(stubborn(step), step("w", pending_hook, "h"))

    outcome = await run(flow)
    assert not isinstance(outcome.result, Ok)
    assert calls == []
    assert set(get_pending_hooks(outcome.state)) == {"h0", "h"}


async def test_a_workflow_that_catches_its_cancellation_is_not_cancelled_for_ever(calls, answered):
    async def flow(step):
        try:
            await asyncio.gather(step("a", pending_hook, "a"), step("b", pending_hook, "b"))
        except asyncio.CancelledError:
            calls("caught")
            await turns(3)
            raise
        return await step("end", calls, "end", "end")

    outcome = await run(flow)
    assert isinstance(outcome.result.error, PendingHook)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert (await resume(flow, answered(outcome.state, a=1, b=2))).result == Ok("end")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly since Python 3.12")
async def test_tasks_that_start_eagerly_wait_together_as_others_do(calls, answered):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)

    async def flow(step):
        return await asyncio.gather(
            step("quick", calls, "quick", 0), *(branch(step, calls, n, 2) for n in "ab")
        )

    first = await run(flow)
    assert get_pending_hooks(first.state) == ["a", "b"]
    assert sorted(calls) == ["cleaned a", "cleaned b", "quick"]
    done = await resume(flow, answered(first.state, b=2, a=1))
    assert done.result == Ok([0, 1, 2])
    loop.set_task_factory(None)


async def test_a_replayed_step_that_is_held_back_when_the_leg_ends_is_not_given(calls, answered):
    mistaken = False

    async def first(step):
        if mistaken:
            await turns(3)
            await step("", int)  # no key: it ends the leg
        await step("first", int)

    async def held_back(step):
        await step("second", int)
        calls("went on")

    async def last(step):
        await step("w", pending_hook, "w")
        await step("long", turns, 20)

    async def flow(step):
        await asyncio.gather(held_back(step), first(step), last(step))

    async def in_order(step):
        await asyncio.gather(first(step), held_back(step), last(step))

    flow.__qualname__ = in_order.__qualname__ = "flow"
    state = answered((await run(in_order)).state, w=1)
    assert list(state.steps) == ["first", "second"]
    calls.clear()
    mistaken = True
    outcome = await resume(flow, state)
    assert outcome.state.status == "interrupted"
    assert outcome.state.steps == state.steps
    assert get_pending_hooks(outcome.state) == []
    assert calls == []
