"""What is told of a run: each kind of end of a step and of a leg has its own name."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import (
    Err,
    JournalError,
    Retry,
    Runner,
    StepMisuse,
    UndoFailed,
    UnexpectedError,
    create_hook,
    pending_hook,
    pending_timer,
)
from awaitpy.events import Retried


class Told(list):
    def __call__(self, event):
        self.append(event)

    @property
    def names(self):
        return [event.name if event.key is None else f"{event.name} {event.key}" for event in self]


@pytest.fixture
def told():
    return Told()


async def test_a_step_gives_a_value_an_error_or_a_wait(told, answered):
    async def flow(step):
        await step("value", lambda: 1)
        await step("hook", create_hook)
        await step.attempt("error", lambda: Err("bad"))
        return await step("wait", pending_hook, "h")

    runner = Runner(on_event=told)
    state = (await runner.run(flow)).state
    assert told.names == [
        "run.started",
        "step.started value",
        "step.completed value",
        "step.started hook",
        "step.completed hook",
        "step.started error",
        "step.failed error",
        "step.started wait",
        "step.waiting wait",
        "hook.waiting wait",
        "run.suspended",
    ]
    assert [event.detail for event in told if event.name == "step.failed"] == ["bad"]
    assert {event.revision for event in told} == {0}
    told.clear()
    await runner.resume(flow, answered(state, h=1))
    assert told.names == [
        "run.started",
        "step.replayed value",
        "step.replayed hook",
        "step.replayed error",
        "step.started wait",
        "step.waiting wait",
        "hook.answered wait",
        "run.completed",
    ]
    assert {event.revision for event in told} == {2}


async def test_a_step_that_raises_is_told_with_its_exception(told):
    def breaks():
        raise ZeroDivisionError("by 0")

    outcome = await Runner(on_event=told).run(lambda step: step("a", breaks))
    assert told.names == ["run.started", "step.started a", "step.raised a", "run.interrupted"]
    assert told[2].detail is outcome.result.error.cause
    assert told[3].detail == outcome.result.error


async def test_so_is_one_that_cancels_itself_and_one_whose_value_is_refused(told):
    async def cancels():
        raise asyncio.CancelledError

    await Runner(on_event=told).run(lambda step: step("a", cancels))
    await Runner(on_event=told).run(lambda step: step("b", object))
    raised = {event.key: type(event.detail) for event in told if event.name == "step.raised"}
    assert raised == {"a": asyncio.CancelledError, "b": JournalError}


async def test_a_step_that_workflow_code_cancels_is_told_as_cut(told):
    async def flow(step):
        task = asyncio.ensure_future(step("late", asyncio.Event().wait))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return await step("next", lambda: 1)

    await Runner(on_event=told).run(flow)
    assert told.names == [
        "run.started",
        "step.started late",
        "step.cut late",
        "step.started next",
        "step.completed next",
        "run.completed",
    ]


async def test_a_run_that_the_caller_cancels_is_told_as_cut_and_so_are_its_steps(told):
    async def flow(step):
        await asyncio.gather(step("a", asyncio.Event().wait), step("b", asyncio.Event().wait))

    task = asyncio.ensure_future(Runner(on_event=told).run(flow))
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.names[0] == "run.started"
    assert set(told.names[1:5]) == {"step.started a", "step.started b", "step.cut a", "step.cut b"}
    assert told.names[5:] == ["run.cut"]
    assert isinstance(told[-1].detail, asyncio.CancelledError)


async def test_so_is_one_whose_process_is_ended_by_a_step(told):
    def leaves():
        raise SystemExit

    with pytest.raises(SystemExit):
        await Runner(on_event=told).run(lambda step: step("a", leaves))
    assert told.names == ["run.started", "step.started a", "step.cut a", "run.cut"]


async def test_a_step_around_another_step_is_cut(told):
    async def flow(step):
        await step("outer", lambda: step("inner", lambda: 1))

    outcome = await Runner(on_event=told).run(flow)
    assert isinstance(outcome.result.error.cause, StepMisuse)
    assert told.names == ["run.started", "step.started outer", "step.cut outer", "run.interrupted"]


async def test_what_a_store_does_to_a_step_that_has_completed_is_told_of_the_run_only(told):
    def full(_):
        raise OSError("full")

    await Runner(on_event=told, checkpoint=full).run(lambda step: step("a", lambda: 1))
    assert told.names == ["run.started", "step.started a", "step.completed a", "run.interrupted"]
    assert isinstance(told[-1].detail, UnexpectedError)


async def test_a_finished_run_tells_of_a_replay_and_of_nothing_if_none_is_needed(told):
    class Opaque:
        pass

    async def recorded(step):
        return await step("a", lambda: 1)

    async def unrecorded(step):
        await step("a", lambda: 1)
        return Opaque()

    runner = Runner(on_event=told)
    for flow, names in [
        (recorded, []),
        (unrecorded, ["run.started", "step.replayed a", "run.completed"]),
    ]:
        state = (await runner.run(flow)).state
        told.clear()
        outcome = await runner.resume(flow, state)
        assert outcome.state is state
        assert told.names == names


async def test_legs_at_the_same_time_are_told_apart_also_those_of_one_run(told):
    runner = Runner(on_event=told)
    state = runner.start(lambda step: step("w", pending_hook, "h"))

    async def flow(step):
        return await step("w", pending_hook, "h")

    state = runner.start(flow)
    await asyncio.gather(runner.resume(flow, state), runner.resume(flow, state))
    assert len({event.leg for event in told}) == 2
    assert {event.run_id for event in told} == {state.run_id}


class Knows(Told):
    """An observer that says in which trace a leg is."""

    def __init__(self, *traces):
        self.traces = list(traces)
        self.legs = []

    def traceparent(self, leg):
        self.legs.append(leg)
        return self.traces.pop(0)


async def test_the_state_carries_the_trace_of_its_last_leg_if_that_changed_anything(again, answered):
    async def flow(step):
        return await step("w", pending_hook, "h")

    knows = Knows("trace-1", "trace-2")
    runner = Runner(on_event=knows)
    state = again((await runner.run(flow)).state)
    assert state.trace == "trace-1"
    assert (await runner.resume(flow, state)).state is state
    assert len(knows.traces) == 1
    done = await runner.resume(flow, answered(state, h=1))
    assert done.state.trace == "trace-2"
    starts = [event for event in knows if event.name == "run.started"]
    assert [event.trace for event in starts] == ["", "trace-1", "trace-1"]
    assert knows.legs == [starts[0].leg, starts[2].leg]


@pytest.mark.parametrize("nothing", [None, "", 5, b"trace", "\ud800", "é"])
async def test_a_leg_of_no_trace_leaves_the_one_before(answered, nothing):
    async def flow(step):
        return await step("w", pending_hook, "h")

    runner = Runner(on_event=Knows("trace-1", nothing))
    state = (await runner.run(flow)).state
    assert (await runner.resume(flow, answered(state, h=1))).state.trace == "trace-1"
    assert (await Runner().resume(flow, answered(state, h=1))).state.trace == "trace-1"


async def test_each_attempt_of_a_step_has_its_start_and_its_end(told):
    tries = iter([Err("busy"), ValueError("no"), 1])

    def flaky():
        given = next(tries)
        if isinstance(given, Exception):
            raise given
        return given

    async def flow(step):
        await step.options(retry=Retry(attempts=3, delay=2, on=(ValueError, str)))("a", flaky)
        await step("sleep", pending_timer, 5)

    await Runner(on_event=told, sleep=lambda _: asyncio.sleep(0)).run(flow)
    assert told.names == [
        "run.started",
        "step.started a",
        "step.retried a",
        "step.started a",
        "step.retried a",
        "step.started a",
        "step.completed a",
        "step.started sleep",
        "step.waiting sleep",
        "timer.elapsed sleep",
        "run.completed",
    ]
    first, second = (event.detail for event in told if event.name == "step.retried")
    assert first == Retried(1, 2, "busy")
    assert (second.attempt, type(second.error)) == (2, ValueError)


async def test_undoing_is_told_in_the_leg_that_failed(told):
    def breaks(_):
        raise ValueError

    async def flow(step):
        await step.options(undo=lambda _: None)("a", lambda: 1)
        await step.options(undo=breaks)("b", lambda: 2)
        await step("fails", lambda: Err("bad"))

    outcome = await Runner(on_event=told).run(flow)
    assert isinstance(outcome.result.error, UndoFailed)
    names = [event.name for event in told]
    assert names == [
        "run.started",
        *["step.started", "step.completed"] * 2,
        *["step.started", "step.failed"],
        "run.undoing",
        *["step.started", "step.failed"],
        *["step.started", "step.completed"],
        "run.failed",
    ]
    assert len({event.leg for event in told}) == 1
    assert told[7].detail == "bad"


@pytest.mark.parametrize("at", range(1, 6))
async def test_a_store_that_fails_at_any_entry_leaves_no_start_without_its_end(told, at):
    left = at

    def store(_):
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError("full")

    async def flow(step):
        careful = step.options(retry=Retry(attempts=2, delay=2, jitter=0), on_unknown="fail")
        await careful("raises", lambda: 1 // 0)

    await Runner(on_event=told, checkpoint=store, sleep=lambda _: asyncio.sleep(0)).run(flow)
    starts = told.names.count("step.started raises")
    ends = told.names.count("step.retried raises") + told.names.count("step.raised raises")
    assert starts == ends
    assert told.names[-1] == "run.interrupted"


async def test_an_attempt_whose_delay_can_not_be_told_has_its_end_too(told):
    def fails():
        raise ConnectionError("down")

    def no_entropy(_):
        raise LookupError("no random bytes")

    async def flow(step):
        await step.options(retry=Retry(delay=1))("a", fails)

    outcome = await Runner(run_id="r", on_event=told, entropy=no_entropy).run(flow)
    assert str(outcome.result.unwrap_err().cause) == "no random bytes"
    assert told.names == ["run.started", "step.started a", "step.raised a", "run.interrupted"]
    assert str(told[2].detail) == "no random bytes"
