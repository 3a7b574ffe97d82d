"""Law 8: what is new comes after what the branches beside it are still to get from the journal."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from awaitpy import Ok, Runner, get_pending_hooks, pending_hook, resume, run
from awaitpy.testing import FakeClock


async def slow(value):
    for _ in range(20):
        await asyncio.sleep(0)
    return value


@pytest.mark.parametrize("nested", [False, True])
async def test_a_task_that_is_cancelled_behind_an_answer_has_asked_for_its_step_before(answered, nested):
    """It completed while the run suspended, and in the replay the answer is there at once."""

    async def reminded(step):
        async def remind():
            return await asyncio.create_task(step("remind", slow, 1))

        task = asyncio.create_task(remind() if nested else step("remind", slow, 1))
        given = await step("wait", pending_hook, "h")
        task.cancel()
        await asyncio.wait([task])
        return given

    async def flow(step):
        return await asyncio.gather(reminded(step), step("other", slow, 2))

    state = (await run(flow)).state
    assert set(state.steps) == {"remind", "other"}
    assert (await resume(flow, answered(state, h="yes"))).result == Ok(["yes", 2])


@pytest.mark.parametrize("kind", ["hook", "sleep"])
async def test_a_step_that_waits_for_its_turn_has_it_before_an_answer_can_cancel_it(answered, kind):
    clock = FakeClock()

    async def flow(step):
        task = asyncio.create_task(step("slow", slow, 1))
        await asyncio.sleep(0)
        await step("first", lambda: 1)
        await (step("wait", pending_hook, "h") if kind == "hook" else step.sleep("wait", 60))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
            return await step("kept", pending_hook, "kept")
        return await step("dropped", lambda: "dropped")

    runner = Runner(clock=clock)
    state = (await runner.run(flow)).state
    assert list(state.steps) == ["first", "slow"]
    clock.advance(3600)
    state = (await runner.resume(flow, answered(state, h=1) if kind == "hook" else state)).state
    assert get_pending_hooks(state) == ["kept"]
    assert (await runner.resume(flow, answered(state, kept=2))).result == Ok(2)


async def test_a_new_step_that_waits_for_the_others_does_not_begin_if_they_end_the_run(calls):
    async def ends(step):
        await asyncio.sleep(0)
        await step("", int)  # no key: it ends the leg

    async def late(step):
        for _ in range(10):
            await asyncio.sleep(0)
        await step("late", int)

    async def flow(step):
        await asyncio.gather(late(step), *branches(step))
        await step("wait", pending_hook, "h")

    def branches(step):
        return [step("new", calls, "new"), ends(step)] if again else []

    again = False
    state = (await run(flow)).state
    assert list(state.steps) == ["late"]
    again = True
    outcome = await resume(flow, state)
    assert outcome.state.status == "interrupted"
    assert outcome.state.steps == state.steps
    assert calls == []
