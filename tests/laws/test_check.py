"""A dry run: what it does not call, where it stays, and how it reads."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from awaitpy import (
    Cancelled,
    Check,
    Err,
    HookTimeout,
    MigrationGap,
    Ok,
    PayloadMisfit,
    PendingHook,
    Result,
    Retry,
    Runner,
    UnexpectedError,
    UnreadableEntry,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
    append_entries,
    cancel,
    check,
    create_hook,
    first_of,
    forget,
    inject_hook,
    pending_hook,
    rename_step,
    resume,
    run,
    workflow,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def coded(calls, *keys: str, **how: Any) -> Any:
    """A workflow of these steps in turn; those that begin with `wait` wait."""

    async def flow(step):
        for key in keys:
            if key.startswith("wait"):
                await step(key, pending_hook, key, timeout=3600)
            else:
                await step(key, calls, key)
        return "done"

    return workflow(name="shop", **how)(flow)


@pytest.fixture
async def parked(calls):
    state = (await Runner(run_id="r-1").run(coded(calls, "create-order", "fulfil", "wait"))).state
    calls.clear()
    return state


# --- how it reads ---------------------------------------------------------------------------------


async def test_a_state_that_would_resume_is_told_with_what_comes_next(parked, calls):
    found = await check(coded(calls, "create-order", "fulfil", "wait"), parked)
    assert found == Check(
        run_id="r-1",
        workflow="shop",
        replayed=("create-order", "fulfil"),
        next=("wait",),
        waits=("wait",),
    )
    assert found.ok
    assert str(found) == ("Run r-1 of shop would resume:\n  create-order\n  fulfil\n+ wait (would wait)")
    answered = inject_hook(parked, "wait", 1)
    found = await check(coded(calls, "create-order", "fulfil", "wait", "send"), answered)
    assert (found.answered, found.next, found.waits) == (("wait",), ("send",), ())
    assert str(found).endswith("\n  wait (over, would go on)\n+ send (new, would run)")
    assert calls == []


async def test_a_renamed_step_is_told_as_a_difference_with_the_ways_out(parked, calls):
    renamed = coded(calls, "create-order", "fulfill", "wait")
    found = await check(renamed, parked)
    assert found.problem == (await resume(renamed, parked)).result.error
    assert not found.ok
    assert str(found) == (
        "Run r-1 of shop would not resume:\n"
        "  create-order\n"
        "- fulfil (journaled, not asked)\n"
        "+ fulfill (new, would run; nearest journaled: fulfil)\n"
        f"{found.problem}"
    )
    assert calls == []


async def test_a_removed_step_is_told_with_the_step_that_came_in_its_place(parked, calls):
    found = await check(coded(calls, "create-order", "wait"), parked)
    assert found.problem == WorkflowDrift("wait", "fulfil", ("fulfil",), None)
    assert (found.next, found.unasked) == (("wait",), ("fulfil",))
    ended = await check(coded(calls, "create-order"), parked)
    assert ended.problem == WorkflowDrift(None, "fulfil", ("fulfil",), None)
    assert ended.next == ()


async def test_a_value_that_can_not_be_read_is_told(parked):
    @workflow(name="shop")
    async def flow(step):
        await step.options(returns=int)("create-order", int)
        await step("fulfil", int)

    found = await check(flow, (await typed_run()).state)
    assert isinstance(found.problem, UnreadableEntry)
    assert (found.replayed, found.unasked, found.next) == ((), ("fulfil",), ())
    assert "\n! create-order (journaled, can't be read)\n- fulfil" in str(found)


async def typed_run() -> Any:
    @workflow(name="shop")
    async def flow(step):
        await step("create-order", lambda: "o-1")
        await step("fulfil", lambda: "f-1")
        await step("wait", pending_hook, "h")

    return await run(flow)


# --- what resume says before anything is replayed -------------------------------------------------


async def test_what_resume_refuses_at_once_is_told(parked, calls):
    @workflow(name="other")
    async def other(step) -> None: ...

    @workflow(name="shop")
    async def takes_one(step, total: int) -> None: ...

    assert (await check(other, parked)).problem == WorkflowMismatch("shop", "other")
    newer = (await Runner(version=2).run(coded(calls, "wait"))).state
    found = await check(coded(calls, "wait"), newer)
    assert found.problem == VersionMismatch("shop", 2, 1)
    assert isinstance((await check(takes_one, parked)).problem, UnreadableEntry)
    assert (await check(coded(calls, "wait"), newer, runner=Runner(version=2))).ok


async def test_migrations_are_part_of_the_dry_run(parked, calls):
    keys = ["create-order", "fulfill", "wait"]
    renamed = coded(calls, *keys, version=2, migrations={1: lambda s: rename_step(s, "fulfil", "fulfill")})
    found = await check(renamed, parked, runner=Runner(checkpoint=print))
    assert (found.ok, found.replayed) == (True, ("create-order", "fulfill"))
    gap = coded(calls, *keys, version=3, migrations={1: lambda s: s})
    assert (await check(gap, parked)).problem == MigrationGap("shop", 1, 3, (2,))
    raises = coded(calls, *keys, version=2, migrations={1: lambda s: 1 // 0})
    assert isinstance((await check(raises, parked)).problem, UnexpectedError)
    assert (await check(coded(calls, *keys, version=2), parked)).problem is not None


async def test_the_settings_of_the_runner_count_and_its_observers_hear_nothing(parked, calls):
    heard: list[Any] = []
    runner = Runner(
        retired={"fulfil"},
        clock=lambda: datetime.now(UTC) + timedelta(hours=2),
        on_event=heard.append,
        checkpoint=heard.append,
    )
    found = await check(coded(calls, "create-order", "wait", "send"), parked, runner=runner)
    # The time of the wait is over on that clock, and the workflow lets that end the run.
    assert (found.ok, found.answered, found.next, found.unasked) == (True, ("wait",), (), ())
    assert heard == []


# --- finished runs --------------------------------------------------------------------------------


async def test_a_finished_run_has_nothing_to_come(parked, calls):
    flow = coded(calls, "create-order", "fulfil", "wait")
    finished = (await resume(flow, inject_hook(parked, "wait", 1))).state
    found = await check(coded(calls, "anything"), finished)
    assert found == Check(run_id="r-1", workflow="shop")
    assert str(found) == "Run r-1 of shop would resume:"


async def test_a_finished_run_whose_result_was_not_recorded_is_replayed():
    async def flow(step):
        await step("a", str)
        if more:
            await step("b", str)
        return object()

    more = False
    finished = (await run(flow)).state
    found = await check(flow, finished)
    assert (found.ok, found.replayed) == (True, ("a",))
    more = True
    assert isinstance((await check(flow, finished)).problem, UnexpectedError)


async def test_an_error_of_the_workflow_is_no_problem():
    def declines() -> Result[int, str]:
        return Err("no")

    async def flow(step):
        await step("ask", declines) if again else await step.attempt("ask", declines)
        await step("wait", pending_hook, "h")

    again = False
    state = (await run(flow)).state
    again = True
    found = await check(flow, state)
    assert (found.ok, found.next, found.replayed) == (True, (), ("ask",))


async def test_what_the_body_raises_is_told():
    async def flow(step):
        await step("a", str)
        if broken:
            raise ValueError("typo")
        await step("wait", pending_hook, "h")

    broken = False
    state = (await run(flow)).state
    broken = True
    found = await check(flow, state)
    assert isinstance(found.problem, UnexpectedError)
    assert str(found.problem.cause) == "typo"


# --- functions that are not called ----------------------------------------------------------------


async def test_a_wait_that_only_its_function_can_tell_is_where_the_look_ends(calls):
    def ask():
        calls.append("ask")
        return pending_hook("h", int)

    async def flow(step):
        got = await step("ask", ask)
        await step("after", calls, "after")
        return [got, await step("wait", pending_hook, "h2")]

    waiting = (await run(flow)).state
    for state in (waiting, inject_hook(waiting, "h", 1)):
        found = await check(flow, state)
        assert (found.ok, found.next, found.unasked) == (True, ("ask",), ())
    answered = (await resume(flow, inject_hook(waiting, "h", 1))).state
    calls.clear()
    found = await check(flow, answered)
    assert (found.ok, found.replayed, found.next, found.unasked) == (True, (), ("ask",), ("after",))
    assert str(found).endswith("\n  after (journaled, comes later)\n+ ask (new, would run)")
    assert calls == []


async def test_a_wait_whose_function_is_annotated_is_passed_without_calling_it(calls):
    def ask() -> Result[int, PendingHook]:
        calls.append("ask")
        return pending_hook("h")

    async def flow(step):
        return [await step("ask", ask), await step("wait", pending_hook, "h2")]

    waiting = (await run(flow)).state
    assert (await check(flow, waiting)).waits == ("ask",)
    delivered = inject_hook(waiting, "h", 1)
    assert (await check(flow, delivered)).next == ("wait",)
    assert (await check(flow, (await resume(flow, delivered)).state)).replayed == ("ask",)
    assert calls == ["ask"]


async def test_a_delivery_that_the_workflow_judges_is_not_judged(calls):
    def judge(payload):
        calls.append("judge")
        return Ok(payload)

    async def flow(step):
        return await step("wait", pending_hook, "h", accept=judge)

    state = inject_hook((await run(flow)).state, "h", 1)
    found = await check(flow, state)
    assert (found.ok, found.next, found.waits) == (True, ("wait",), ("wait",))
    assert calls == []


async def test_a_delivery_that_a_child_judges_is_where_the_look_into_it_ends(calls):
    async def judged(step):
        await step("wait", pending_hook, "h", accept=calls)
        return await step("after", calls, "after")

    async def flow(step):
        got = asyncio.ensure_future(step.child("child", judged))
        await step("w", pending_hook, "w")
        await got
        await step("end", calls, "end")
        return await step("last", pending_hook, "last")

    async def nested(step):
        return await step.child("flow", flow)

    for workflow_ in (flow, nested):
        state = inject_hook(inject_hook((await run(workflow_)).state, "w", 1), "h", "judge")
        state = (await resume(workflow_, state)).state
        parts = state.children["flow"] if workflow_ is nested else state
        assert list(parts.steps) == ["w", "child", "end"]
        within = "flow/child/wait" if workflow_ is nested else "child/wait"
        forgotten = forget(state, within)
        found = await check(workflow_, inject_hook(forgotten, "h", "judge"))
        assert (found.ok, found.next) == (True, (within,)), str(found)


async def test_a_delivery_that_does_not_fit_the_type_of_today_is_told():
    async def flow(step):
        return await step("wait", pending_hook, "h", tp)

    tp = str
    state = inject_hook((await run(flow)).state, "h", "x")
    tp = int
    found = await check(flow, state)
    assert isinstance(found.problem, PayloadMisfit)
    assert state.pending[0].deliveries == 1


async def test_a_wait_with_terms_that_are_none_is_told_as_where_it_runs():
    async def flow(step):
        return await step("wait", first_of)

    found = await check(flow, Runner().start(flow))
    assert isinstance(found.problem, UnexpectedError)
    assert isinstance(found.problem.cause, ValueError)


async def test_a_race_and_a_created_hook_are_no_effects_to_be_afraid_of(calls):
    async def flow(step):
        await step("hook", create_hook)
        return await step("race", first_of, pending_hook("h1"), pending_hook("h2"))

    assert (await check(flow, Runner().start(flow))).next == ("hook",)
    state = (await run(flow)).state
    found = await check(flow, state)
    assert (found.next, found.waits) == (("race",), ("race",))


# --- steps that may run before others -------------------------------------------------------------


async def test_behind_a_forgotten_step_or_one_with_since_the_rest_comes_later(parked, calls):
    flow = coded(calls, "create-order", "fulfil", "wait")
    found = await check(flow, forget(parked, "create-order"))
    assert (found.ok, found.next, found.unasked) == (True, ("create-order",), ("fulfil",))

    @workflow(name="shop", version=2)
    async def added(step):
        await step.options(since=2)("screen", calls, "screen")
        await flow(step)

    found = await check(added, parked)
    assert (found.ok, found.next) == (True, ("screen",))
    assert found.unasked == ("create-order", "fulfil")
    assert calls == []


# --- parallel branches ----------------------------------------------------------------------------


async def test_every_branch_goes_as_far_as_the_journal_does(calls):
    async def flow(step):
        async def branch(n):
            await step(f"a{n}", calls, f"a{n}")
            await step(f"wait{n}", pending_hook, f"h{n}")
            await step(f"b{n}", calls, f"b{n}")

        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(branch(n))

    state = inject_hook((await run(flow)).state, "h1", 1)
    found = await check(flow, state)
    assert set(found.replayed) == {"a0", "a1", "a2"}
    assert set(found.next) == {"wait0", "b1", "wait2"}
    assert set(found.waits) == {"wait0", "wait2"}
    assert found.answered == ("wait1",)


async def test_a_branch_that_is_cancelled_at_a_new_step_is_left_there(calls):
    async def flow(step):
        slow = asyncio.ensure_future(step("slow", calls, "slow"))
        await asyncio.sleep(0)
        slow.cancel()
        await asyncio.wait([slow])
        await step("after", calls, "after")

    found = await check(flow, Runner().start(flow))
    assert (found.ok, found.next) == (True, ("slow", "after"))
    assert calls == []


async def test_a_step_inserted_into_a_branch_is_told_before_it_runs(calls):
    async def flow(step):
        async def branch(n):
            if n == 1 and added:
                await step("new", calls, "new")
            await step(f"a{n}", calls, f"a{n}")
            await step(f"wait{n}", pending_hook, f"h{n}")

        await asyncio.gather(branch(0), branch(1))

    added = False
    state = (await run(flow)).state
    added = True
    found = await check(flow, state)
    assert found.problem == WorkflowDrift("new", "a1", ("a1",), None)
    assert str(found).endswith(f"\n+ new (new, would run)\n{found.problem}")
    assert set(found.next) == {"new", "wait0"}


async def test_a_scope_inserted_before_journaled_steps_is_told_though_a_resume_lets_it_pass(parked, calls):
    flow = coded(calls, "create-order", "fulfil", "wait")

    @workflow(name="shop")
    async def inserted(step):
        await step.scope("audit")("note", calls, "note")
        await flow(step)

    found = await check(inserted, parked)
    assert found.problem == WorkflowDrift("audit/note", "create-order", ("create-order", "fulfil"), None)
    assert calls == []
    assert isinstance((await resume(inserted, parked)).result.error, PendingHook)
    assert calls == ["note"]


async def test_a_timeout_that_the_workflow_takes_is_gone_past():
    async def flow(step):
        late = await step.attempt("wait", pending_hook, "h", timeout=60)
        assert isinstance(late, Err)
        assert isinstance(late.error, HookTimeout)
        await step("after", str)

    state = (await Runner(clock=lambda: NOON).run(flow)).state
    later = Runner(clock=lambda: NOON + timedelta(hours=1))
    found = await check(flow, state, runner=later)
    assert (found.answered, found.next) == (("wait",), ("after",))


async def test_swallowing_the_dry_suspension_is_told_as_it_is_in_a_resume():
    async def flow(step):
        try:
            await step("a", str)
        except BaseException:  # noqa: BLE001  the mistake that is tested
            return "swallowed"

    found = await check(flow, Runner().start(flow))
    assert isinstance(found.problem, UnexpectedError)


async def test_a_value_is_restored_in_a_dry_run_as_in_any_other():
    @attrs.frozen
    class Order:
        id: str

    def order() -> Order:
        return Order("o-1")

    async def flow(step):
        made = await step("order", order)
        assert made == Order("o-1")
        await step(f"wait-{made.id}", pending_hook, "h")

    state = (await run(flow)).state
    assert (await check(flow, state)).next == ("wait-o-1",)


# --- sleeps, retries, undo, cancelling --------------------------------------------------------------


async def test_a_sleep_is_stayed_at_until_its_time_and_gone_past_after_it(calls):
    async def flow(step):
        await step.sleep("nap", timedelta(hours=1))
        await step("after", calls, "after")

    state = (await Runner(clock=lambda: NOON).run(flow)).state
    early = Runner(clock=lambda: NOON + timedelta(minutes=59, seconds=59))
    found = await check(flow, state, runner=early)
    assert (found.ok, found.next, found.waits) == (True, ("nap",), ("nap",))
    found = await check(flow, state, runner=Runner(clock=lambda: NOON + timedelta(hours=1)))
    assert (found.ok, found.answered, found.next) == (True, ("nap",), ("after",))
    assert (await check(flow, Runner().start(flow), runner=early)).waits == ("nap",)


async def test_a_step_that_is_tried_again_later_is_not_tried_now(calls):
    def fails():
        calls.append("fails")
        raise ConnectionError

    async def flow(step):
        await step.options(retry=Retry(attempts=3, delay=3600))("pay", fails)

    state = (await run(flow)).state
    assert state.timers
    found = await check(flow, state)
    assert (found.ok, found.next, found.waits) == (True, ("pay",), ("pay",))
    later = Runner(clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    found = await check(flow, state, runner=later)
    assert (found.ok, found.next, found.waits) == (True, ("pay",), ())
    assert calls == ["fails"]


async def test_a_step_whose_outcome_is_unknown_is_told_as_its_policy_says(calls):
    async def flow(step):
        unknown = await step.options(on_unknown="fail").attempt("pay", calls, "pay")
        await step("refund" if isinstance(unknown, Err) else "send", calls, "x")

    kept: list[Any] = []

    def dies(entry: Any) -> None:
        if kept:
            raise ConnectionError
        kept.append(entry)

    begun = Runner().start(flow)
    await Runner(checkpoint=dies).resume(flow, begun)
    crashed = append_entries(begun, *kept)
    calls.clear()
    assert (await check(flow, begun)).next == ("pay",)
    assert (await check(flow, crashed)).next == ("refund",)
    assert calls == []


async def test_a_run_that_fails_is_not_undone_by_a_dry_run(calls):
    def undo(_):
        calls.append("undo")

    async def flow(step):
        await step.options(undo=undo)("book", calls, "book")
        await step("wait", pending_hook, "h")
        await step("later", calls, "later")

    state = (await run(flow)).state
    found = await check(flow, cancel(state, "no more"))
    assert (found.ok, found.next) == (True, ("undo:book",))
    assert calls == ["book"]
    cancelled = await resume(flow, cancel(state, "no more"))
    assert cancelled.result == Err(Cancelled("no more"))
    assert calls == ["book", "undo"]


async def test_of_the_items_of_a_map_only_as_many_come_next_as_may_be_under_way(calls):
    async def flow(step):
        await step.map("m", calls, range(6), limit=2)
        await step("w", pending_hook, "h")

    state = Runner().start(flow)
    assert (await check(flow, state)).next == ("m/0", "m/1")
    waiting = (await resume(flow, state)).state
    assert (await check(flow, forget(waiting, "m/3"))).next == ("m/3",)


async def test_what_the_losers_of_a_race_had_journaled_is_not_missed(calls):
    """Races in races that a crash left decided, but for the outermost: a resume decides that one too."""

    async def branch(step: Any) -> Any:
        won = await step.race("in", {name: lambda s: s("a", calls, "a") for name in "ab"})
        return won.name

    async def flow(step: Any) -> None:
        await step.race("out", dict.fromkeys("ab", branch))
        await step("end", calls, "end")

    kept: list[Any] = []
    begun = Runner().start(flow)
    await Runner(checkpoint=kept.append).resume(flow, begun)
    for moment in range(len(kept)):
        crashed = append_entries(begun, *kept[:moment])
        found = await check(flow, crashed)
        assert found.ok, str(found)
        assert found.unasked == ()
