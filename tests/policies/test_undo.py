"""Undoing: what completed is undone when the run fails, last first, once, whatever happens between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs
import pytest

from awaitpy import (
    Cancelled,
    Err,
    NotUndone,
    Ok,
    PendingHook,
    PendingTimer,
    Result,
    Retry,
    Step,
    StepMisuse,
    UndoFailed,
    UnexpectedError,
    WorkflowDrift,
    append_entries,
    cancel,
    create_hook,
    current_step,
    first_of,
    forget,
    inject_hook,
    next_wakeup,
    pending_hook,
    pending_timer,
    rename_step,
    rewind,
)

HOUR = timedelta(hours=1)


@attrs.define
class Box:
    items: list[str]


def undoing(world, **policy):
    """`mine(step)`: the step whose undo notes what it is given."""
    return lambda step: step.options(undo=lambda value: world.log.append(("undo", value)), **policy)


def saga(world, last=lambda: Err("no")):
    async def flow(step):
        mine = undoing(world)(step)
        await mine("a", world.step("a", 1))
        await step("plain", world.step("plain", 0))
        await mine.attempt("bad", lambda: Err("taken"))
        await mine("b", world.step("b", 2))
        await step("end", last)

    return flow


async def test_completed_steps_are_undone_last_first_by_steps_of_their_own(world, kinds):
    outcome = await world.run(saga(world))
    assert outcome.result == Err("no")
    assert outcome.state.status == "failed"
    assert world.log == ["a", "plain", "b", ("undo", 2), ("undo", 1)]
    assert list(kinds(outcome.state).items())[4:] == [
        ("end", "error"), ("undo:", "undo"), ("undo:b", "value"), ("undo:a", "value"),
    ]  # fmt: skip


async def test_a_run_that_completes_undoes_nothing(world):
    outcome = await world.run(saga(world, last=lambda: Ok("fine")))
    assert outcome.result == Ok(None)
    assert world.log == ["a", "plain", "b"]


async def test_neither_a_suspension_nor_an_interruption_undoes_anything(world):
    def breaks():
        raise ConnectionError("down")

    for last in (breaks, lambda: pending_hook("h"), lambda: pending_timer(HOUR)):
        world.log.clear()
        outcome = await world.run(saga(world, last))
        assert outcome.state.status in {"suspended", "interrupted"}
        assert ("undo", 2) not in world.log


async def test_a_drift_undoes_nothing(world):
    keys = ["a", "b"]

    async def flow(step):
        for key in keys:
            await undoing(world)(step)(key, lambda: 1)
        await step("w", pending_hook, "h")

    state = (await world.run(flow)).state
    keys[0] = "renamed"
    assert isinstance((await world.resume(flow, state)).result.unwrap_err(), WorkflowDrift)
    assert world.log == []


@pytest.mark.parametrize("early", [True, False])
async def test_steps_that_were_replayed_are_undone_as_well(world, early):
    async def flow(step):
        await undoing(world)(step)("a", world.step("a", 1))
        if await step("w", pending_hook, "h", bool):
            await step("bad", lambda: Err("no"))

    outcome = await world.run(flow)
    outcome = await world.resume(flow, inject_hook(outcome.state, "h", early))
    assert world.log == (["a", ("undo", 1)] if early else ["a"])


async def test_a_finished_run_gives_its_result_again_and_runs_nothing(world):
    flow = saga(world)
    outcome = await world.run(flow)
    ran = list(world.log)
    again = await world.resume(flow, outcome.state)
    assert again.result == outcome.result
    assert again.state == outcome.state
    assert world.log == ran


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("moment", range(8))
async def test_a_crash_at_any_entry_goes_on_where_it_was(world, crashed, moment, stored):
    flow = saga(world)
    state = await crashed(flow, world, moment, stored=stored)
    outcome = await world.resume(flow, state)
    assert outcome.result == Err("no")
    undone = [value for value in world.log if isinstance(value, tuple)]
    assert list(dict.fromkeys(undone)) == [("undo", 2), ("undo", 1)]
    assert len(undone) <= 2 + (not stored or "undo:" not in state.steps)
    assert list(outcome.state.steps)[-2:] == ["undo:b", "undo:a"]


async def test_an_undo_that_was_journaled_never_runs_again(world):
    flow = saga(world)
    done = (await world.run(flow)).state
    for cut in range(1, len(done.steps) + 1):
        world.log.clear()
        entries = list(done.steps.values())
        state = append_entries(world.runner().start(flow), *entries[:cut])
        outcome = await world.resume(flow, state)
        assert outcome.result == Err("no")
        kept = {entry.key for entry in entries[:cut]}
        assert [v for v in world.log if isinstance(v, tuple)] == [
            ("undo", n) for key, n in (("undo:b", 2), ("undo:a", 1)) if key not in kept
        ]


# --- what an undo is given ----------------------------------------------------------------------


async def test_an_undo_is_given_the_journaled_value_whatever_became_of_it(world):
    def box() -> Box:
        return Box(["one"])

    async def flow(step):
        mine = undoing(world)(step)
        (await mine("box", box)).items.append("two")
        (await mine("plain", lambda: [1])).append(2)
        (await mine("answer", pending_hook, "h", list[int])).append(2)
        (await mine.attempt("attempt", lambda: Ok([1]))).value.append(2)
        await step("bad", lambda: Err("no"))

    outcome = await world.run(flow)
    for _ in range(2):
        await world.resume(flow, inject_hook(outcome.state, "h", [1]))
        assert world.log == [("undo", [1]), ("undo", [1]), ("undo", [1]), ("undo", Box(["one"]))]
        world.log.clear()


async def test_hooks_sleeps_and_races_can_be_undone(world):
    async def flow(step):
        mine = undoing(world)(step)
        await mine("hook", create_hook, new_id=lambda: "h1")
        await mine.sleep("nap", 1)
        await mine("race", first_of, pending_hook("h1", int), pending_hook("h2", int))
        await step("bad", lambda: Err("no"))

    outcome = await world.run(flow)
    await world.resume(flow, inject_hook(outcome.state, "h2", 5))
    shown = [getattr(value, "hook_id", value) for _, value in world.log]
    assert shown == ["h2", None, "h1"]


async def test_an_undo_knows_its_own_step(world):
    async def flow(step):
        mine = step.scope("x").options(undo=lambda _: world.log.append(current_step()))
        await mine("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    await world.run(flow)
    assert world.log[0].idempotency_key == "run:undo:x/a"


MOOD = ["good"]


@attrs.define
class Moody:
    value: int

    def __attrs_post_init__(self) -> None:
        if MOOD[0] == "bad":
            raise ValueError("not today")


async def test_a_value_that_can_be_read_no_more_is_told_and_the_rest_still_runs(world):
    def moody() -> Moody:
        return Moody(1)

    async def flow(step):
        await undoing(world)(step)("a", lambda: 1)
        await undoing(world)(step)("moody", moody)
        MOOD[0] = "bad"
        await step("bad", lambda: Err("no"))

    try:
        error = (await world.run(flow)).result.unwrap_err()
    finally:
        MOOD[0] = "good"
    assert [each.step_key for each in error.failures] == ["moody"]
    assert "not today" in str(error)
    assert world.log == [("undo", 1)]


# --- undos that fail ----------------------------------------------------------------------------


async def test_what_could_not_be_undone_is_told_and_the_rest_still_runs(world):
    async def flow(step):
        await undoing(world)(step)("a", lambda: 1)
        await step.options(undo=world.step("raises", ConnectionError("down")))("b", lambda: 2)
        await step.options(undo=world.step("errs", Err("too late")))("c", lambda: 3)
        await step.options(undo=never, timeout=0.01)("d", lambda: 4)
        await step.options(undo=lambda _: pending_hook("h", timeout=60))("e", lambda: 5)
        await undoing(world)(step)("f", lambda: 6)
        await step("bad", lambda: Err("no"))

    async def never(_):
        await asyncio.Event().wait()

    outcome = await world.to_end(flow)
    error = outcome.result.unwrap_err()
    assert isinstance(error, UndoFailed)
    assert error.error == "no"
    assert [(each.step_key, each.reason[:10]) for each in error.failures] == [
        ("e", "Step 'undo"), ("d", "Step 'undo"), ("c", "too late"), ("b", "Connection"),
    ]  # fmt: skip
    assert "b" in str(error)
    assert world.log == [("undo", 6), "errs", "raises", ("undo", 1)]
    again = await world.resume(flow, outcome.state)
    assert again.result == outcome.result
    assert again.state == outcome.state


async def test_an_undo_is_tried_again_as_its_step_is(world):
    async def flow(step):
        undo = world.step("undo", ConnectionError("down"), ConnectionError("down"), None)
        await step.options(undo=undo, retry=Retry(attempts=3, delay=60))("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    outcome = await world.run(flow)
    assert outcome.result == Err(PendingTimer("undo:a", world.now + timedelta(seconds=60), 1))
    assert outcome.state.status == "suspended"
    flow_again = flow
    world.log.clear()
    while outcome.state.status == "suspended":
        outcome = await world.on_time(flow_again, outcome)
    assert isinstance(outcome.result.unwrap_err(), UndoFailed)
    assert world.log == ["undo", "undo"]


async def test_an_undo_that_is_tried_again_succeeds(world):
    undo = world.step("undo", ConnectionError("down"), None)

    async def flow(step):
        await step.options(undo=undo, retry=Retry(delay=60))("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    assert (await world.to_end(flow)).result == Err("no")
    assert world.log == ["undo", "undo"]


async def test_an_undo_that_waits_is_called_once_and_keeps_its_deadline(world):
    def ask(_):
        world.log.append("asked")
        return pending_hook("h", int, timeout=HOUR)

    async def flow(step):
        await undoing(world)(step)("a", lambda: 1)
        await step.options(undo=ask)("b", lambda: 2)
        await step("bad", lambda: Err("no"))

    outcome = await world.run(flow)
    assert isinstance(outcome.result.unwrap_err(), PendingHook)
    due = next_wakeup(outcome.state)
    world.pass_(60)
    outcome = await world.resume(flow, outcome.state)
    assert next_wakeup(outcome.state) == due
    state = inject_hook(outcome.state, "h", 5, now=world.now)

    def dies(entry):
        world.stored.append(entry)
        raise ConnectionError("gone")

    outcome = await world.resume(flow, state, checkpoint=dies)
    assert isinstance(outcome.result.unwrap_err(), UnexpectedError)
    assert (await world.resume(flow, outcome.state)).result == Err("no")
    assert world.log == ["asked", ("undo", 1)]


async def test_an_undo_may_sleep(world):
    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    outcome = await world.run(flow)
    assert outcome.result == Err(PendingTimer("undo:a", world.now + HOUR))
    assert (await world.resume(flow, outcome.state)).state == outcome.state
    assert (await world.on_time(flow, outcome)).result == Err("no")


async def test_the_cancellation_of_the_caller_ends_no_undo_for_good(world):
    async def flow(step):
        await step.options(undo=slow)("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    async def slow(_):
        world.log.append("begun")
        if len(world.log) == 1:
            await asyncio.Event().wait()

    begun = world.runner().start(flow)
    task = asyncio.ensure_future(world.resume(flow, begun))
    await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = append_entries(begun, *world.stored)
    assert state.undoing == ("a",)
    assert (await world.resume(flow, state)).result == Err("no")
    assert world.log == ["begun", "begun"]


# --- parallel branches --------------------------------------------------------------------------


async def test_a_sibling_that_completes_while_another_fails_is_undone_too(world):
    gate = asyncio.Event()

    async def slow() -> int:
        await gate.wait()
        await asyncio.sleep(0)
        return 1

    def fails():
        gate.set()
        return Err("no")

    async def flow(step):
        await asyncio.gather(undoing(world)(step)("slow", slow), step("bad", fails))

    assert (await world.run(flow)).result == Err("no")
    assert world.log == [("undo", 1)]


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("grouped", [True, False])
async def test_what_other_branches_did_in_former_legs_is_undone_too(world, order, grouped):
    async def done(step):
        for number in range(3):
            await undoing(world)(step)(f"b{number}", lambda n=number: n)
        await step("waits", pending_hook, "never")

    async def bad(step):
        await step("w", pending_hook, "h")
        await step("bad", lambda: Err("no"))

    async def flow(step):
        branches = [bad(step), done(step)]
        if order:
            branches.reverse()
        if not grouped:
            await asyncio.gather(*branches)
        else:
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch)

    outcome = await world.run(flow)
    assert outcome.state.status == "suspended"
    outcome = await world.resume(flow, inject_hook(outcome.state, "h", None))
    assert outcome.result == Err("no")
    assert world.log == [("undo", 2), ("undo", 1), ("undo", 0)]


async def test_no_new_step_begins_where_a_run_fails_or_is_undone(world):
    """A delivery that comes while the run is being undone is not taken."""

    async def waits(step):
        await step("w", pending_hook, "h")
        await undoing(world)(step)("too late", world.step("too late"))

    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        await asyncio.gather(waits(step), step("bad", lambda: Err("no")))

    outcome = await world.run(flow)
    assert outcome.result == Err(PendingTimer("undo:a", world.now + HOUR))
    state = inject_hook(outcome.state, "h", 1, now=world.now)
    outcome = await world.resume(flow, state)
    assert outcome.result == Err(PendingTimer("undo:a", world.now + HOUR))
    assert (await world.on_time(flow, outcome)).result == Err("no")
    assert world.log == []


async def test_what_a_replay_holds_back_when_the_run_is_cancelled_is_undone_too(world):
    """The slower branch was the second to complete, and is the first to ask."""

    async def booked() -> str:
        await asyncio.sleep(0)
        return "room"

    async def hotel(step):
        await undoing(world)(step)("hotel", booked)
        await step("w", pending_hook, "w")

    async def flight(step):
        await step("flight", lambda: "seat")
        await step("v", pending_hook, "v")

    async def flow(step):
        await asyncio.gather(hotel(step), flight(step))

    outcome = await world.run(flow)
    assert list(outcome.state.steps) == ["flight", "hotel"]
    assert (await world.resume(flow, cancel(outcome.state, "why"))).result == Err(Cancelled("why"))
    assert world.log == [("undo", "room")]


async def test_a_branch_that_is_late_in_a_replay_is_waited_for_and_no_new_step_begins(world):
    async def turns(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    async def bad() -> Result[None, str]:
        await turns(12)
        return Err("no")

    async def late(step):
        await turns(8)
        await undoing(world)(step)("late", turns, 20)

    async def waits(step):
        await step("w", pending_hook, "h")

    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        await asyncio.gather(waits(step), step("bad", bad), late(step))

    outcome = await world.run(flow)
    assert list(outcome.state.steps) == ["a", "bad", "late", "undo:", "undo:late"]
    assert world.log == [("undo", None)]
    state = inject_hook(outcome.state, "h", 1, now=world.now)
    assert (await world.resume(flow, state)).state.steps.keys() == outcome.state.steps.keys()
    world.pass_(3600)
    assert (await world.resume(flow, state)).result == Err("no")
    assert world.log == [("undo", None)]


async def test_the_error_that_came_first_is_the_error_of_the_run(world):
    async def bad(step, name):
        await step(f"w{name}", pending_hook, f"h{name}")
        await step(f"bad{name}", lambda: Err(name))

    async def flow(step):
        await asyncio.gather(
            bad(step, "1"),
            bad(step, "2"),
            undoing(world)(step)("a", lambda: 1),
            step("x", pending_hook, "x"),
        )

    outcome = await world.run(flow)
    state = inject_hook(inject_hook(outcome.state, "h1", 1), "h2", 1)
    outcome = await world.resume(flow, state)
    assert outcome.result == Err("1")
    assert world.log == [("undo", 1)]


# --- code that has changed ----------------------------------------------------------------------


async def half_undone(world, fails):
    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        if fails:
            await step("bad", lambda: Err("no"))
        elif fails is None:
            await step("new", world.step("new"))

    fails, now = True, fails
    state = (await world.run(flow)).state
    fails = now
    return await world.resume(flow, state)


@pytest.mark.parametrize("now", [None, False])
async def test_a_run_that_fails_no_more_while_it_is_undone_has_drifted(world, now):
    outcome = await half_undone(world, now)
    error = outcome.result.unwrap_err()
    assert isinstance(error, WorkflowDrift)
    assert outcome.state.status == "interrupted"
    assert world.log == []


async def test_a_run_that_completes_while_it_is_undone_has_drifted(world):
    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        await (step if strict else step.attempt)("bad", lambda: Err("no"))

    strict = True
    outcome = await world.run(flow)
    strict = False
    outcome = await world.on_time(flow, outcome)
    assert isinstance(outcome.result.unwrap_err(), WorkflowDrift)
    strict = True
    assert (await world.resume(flow, outcome.state)).result == Err("no")


async def test_an_undo_that_the_code_no_longer_has_is_told(world):
    async def flow(step):
        if with_undo:
            step = step.options(undo=lambda _: pending_timer(HOUR))
        await step("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    with_undo = True
    outcome = await world.run(flow)
    with_undo = False
    outcome = await world.on_time(flow, outcome)
    assert outcome.result.unwrap_err().failures == (NotUndone("a", "the code no longer says how"),)


@pytest.mark.parametrize("settings", [{}, {"checkpoint": None}, {"on_event": lambda _: None}])
async def test_a_step_with_a_key_of_an_undo_is_refused_however_it_is_watched(world, settings):
    async def flow(step):
        await step("undo:a", world.step("a"))

    error = (await world.run(flow, **settings)).result.unwrap_err()
    assert isinstance(error.cause, StepMisuse)
    assert "'undo:a'" in str(error)
    assert world.log == []


async def test_nothing_is_undone_where_a_migration_gave_a_step_such_a_key(world):
    names = ["b"]

    async def flow(step):
        await undoing(world)(step)("a", lambda: 1)
        await step(names[-1], lambda: 2)
        await step("w", pending_hook, "w")
        await step("bad", lambda: Err("no"))

    state = rename_step((await world.run(flow)).state, "b", "undo:a")
    names.append("undo:a")
    outcome = await world.resume(flow, inject_hook(state, "w", 1))
    error = outcome.result.unwrap_err()
    assert isinstance(error.cause, StepMisuse)
    assert "'undo:a'" in str(error)
    assert world.log == []


# --- verbs --------------------------------------------------------------------------------------


async def test_a_run_that_was_undone_is_only_opened_before_what_was_undone(world):
    async def flow(step):
        await step("first", world.step("first"))
        await undoing(world)(step)("a", world.step("a", 1))
        await step("bad", lambda: Err("no"))

    state = (await world.run(flow)).state
    for verb, key in (
        (forget, "a"),
        (forget, "bad"),
        (forget, "undo:a"),
        (rewind, "bad"),
        (rewind, "undo:"),
    ):
        with pytest.raises(StepMisuse, match="was undone"):
            verb(state, key)
    world.log.clear()
    opened = rewind(state, "a")
    assert (opened.status, opened.undoing, list(opened.steps)) == ("interrupted", (), ["first"])
    outcome = await world.resume(flow, opened)
    assert outcome.result == Err("no")
    assert world.log == ["a", ("undo", 1)]


async def test_events_tell_of_the_undoing(world):
    seen = []
    await world.run(saga(world), on_event=lambda event: seen.append((event.name, event.key)))
    assert ("run.undoing", None) in seen
    assert seen[-1] == ("run.failed", None)
    assert ("step.completed", "undo:a") in seen


# --- cancel -------------------------------------------------------------------------------------


async def waiting(step: Step[PendingHook]):
    await step("w", pending_hook, "h", int)


async def test_a_run_that_is_cancelled_before_anything_runs_nothing(world):
    flow = saga(world)
    state = cancel(world.runner().start(flow), "too late")
    assert next_wakeup(state) <= world.now
    outcome = await world.resume(flow, state)
    assert outcome.result == Err(Cancelled("too late"))
    assert outcome.state.status == "failed"
    assert world.log == []
    assert next_wakeup(outcome.state) is None


@pytest.mark.parametrize("delivered", [True, False])
@pytest.mark.parametrize("parallel", [True, False])
async def test_a_run_is_cancelled_at_its_waits_and_undone(world, delivered, parallel):
    async def flow(step):
        await undoing(world)(step)("a", lambda: 1)
        try:
            if parallel:
                await asyncio.gather(
                    step("w", pending_hook, "h", int),
                    step.sleep("night", HOUR),
                    undoing(world)(step)("b", lambda: 2),
                )
            else:
                await step("w", pending_hook, "h", int)
                await step.sleep("night", HOUR)
        finally:
            world.log.append("finally")

    outcome = await world.run(flow)
    state = inject_hook(outcome.state, "h", 1, now=world.now) if delivered else outcome.state
    world.log.clear()
    outcome = await world.resume(flow, cancel(state, "why"))
    assert outcome.result == Err(Cancelled("why"))
    assert world.log == ["finally", *([("undo", 2)] if parallel else []), ("undo", 1)]
    assert outcome.state.pending == outcome.state.timers == ()
    assert (await world.resume(flow, outcome.state)).result == outcome.result
    assert cancel(outcome.state, "again") is outcome.state


async def test_no_attempt_takes_a_cancellation_for_an_error_of_its_step(world):
    async def flow(step):
        return str(await step.options(retry=Retry(on=object)).attempt("a", world.step("a")))

    outcome = await world.resume(flow, cancel(world.runner().start(flow)))
    assert outcome.result == Err(Cancelled(""))
    assert world.log == []


async def test_the_first_reason_counts(world):
    state = cancel((await world.run(waiting)).state, "first")
    assert cancel(state, "second") is state
    assert (await world.resume(waiting, state)).result == Err(Cancelled("first"))


async def test_a_run_that_is_being_undone_is_not_cancelled_anew(world):
    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        await step("bad", lambda: Err("no"))

    state = (await world.run(flow)).state
    assert cancel(state, "too late") is state


async def test_a_cancelled_run_whose_undo_waits_stays_cancelled(world):
    async def flow(step):
        await step.options(undo=lambda _: pending_timer(HOUR))("a", lambda: 1)
        await step("w", pending_hook, "h")

    outcome = await world.resume(flow, cancel((await world.run(flow)).state, "why"))
    assert outcome.result == Err(PendingTimer("undo:a", world.now + HOUR))
    assert next_wakeup(outcome.state) == world.now + HOUR
    assert (await world.on_time(flow, outcome)).result == Err(Cancelled("why"))


async def test_forgetting_a_step_keeps_a_cancellation_and_opens_a_run_that_has_ended_by_it(world):
    async def flow(step):
        await step("a", lambda: 1)
        await step("w", pending_hook, "h")

    state = cancel((await world.run(flow)).state)
    assert (await world.resume(flow, forget(state, "a"))).result == Err(Cancelled(""))
    ended = (await world.resume(flow, state)).state
    assert (await world.resume(flow, rewind(ended, "a"))).state.status == "suspended"
