"""Law 4: waiting can't be mistaken for failing."""

# ruff: noqa: BLE001  what a workflow that catches everything may catch is the point

from __future__ import annotations

import asyncio
import contextlib

import pytest

from awaitpy import (
    Err,
    Ok,
    PendingHook,
    Runner,
    SuspensionSwallowed,
    UnexpectedError,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
)


async def test_except_exception_does_not_catch_a_suspension(calls, answered):
    async def flow(step):
        try:
            return await step("wait", pending_hook, "h")
        except Exception:
            return "caught"

    suspended = await run(flow)
    assert suspended.result == Err(PendingHook("h", "wait"))
    assert (await resume(flow, answered(suspended.state, h="real"))).result == Ok("real")


async def test_attempt_never_sees_a_suspension():
    seen = []

    async def flow(step):
        seen.append(await step.attempt("wait", pending_hook, "h"))

    suspended = await run(flow)
    assert isinstance(suspended.result.error, PendingHook)
    assert seen == []
    await resume(flow, inject_hook(suspended.state, "h", 1))
    assert seen == [Ok(1)]


async def test_a_retry_loop_around_a_hook_does_not_retry_it(calls):
    async def flow(step):
        for i in range(5):
            calls(f"try-{i}")
            try:
                return await step(f"wait-{i}", pending_hook, f"h{i}")
            except Exception:
                continue
        return "gave up"

    suspended = await run(flow)
    assert calls == ["try-0"]
    assert get_pending_hooks(suspended.state) == ["h0"]


async def test_compensation_after_a_failure_does_not_run_at_a_suspension(calls):
    async def flow(step):
        await step("reserve", calls, "reserve")
        try:
            await step("wait", pending_hook, "h")
        except Exception:
            await step("undo", calls, "undo")
            raise

    await run(flow)
    assert calls == ["reserve"]


@pytest.mark.parametrize("branches", [1, 3])
async def test_gather_that_returns_exceptions_does_not_return_a_suspension(answered, branches):
    names = "abc"[:branches]

    async def flow(step):
        waits = [step(n, pending_hook, n) for n in names]
        return await asyncio.gather(*waits, return_exceptions=True)

    suspended = await run(flow)
    assert get_pending_hooks(suspended.state) == list(names)
    assert suspended.state.status == "suspended"
    done = await resume(flow, answered(suspended.state, **dict.fromkeys(names, 1)))
    assert done.result == Ok([1] * branches)


async def test_no_error_is_told_of_a_suspension():
    told = []

    async def flow(step):
        await step("a", lambda: 1)
        await asyncio.gather(step("w1", pending_hook, "h1"), step("w2", pending_hook, "h2"))

    await Runner(on_event=told.append).run(flow)
    names = [event.name for event in told]
    assert not {"step.failed", "run.failed", "run.interrupted"} & set(names)
    assert names.count("hook.waiting") == 2
    assert names[-1] == "run.suspended"
    assert told[-1].detail is None


async def test_a_bare_except_that_swallows_it_gets_a_clear_error(answered):
    async def flow(step):
        try:
            return await step("wait", pending_hook, "h")
        except:  # noqa: E722  what a careless workflow does
            return "fine"

    outcome = await run(flow)
    error = outcome.result.error
    assert isinstance(error, UnexpectedError)
    assert isinstance(error.cause, SuspensionSwallowed)
    assert error.cause.hook_ids == ("h",)
    assert "'h'" in str(error.cause)
    assert "except Exception" in str(error.cause)
    assert outcome.state.status == "interrupted"
    assert get_pending_hooks(outcome.state) == ["h"]
    assert (await resume(flow, answered(outcome.state, h=1))).result == Ok(1)


async def test_a_return_in_finally_that_swallows_it_gets_a_clear_error():
    async def flow(step):
        try:
            await step("wait", pending_hook, "h")
        finally:
            return "fine"  # noqa: B012  what a careless workflow does

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, SuspensionSwallowed)


async def test_a_swallowed_suspension_does_not_let_later_steps_run(calls):
    async def flow(step):
        for i in range(3):
            with contextlib.suppress(BaseException):
                await step(f"wait-{i}", pending_hook, f"h{i}")
        with contextlib.suppress(BaseException):
            await step("after", calls, "after")
        return "fine"

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, SuspensionSwallowed)
    assert calls == []
    assert get_pending_hooks(outcome.state) == ["h0"]


async def test_a_branch_that_swallows_the_suspension_of_its_own_wait_is_told(calls):
    async def careless(step):
        try:
            return await step("wait", pending_hook, "h")
        except BaseException:
            return "fine"

    async def flow(step):
        return await asyncio.gather(careless(step), step("a", calls, "a"))

    outcome = await run(flow)
    assert not isinstance(outcome.result, Ok)
    assert get_pending_hooks(outcome.state) == ["h"]


async def test_finally_and_async_with_run_at_every_suspension(calls, answered):
    class Lease:
        async def __aenter__(self):
            calls("enter")

        async def __aexit__(self, *_):
            await asyncio.sleep(0)
            calls("exit")

    async def flow(step):
        try:
            async with Lease():
                a = await step("wa", pending_hook, "a")
                return [a, await step("wb", pending_hook, "b")]
        finally:
            calls("finally")

    outcome = await run(flow)
    assert calls == ["enter", "exit", "finally"]
    outcome = await resume(flow, answered(outcome.state, a=1))
    assert calls == ["enter", "exit", "finally"] * 2
    assert (await resume(flow, answered(outcome.state, b=2))).result == Ok([1, 2])
    assert calls == ["enter", "exit", "finally"] * 3


@pytest.mark.parametrize("kind", ["gather", "group"])
async def test_finally_runs_in_every_parallel_branch_that_waits(calls, kind):
    async def branch(step, name):
        try:
            await step(name, pending_hook, name)
        finally:
            await asyncio.sleep(0)
            calls(f"cleaned {name}")

    async def flow(step):
        if kind == "gather":
            await asyncio.gather(branch(step, "a"), branch(step, "b"))
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(branch(step, "a"))
                group.create_task(branch(step, "b"))

    outcome = await run(flow)
    assert outcome.state.status == "suspended"
    assert sorted(calls) == ["cleaned a", "cleaned b"]


@pytest.mark.parametrize("where", ["root", "gather", "group"])
async def test_a_step_in_finally_is_not_run_at_a_suspension_but_at_the_end(calls, answered, where):
    async def guarded(step, name):
        try:
            return await step(f"wait-{name}", pending_hook, name)
        finally:
            await step(f"release-{name}", calls, f"release-{name}")

    async def flow(step):
        if where == "root":
            return [await guarded(step, "a"), await guarded(step, "b")]
        if where == "gather":
            return await asyncio.gather(guarded(step, "a"), guarded(step, "b"))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(guarded(step, n)) for n in "ab"]
        return [t.result() for t in tasks]

    outcome = await run(flow)
    assert isinstance(outcome.result.error, PendingHook)
    assert calls == []
    outcome = await resume(flow, answered(outcome.state, a=1))
    assert isinstance(outcome.result.error, PendingHook)
    assert get_pending_hooks(outcome.state) == ["b"]
    assert calls == ["release-a"]
    assert (await resume(flow, answered(outcome.state, b=2))).result == Ok([1, 2])
    assert sorted(calls) == ["release-a", "release-b"]


async def test_an_error_raised_in_finally_while_suspending_is_shown_and_loses_nothing(calls):
    async def flow(step):
        await step("a", calls, "a")
        try:
            await step("wait", pending_hook, "h")
        finally:
            raise OSError("cleanup failed")

    outcome = await run(flow)
    assert isinstance(outcome.result.error, UnexpectedError)
    assert isinstance(outcome.result.error.cause, OSError)
    assert outcome.state.status == "interrupted"
    assert list(outcome.state.steps) == ["a"]
    assert get_pending_hooks(outcome.state) == ["h"]


async def test_a_lock_that_is_held_over_a_hook_is_free_after_the_suspension():
    lock = asyncio.Lock()

    async def flow(step):
        async with lock:
            return await step("wait", pending_hook, "h")

    outcome = await run(flow)
    assert not lock.locked()
    assert (await resume(flow, inject_hook(outcome.state, "h", 1))).result == Ok(1)


async def test_a_workflow_timeout_around_a_hook_does_not_turn_waiting_into_timing_out():
    async def flow(step):
        try:
            async with asyncio.timeout(60):
                return await step("wait", pending_hook, "h")
        except TimeoutError:
            return "timed out"

    outcome = await run(flow)
    assert isinstance(outcome.result.error, PendingHook)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
