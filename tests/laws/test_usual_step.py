"""The usual step is written out for speed; what it can't do, the general way does alike."""

from __future__ import annotations

import asyncio
import contextlib

from awaitpy import (
    DuplicateStepKey,
    Err,
    JournalError,
    Runner,
    UnexpectedError,
    inject_hook,
    pending_hook,
    resume,
    run,
)


async def test_a_number_too_large_for_the_journal_is_refused_with_its_place():
    async def count() -> list[int]:
        return [1, 2**70]

    async def flow(step):
        return await step("count", count)

    outcome = await run(flow)
    assert isinstance(outcome.result, Err)
    assert isinstance(outcome.result.error, UnexpectedError)
    cause = outcome.result.error.cause
    assert isinstance(cause, JournalError)
    assert "'count'" in str(cause)
    assert outcome.state.status == "interrupted"


async def test_a_branch_that_is_held_back_leaves_when_another_ends_the_run():
    twice = False
    slow_may_end = asyncio.Event()

    async def slow() -> str:
        await slow_may_end.wait()
        return "slow"

    async def fast() -> str:
        slow_may_end.set()
        return "fast"

    async def second(step):
        await step("fast", fast)
        if twice:
            await step("fast", fast)

    async def flow(step):
        await asyncio.gather(step("slow", slow), second(step))
        return await step("wait", pending_hook, "h")

    suspended = await run(flow)
    assert list(suspended.state.steps) == ["fast", "slow"]
    twice = True
    async with asyncio.timeout(5):
        outcome = await resume(flow, inject_hook(suspended.state, "h", 1))
    assert isinstance(outcome.result, Err)
    assert isinstance(outcome.result.error, UnexpectedError)
    assert isinstance(outcome.result.error.cause, DuplicateStepKey)


async def never() -> int:
    await asyncio.Event().wait()
    return 0


async def test_a_step_that_the_caller_cut_off_is_not_journaled_though_the_workflow_goes_on():
    started = asyncio.Event()
    kept: list[str] = []

    async def asked() -> int:
        started.set()
        return await never()

    async def flow(step):
        with contextlib.suppress(asyncio.CancelledError):
            await step("cut", asked)
        return await step("next", lambda: 2)

    caller = asyncio.ensure_future(Runner(checkpoint=lambda entry: kept.append(entry.key)).run(flow))
    await started.wait()
    caller.cancel()
    async with asyncio.timeout(5):
        outcome = await caller
    assert kept == ["next"]
    assert list(outcome.state.steps) == ["next"]


async def test_a_cut_step_is_kept_when_the_next_thing_ends_the_run():
    async def flow(step):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await step("slow", never)
        await step("slow", never)

    outcome = await run(flow)
    assert isinstance(outcome.result, Err)
    assert isinstance(outcome.result.error, UnexpectedError)
    assert isinstance(outcome.result.error.cause, DuplicateStepKey)
    assert [entry.kind_name for entry in outcome.state.steps.values()] == ["cut"]
