"""Law 9: finished is finished, and interrupted is not."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from awaitpy import (
    Err,
    HookTimeout,
    Ok,
    Result,
    RunFinished,
    Runner,
    StepMisuse,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
    create_hook,
    forget,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
    workflow,
)
from awaitpy.typing import Step


@attrs.frozen
class Declined:
    reason: str


@attrs.frozen
class Receipt:
    lines: tuple[str, ...]


async def test_a_completed_run_gives_its_result_and_runs_nothing(calls, again):
    async def flow(step) -> Receipt:
        await step("a", calls, "a")
        calls("body")
        return Receipt(("x", "y"))

    done = await run(flow)
    for _ in range(2):
        outcome = await resume(flow, again(done.state))
        assert outcome.result == Ok(Receipt(("x", "y")))
        assert outcome.state == done.state
    assert calls == ["a", "body"]


async def test_a_result_that_no_type_restores_comes_from_a_replay_that_runs_nothing(calls, again):
    async def flow(step):
        await step("a", calls, "a")
        return {("a", 1): Receipt(())}

    done = await run(flow)
    outcome = await resume(flow, again(done.state))
    assert outcome.result == done.result
    assert outcome.state == done.state
    assert calls == ["a"]


async def test_a_failed_run_gives_its_error_and_runs_nothing(calls, again):
    def charge() -> Result[int, Declined]:
        return calls("charge", Err(Declined("no")))

    async def flow(step: Step[Declined]) -> int:
        await step("charge", charge)
        return await step("after", calls, "after")

    failed = await run(flow)
    assert failed.state.status == "failed"
    outcome = await resume(flow, again(failed.state))
    assert outcome.result == Err(Declined("no"))
    assert outcome.state == failed.state
    assert calls == ["charge"]


async def test_the_first_of_two_errors_stays_the_error_of_the_run(again):
    """Neither error has a type that the workflow declares: the result comes from a replay."""
    release = asyncio.Event()

    async def late() -> Result[int, Declined]:
        await release.wait()
        return Err(Declined("late"))

    async def early() -> Result[int, Declined]:
        asyncio.get_running_loop().call_later(0.002, release.set)
        return Err(Declined("early"))

    async def flow(step):
        return await asyncio.gather(step("late", late), step("early", early))

    failed = await run(flow)
    assert failed.result == Err(Declined("early"))
    assert (await resume(flow, again(failed.state))).result == failed.result


async def test_a_finished_run_whose_code_asks_for_more_runs_none_of_it(calls, again):
    async def flow(step):
        await step("a", calls, "a")
        if more:
            await step("b", calls, "b")
        return {("not", "recorded"): 1}

    more = False
    done = await run(flow)
    more = True
    outcome = await resume(flow, again(done.state))
    assert isinstance(outcome.result.error.cause, StepMisuse)
    assert "'b'" in str(outcome.result.error.cause)
    assert outcome.state == done.state
    assert calls == ["a"]


async def test_a_finished_run_is_not_refused_for_its_version(again):
    @workflow(name="f", version=1)
    async def old(step) -> str:
        return await step("a", lambda: "result")

    @workflow(name="f", version=2)
    async def new(step) -> str:
        return await step("other", lambda: "other")

    done = await run(old)
    assert (await resume(new, again(done.state))).result == Ok("result")
    newer = await run(new)
    assert (await resume(old, again(newer.state))).result == Ok("other")


async def test_a_failed_step_that_is_forgotten_opens_the_run_again(calls, again):
    verdicts = iter([Err("no"), Ok("yes")])

    async def flow(step):
        await step("a", calls, "a")
        return await step("charge", lambda: next(verdicts))

    failed = await run(flow)
    assert failed.result == Err("no")
    opened = forget(again(failed.state), "charge")
    assert opened.status == "interrupted"
    assert (await resume(flow, again(opened))).result == Ok("yes")
    assert calls == ["a"]


async def test_a_drift_leaves_the_state_interrupted_and_the_old_code_goes_on(calls, again):
    async def flow(step):
        await step("a" if not changed else "renamed", calls, "a")
        await step("w", pending_hook, "h")

    changed = False
    state = (await run(flow)).state
    changed = True
    drifted = await resume(flow, again(state))
    assert isinstance(drifted.result.error, WorkflowDrift)
    assert drifted.state.status == "interrupted"
    assert get_pending_hooks(drifted.state) == ["h"]
    changed = False
    done = await resume(flow, inject_hook(again(drifted.state), "h", 1))
    assert done.result == Ok(None)
    assert calls == ["a"]


async def test_a_state_of_newer_code_is_interrupted_by_older_code_and_goes_on_with_newer(again):
    @workflow(name="f", version=2)
    async def new(step):
        return await step("w", pending_hook, "h")

    @workflow(name="f", version=1)
    async def old(step):
        return await step("w", pending_hook, "h")

    state = inject_hook((await run(new)).state, "h", 1)
    refused = await resume(old, again(state))
    assert refused.result == Err(VersionMismatch("f", 2, 1))
    assert refused.state.status == "interrupted"
    assert "version 2" in str(refused.result.error)
    twice = await resume(old, again(refused.state))
    assert twice.state == refused.state
    assert (await resume(new, again(refused.state))).result == Ok(1)


async def test_a_runner_says_the_version_for_workflows_that_do_not(again):
    async def flow(step):
        return await step("w", pending_hook, "h")

    state = (await Runner(version=3).run(flow)).state
    assert state.version == 3
    assert isinstance((await Runner(version=2).resume(flow, state)).result.error, VersionMismatch)
    done = await Runner(version=4).resume(flow, inject_hook(again(state), "h", 1))
    assert done.result == Ok(1)
    assert done.state.version == 3


async def test_the_state_of_another_workflow_is_refused_unchanged(calls, again):
    async def one(step):
        await step("w", pending_hook, "h")

    async def other(step):
        await step("x", calls, "x")

    state = (await run(one)).state
    refused = await resume(other, again(state))
    assert isinstance(refused.result.error, WorkflowMismatch)
    assert refused.state == state
    assert calls == []


@pytest.mark.parametrize("status", ["completed", "failed"])
async def test_a_finished_run_takes_no_delivery_for_a_hook_it_never_waited_for(again, status):
    async def flow(step):
        flow.hook = await step("make", create_hook)
        await step("end", lambda: Err("no") if status == "failed" else Ok(1))

    done = await run(flow)
    assert done.state.status == status
    assert get_pending_hooks(done.state) == []
    with pytest.raises(RunFinished):
        inject_hook(again(done.state), flow.hook.hook_id, 1)


async def test_a_run_that_failed_by_the_timeout_of_a_wait_stays_failed(again):
    now = 1_000_000.0
    runner = Runner(clock=lambda: now)

    async def flow(step):
        return await step("w", pending_hook, "h", timeout=60)

    state = (await runner.run(flow)).state
    now += 60
    failed = await runner.resume(flow, again(state))
    assert isinstance(failed.result.error, HookTimeout)
    assert failed.state.status == "failed"
    now -= 30
    assert (await runner.resume(flow, again(failed.state))).result == failed.result
