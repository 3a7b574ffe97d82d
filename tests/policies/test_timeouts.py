"""A timeout ends an attempt, and only that: the function is cancelled and awaited."""

from __future__ import annotations

import asyncio
import contextlib
import math
from datetime import timedelta

import pytest

from awaitpy import Err, Ok, Result, Retry, StepTimeout, UnexpectedError, run

SHORT = 0.01


async def never() -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize("limit", [SHORT, timedelta(seconds=SHORT)])
async def test_an_attempt_that_takes_too_long_ends_the_run_with_a_typed_error(world, kinds, limit):
    async def flow(step):
        await step.options(timeout=limit)("slow", never)

    outcome = await world.run(flow)
    assert outcome.result == Err(StepTimeout("slow", SHORT))
    assert outcome.state.status == "failed"
    assert kinds(outcome.state) == {"slow": "policy"}


async def test_attempt_gives_it_as_a_value_and_a_replay_gives_an_equal_one(world):
    seen = []

    async def flow(step):
        seen.append(await step.options(timeout=SHORT).attempt("slow", never))
        await step.sleep("later", 60)

    outcome = await world.run(flow)
    await world.on_time(flow, outcome)
    assert seen == [Err(StepTimeout("slow", SHORT))] * 2


async def test_the_function_is_cancelled_and_its_cleanup_is_awaited(world):
    async def careful() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            world.log.append("cleaned up")

    async def flow(step):
        with contextlib.suppress(TimeoutError):
            await step.options(timeout=SHORT).attempt("slow", careful)
        world.log.append("on")

    assert (await world.run(flow)).result == Ok(None)
    assert world.log == ["cleaned up", "on"]


async def test_what_ends_in_time_knows_nothing_of_the_limit(world):
    async def quick() -> Result[int, str]:
        await asyncio.sleep(0)
        return Ok(5)

    async def flow(step):
        mine = step.options(timeout=60)
        return [await mine("a", quick), await mine("b", lambda: 6), await mine.attempt("c", lambda: Err(7))]

    assert (await world.run(flow)).result == Ok([5, 6, Err(7)])


async def test_a_timeout_error_of_the_function_itself_is_an_exception_like_any(world):
    async def fails() -> None:
        raise TimeoutError("of the socket")

    async def flow(step):
        await step.options(timeout=60).attempt("a", fails)

    error = (await world.run(flow)).result.unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert str(error.cause) == "of the socket"


async def test_a_function_that_gives_a_value_all_the_same_has_given_a_value(world, kinds):
    async def stubborn() -> str:
        try:
            await never()
        except asyncio.CancelledError:
            return "late"
        return "never"

    async def flow(step):
        return await step.options(timeout=SHORT)("a", stubborn)

    outcome = await world.run(flow)
    assert outcome.result == Ok("late")
    assert kinds(outcome.state) == {"a": "value"}


async def test_a_sync_function_is_not_interrupted(world):
    async def flow(step):
        return await step.options(timeout=0)("a", lambda: 5)

    assert (await world.run(flow)).result == Ok(5)


async def test_a_branch_that_takes_too_long_cancels_no_other(world):
    gate = asyncio.Event()

    async def slow() -> str:
        try:
            return await never()
        finally:
            gate.set()

    async def waits() -> str:
        await gate.wait()
        return "done"

    async def flow(step):
        one, two = await asyncio.gather(
            step.options(timeout=SHORT).attempt("slow", slow), step("other", waits)
        )
        return [isinstance(one.unwrap_err(), StepTimeout), two]

    assert (await world.run(flow)).result == Ok([True, "done"])


async def test_a_cancellation_by_the_caller_is_no_timeout(world):
    async def flow(step):
        await step.options(timeout=60, retry=Retry()).attempt("slow", never)

    task = asyncio.ensure_future(world.run(flow))
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.stored == []


async def test_a_timeout_of_the_workflow_around_it_is_its_own(world, kinds):
    async def flow(step):
        try:
            async with asyncio.timeout(SHORT):
                await step.options(timeout=60)("slow", never)
        except TimeoutError:
            return await step("instead", lambda: "instead")

    outcome = await world.run(flow)
    assert outcome.result == Ok("instead")
    assert kinds(outcome.state) == {"slow": "cut", "instead": "value"}


async def test_each_attempt_has_the_whole_time(world):
    async def slow_twice() -> int:
        world.log.append("called")
        return 5 if len(world.log) == 3 else await never()

    async def flow(step):
        return await step.options(timeout=SHORT, retry=Retry(attempts=3, delay=1))("a", slow_twice)

    assert (await world.run(flow)).result == Ok(5)
    assert world.slept == [1, 2]


async def test_attempts_that_are_all_too_slow_end_with_the_last_timeout(world, kinds):
    async def flow(step):
        await step.options(timeout=SHORT, retry=Retry(attempts=2, delay=0))("a", never)

    outcome = await world.run(flow)
    assert outcome.result == Err(StepTimeout("a", SHORT))
    assert kinds(outcome.state) == {"a": "policy"}
    assert (await world.resume(flow, outcome.state)).result == outcome.result


@pytest.mark.parametrize("limit", [-1, math.nan, timedelta(days=-1)])
async def test_a_limit_that_is_no_time_is_refused(limit):
    async def flow(step):
        step.options(timeout=limit)

    error = (await run(flow)).result.unwrap_err()
    assert isinstance(error.cause, ValueError)
    assert "timeout" in str(error.cause)
