"""A child is a run of its own within a run: started, awaited, injected into, and journaled with it."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import attrs
import msgspec
import pytest

from awaitpy import (
    Err,
    HookTimeout,
    JournalError,
    MigrationGap,
    Ok,
    PayloadMisfit,
    PendingHook,
    PendingTimer,
    Result,
    ResumeState,
    Retry,
    Runner,
    Step,
    StepMisuse,
    StepTimeout,
    UnexpectedError,
    UnreadableEntry,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
    append_entries,
    check,
    drop_step,
    get_pending_hooks,
    has_pending_hook,
    inject_hook,
    next_wakeup,
    pending_hook,
    rename_step,
    resume,
    run,
    workflow,
)


@attrs.frozen
class Parcel:
    order: str
    weight: int


@attrs.frozen
class Lost:
    where: str


def again(state: ResumeState) -> ResumeState:
    """Send a state through its bytes and its JSON, as to another process."""
    assert ResumeState.from_json(state.to_json()) == state
    return ResumeState.from_bytes(state.to_bytes())


def pack(order: str) -> Parcel:
    return Parcel(order, 3)


@attrs.frozen
class Late:
    days: int


def late() -> Result[None, Late]:
    return Err(Late(3))


def lose(where: str) -> Result[Parcel, Lost]:
    return Err(Lost(where))


async def ship(step: Step[Lost | PendingHook], order: str) -> Parcel:
    parcel = await step("pack", pack, order)
    where = await step("carrier", pending_hook, f"h-{order}", str)
    if where != "here":
        return await step("lose", lose, where)
    return parcel


async def sale(step: Step[Lost | PendingHook], order: str) -> Parcel:
    return await step.child("ship", ship, order)


# --- what a child is ------------------------------------------------------------------------------


async def test_a_child_gives_its_value_to_the_parent():
    async def inner(step, n: int) -> int:
        return await step("double", lambda: n * 2)

    async def outer(step):
        return [await step.child("c", inner, 4), await step.child("d", inner, n=5)]

    outcome = await run(outer)
    assert outcome.result == Ok([8, 10])
    assert [(k, e.kind_name) for k, e in outcome.state.steps.items()] == [("c", "value"), ("d", "value")]


async def test_a_child_has_a_run_of_its_own_in_the_parents_state():
    outcome = await Runner(run_id="r1").run(sale, "o1")
    child = again(outcome.state).children["ship"]
    assert (child.run_id, child.status, child.version) == ("r1/ship", "suspended", 1)
    assert child.workflow == "ship"
    assert list(child.steps) == ["pack"]
    assert outcome.state.steps == {}
    done = await resume(sale, inject_hook(again(outcome.state), "h-o1", "here"))
    assert done.result == Ok(Parcel("o1", 3))
    assert done.state.children["ship"].status == "completed"
    assert list(done.state.children["ship"].steps) == ["pack", "carrier"]


async def test_a_child_in_a_scope_has_the_full_key_in_its_run_id():
    async def outer(step):
        return await step.scope("a").child("ship", ship, "o")

    outcome = await Runner(run_id="r").run(outer)
    assert outcome.state.children["a/ship"].run_id == "r/a/ship"
    assert outcome.state.pending[0].step_key == "a/ship/carrier"


async def test_what_the_child_gives_fresh_equals_what_it_gives_replayed():
    got = []

    async def outer(step):
        got.append(await step.child("ship", ship, "o"))
        return await step("end", pending_hook, "end")

    first = await run(outer)
    second = await resume(outer, inject_hook(again(first.state), "h-o", "here"))
    await resume(outer, inject_hook(again(second.state), "end", 1))
    assert got == [Parcel("o", 3)] * 2
    assert [type(one) for one in got] == [Parcel] * 2


async def test_the_same_key_twice_is_a_duplicate():
    async def outer(step):
        await step.child("c", ship, "a")
        await step("c", pack, "a")

    first = await run(outer)
    outcome = await resume(outer, inject_hook(first.state, "h-a", "here"))
    assert "'c'" in str(outcome.result.unwrap_err())


# --- waiting ------------------------------------------------------------------------------------


async def test_a_hook_in_a_child_suspends_the_parent_and_both_resume():
    outcome = await run(sale, "o1")
    assert outcome.result == Err(PendingHook("h-o1", "ship/carrier"))
    assert outcome.state.status == "suspended"
    assert get_pending_hooks(outcome.state) == ["h-o1"]
    assert has_pending_hook(outcome.state, "h-o1")
    assert not has_pending_hook(outcome.state, "h-o2")
    assert "waits for 'h-o1'" in repr(outcome.state)


@pytest.mark.parametrize("order", list(itertools.permutations(["own", "h-a", "h-b"])))
@pytest.mark.parametrize("kind", ["gather", "group"])
@pytest.mark.parametrize("stops", [True, False])
async def test_children_in_parallel_wait_together_and_are_answered_in_any_order(order, kind, stops):
    async def outer(step):
        branches = [
            step.child("a", ship, "a"),
            step("own", pending_hook, "own"),
            step.child("b", ship, "b"),
        ]
        if kind == "gather":
            return await asyncio.gather(*branches)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch) for branch in branches]
        return [task.result() for task in tasks]

    outcome = await run(outer)
    assert sorted(get_pending_hooks(outcome.state)) == ["h-a", "h-b", "own"]
    for number, hook_id in enumerate(order):
        outcome = await _answered(outer, outcome.state, hook_id, stops or number == 2)
    assert outcome.result == Ok([Parcel("a", 3), "here", Parcel("b", 3)])


async def _answered(flow, state, hook_id, goes_on):
    state = inject_hook(again(state), hook_id, "here")
    if goes_on:
        return await resume(flow, state)
    return type("Kept", (), {"state": state})


async def test_a_resume_that_changes_nothing_gives_the_same_state():
    outcome = await run(sale, "o1")
    second = await resume(sale, outcome.state)
    assert second.state is outcome.state
    assert second.result == outcome.result


async def test_a_branch_beside_a_child_that_waits_goes_on():
    done = []

    async def slowly(n):
        for _ in range(40):
            await asyncio.sleep(0)
        done.append(n)

    async def branch(step):
        for n in range(3):
            await step(f"s{n}", slowly, n)

    async def outer(step):
        await asyncio.gather(step.child("ship", ship, "o"), branch(step))

    outcome = await run(outer)
    assert done == [0, 1, 2]
    assert list(outcome.state.steps) == ["s0", "s1", "s2"]
    assert get_pending_hooks(outcome.state) == ["h-o"]


async def test_a_child_that_works_is_drained_when_a_sibling_waits(calls):
    async def slowly(n):
        for _ in range(40):
            await asyncio.sleep(0)
        return calls(n)

    async def works(step):
        await step("one", slowly, "one")
        await step("two", slowly, "two")
        return await step("w", pending_hook, "inner")

    async def outer(step):
        await asyncio.gather(step("w", pending_hook, "outer"), step.child("c", works))

    outcome = await run(outer)
    assert calls == ["one", "two"]
    assert sorted(get_pending_hooks(outcome.state)) == ["inner", "outer"]


async def test_a_sleep_in_a_child_suspends_the_parent_until_then():
    now = datetime(2030, 1, 1, tzinfo=UTC)

    async def naps(step):
        await step.sleep("nap", timedelta(hours=1))
        return "rested"

    async def outer(step):
        return await step.child("c", naps)

    outcome = await Runner(clock=lambda: now).run(outer)
    then = now + timedelta(hours=1)
    assert outcome.result == Err(PendingTimer("c/nap", then))
    assert next_wakeup(again(outcome.state)) == then
    assert [t.step_key for t in outcome.state.timers] == ["c/nap"]
    late = await Runner(clock=lambda: then).resume(outer, again(outcome.state))
    assert late.result == Ok("rested")
    assert next_wakeup(late.state) is None
    assert late.state.timers == ()


async def test_the_timeout_of_a_wait_in_a_child_ends_the_parent():
    now = datetime(2030, 1, 1, tzinfo=UTC)

    async def waits(step: Step[PendingHook]) -> str:
        return await step("w", pending_hook, "h", str, timeout=60)

    async def outer(step):
        return await step.child("c", waits)

    async def tries(step):
        return (await step.attempt_child("c", waits)).unwrap_err().hook_id, await step(
            "x", pending_hook, "x"
        )

    error = HookTimeout("h", "w", now + timedelta(seconds=60))
    first = await Runner(clock=lambda: now).run(outer)
    assert next_wakeup(first.state) == error.deadline
    late = Runner(clock=lambda: error.deadline)
    assert (await late.resume(outer, again(first.state))).result == Err(error)
    second = await Runner(clock=lambda: now).run(tries)
    second = await late.resume(tries, again(second.state))
    third = await resume(tries, inject_hook(again(second.state), "x", 2))
    assert third.result == Ok(("h", 2))


# --- injection ----------------------------------------------------------------------------------


async def test_a_delivery_to_a_child_happens_once():
    state = (await run(sale, "o1")).state
    once = inject_hook(state, "h-o1", "here", delivery_id="d1")
    assert inject_hook(once, "h-o1", "here", delivery_id="d1") is once
    with pytest.raises(Exception, match="h-o1") as refused:
        inject_hook(once, "h-o1", "there", delivery_id="d2")
    assert refused.value.status == 409
    assert get_pending_hooks(state) == ["h-o1"]
    assert get_pending_hooks(once) == []
    done = (await resume(sale, once)).state
    assert inject_hook(done, "h-o1", "here", delivery_id="d1") is done
    with pytest.raises(Exception, match="h-o1") as late:
        inject_hook(done, "h-o1", "there", delivery_id="d2")
    assert late.value.status == 409
    with pytest.raises(Exception, match="unknown") as none:
        inject_hook(done, "unknown", 1)
    assert none.value.status == 404


async def test_a_hook_of_the_parent_comes_before_one_of_the_same_id_in_a_child():
    async def outer(step):
        return await asyncio.gather(step.child("c", ship, "a"), step("w", pending_hook, "h-a"))

    state = inject_hook((await run(outer)).state, "h-a", "here")
    outcome = await resume(outer, state)
    assert list(outcome.state.steps) == ["w"]
    assert outcome.result == Err(PendingHook("h-a", "c/carrier"))


async def test_a_hook_of_a_grandchild_is_found():
    async def middle(step):
        return (await step.child("in", ship, "deep")).weight

    async def outer(step):
        return await step.child("mid", middle)

    state = (await run(outer)).state
    assert state.pending[0].step_key == "mid/in/carrier"
    outcome = await resume(outer, inject_hook(again(state), "h-deep", "here"))
    assert outcome.result == Ok(3)


async def test_a_delivery_that_does_not_fit_leaves_the_hook_of_the_child_pending():
    state = (await run(sale, "o")).state
    outcome = await resume(sale, inject_hook(state, "h-o", 5))
    error = outcome.result.unwrap_err()
    assert isinstance(error, PayloadMisfit)
    assert error.step_key == "ship/carrier"
    assert get_pending_hooks(again(outcome.state)) == ["h-o"]
    done = await resume(sale, inject_hook(outcome.state, "h-o", "here"))
    assert done.result == Ok(Parcel("o", 3))


async def test_a_delivery_is_ready_at_once_for_the_parent():
    state = (await run(sale, "o")).state
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert next_wakeup(state) is None
    assert next_wakeup(inject_hook(state, "h-o", "here", now=at)) == at


async def test_a_finished_parent_takes_no_delivery_for_a_child_that_it_left():
    async def outer(step):
        task = asyncio.ensure_future(step.child("c", ship, "a"))
        await step("s", asyncio.sleep, 0.01)
        return task.done()

    outcome = await run(outer)
    assert outcome.result == Ok(value=False)
    assert get_pending_hooks(outcome.state) == []
    assert outcome.state.pending == ()
    with pytest.raises(Exception, match="completed") as refused:
        inject_hook(outcome.state, "h-a", "here")
    assert refused.value.status == 409


async def test_a_child_that_was_cut_off_takes_no_delivery():
    async def outer(step):
        try:
            async with asyncio.timeout(0.01):
                await step.child("c", waits_by_itself)
        except TimeoutError:
            return await step("after", pending_hook, "end")

    async def waits_by_itself(step):
        await asyncio.gather(step("w", pending_hook, "h"), step("slow", asyncio.sleep, 60))

    state = (await run(outer)).state
    assert state.steps["c"].kind_name == "cut"
    assert get_pending_hooks(state) == ["end"]
    with pytest.raises(Exception, match="'h'") as refused:
        inject_hook(again(state), "h", 1)
    assert refused.value.status == 409
    assert (await resume(outer, inject_hook(again(state), "end", 1))).result == Ok(1)


# --- errors ---------------------------------------------------------------------------------------


async def test_the_typed_error_of_a_child_ends_the_parent_and_is_journaled():
    state = inject_hook((await run(sale, "o")).state, "h-o", "sea")
    outcome = await resume(sale, state)
    assert outcome.result == Err(Lost("sea"))
    assert outcome.state.status == "failed"
    assert outcome.state.children["ship"].status == "failed"
    assert outcome.state.steps["ship"].kind_name == "error"
    assert (await resume(sale, again(outcome.state))).result == Err(Lost("sea"))


async def test_an_attempted_child_gives_its_error_as_a_value():
    async def outer(step: Step[PendingHook]) -> str:
        got = await step.attempt_child("ship", ship, "o")
        good = await step.options(returns=Parcel).attempt_child("pack", lambda s: s("p", pack, "o"))
        assert good.unwrap().weight == 3
        return f"{got.unwrap_err().where} {await step('end', pending_hook, 'end', str)}"

    second = await resume(outer, inject_hook((await run(outer)).state, "h-o", "sea"))
    assert second.result == Err(PendingHook("end", "end"))
    assert (await resume(outer, inject_hook(again(second.state), "end", "!"))).result == Ok("sea !")


async def test_an_unexpected_error_in_a_child_interrupts_the_parent_and_both_go_on(calls):
    broken = [True]

    def fragile():
        calls("fragile")
        if broken:
            raise ConnectionError("no line")
        return 5

    async def inner(step):
        await step("first", calls, "first")
        return await step("fragile", fragile)

    async def outer(step):
        return await step.child("c", inner)

    outcome = await run(outer)
    error = outcome.result.unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert error.key == "c/fragile"
    assert outcome.state.status == outcome.state.children["c"].status == "interrupted"
    broken.clear()
    assert (await resume(outer, again(outcome.state))).result == Ok(5)
    assert calls == ["first", "fragile", "fragile"]


async def test_an_exception_of_the_body_of_a_child_names_the_child():
    async def inner(step):
        raise ValueError("of the body")

    async def outer(step):
        try:
            return await step.child("c", inner)
        except Exception:  # noqa: BLE001  that it catches nothing is the point
            return "caught"

    error = (await run(outer)).result.unwrap_err()
    assert (error.key, str(error.cause)) == ("c", "of the body")


async def test_a_value_that_no_type_restores_is_refused():
    async def inner(step):
        return Parcel("o", 1)

    async def outer(step):
        return await step.child("c", inner)

    error = (await run(outer)).result.unwrap_err()
    assert isinstance(error.cause, JournalError)
    assert "'c'" in str(error)

    async def says(step):
        return await step.options(returns=Parcel).child("c", inner)

    assert (await run(says)).result == Ok(Parcel("o", 1))


@pytest.mark.parametrize(("args", "what"), [((Parcel("a", 1), 2), "argument"), ((object(),), "Argument 1")])
async def test_arguments_that_the_child_does_not_take_are_refused(args, what):
    async def inner(step, n):
        return n

    async def outer(step):
        return await step.child("c", inner, *args)

    outcome = await run(outer)
    assert what in str(outcome.result.unwrap_err())
    assert outcome.state.children == {}


async def test_what_is_no_workflow_is_refused():
    async def outer(step):
        return await step.child("c", 5)

    error = (await run(outer)).result.unwrap_err()
    assert "needs a workflow" in str(error)


async def test_a_child_without_types_that_can_be_read_is_refused():
    async def inner(step) -> Unknown:  # noqa: F821  that it has no meaning is the point
        return 1

    async def outer(step):
        return await step.child("c", inner)

    assert isinstance((await run(outer)).result.unwrap_err().cause, JournalError)


@pytest.mark.parametrize("policy", [{"retry": Retry()}, {"timeout": 3}, {"on_unknown": "run"}])
async def test_a_policy_of_attempts_is_refused_for_a_child(policy):
    async def outer(step):
        return await step.options(**policy).child("c", ship, "o")

    error = (await run(outer)).result.unwrap_err()
    assert isinstance(error.cause, StepMisuse)
    assert next(iter(policy)) in str(error)


async def test_a_child_called_in_a_steps_function_is_refused():
    async def outer(step):
        return await step("s", lambda: step.child("c", ship, "o"))

    error = (await run(outer)).result.unwrap_err()
    assert isinstance(error.cause, StepMisuse)


async def test_an_error_of_a_policy_in_a_child_is_journaled():
    async def inner(step):
        await step.options(timeout=0.001)("slow", asyncio.sleep, 5)

    async def outer(step):
        error = (await step.attempt_child("c", inner)).unwrap_err()
        return [error.step_key, await step("w", pending_hook, "h")]

    first = await run(outer)
    assert first.state.steps["c"].kind_name == "policy"
    assert (await resume(outer, inject_hook(again(first.state), "h", 1))).result == Ok(["slow", 1])
    assert StepTimeout("slow", 0.001).step_key == "slow"


async def test_an_error_that_is_one_of_several_is_restored_as_its_own_class():
    async def inner(step: Step[Lost | Late]) -> None:
        await step("late", late)

    async def outer(step):
        error = (await step.attempt_child("c", inner)).unwrap_err()
        return [type(error).__name__, error.days, await step("w", pending_hook, "h")]

    first = await run(outer)
    assert (await resume(outer, inject_hook(again(first.state), "h", 1))).result == Ok(["Late", 3, 1])


async def test_a_plain_error_of_a_child_without_types_is_restored():
    async def inner(step):
        await step("bad", lambda: Err("bad"))

    async def outer(step):
        error = (await step.attempt_child("c", inner)).unwrap_err()
        return [error, await step("w", pending_hook, "h")]

    first = await run(outer)
    assert (await resume(outer, inject_hook(again(first.state), "h", 1))).result == Ok(["bad", 1])


async def test_a_child_after_a_step_that_was_cut_off_comes_after_it_in_the_journal():
    async def inner(step) -> int:
        return 5

    async def outer(step):
        try:
            async with asyncio.timeout(0.001):
                await step("stuck", asyncio.sleep, 5)
        except TimeoutError:
            return await step.child("c", inner)

    outcome = await run(outer)
    assert [(k, e.kind_name) for k, e in outcome.state.steps.items()] == [("stuck", "cut"), ("c", "value")]


# --- code that changes ----------------------------------------------------------------------------


async def test_drift_in_a_child_interrupts_the_parent_and_names_the_step():
    @workflow(name="inner")
    async def old(step):
        await step("a", pack, "a")
        await step("b", pack, "b")
        return await step("w", pending_hook, "h")

    @workflow(name="inner")
    async def new(step):
        await step("aa", pack, "a")
        await step("b", pack, "b")
        return await step("w", pending_hook, "h")

    @workflow(name="inner")
    async def without(step):
        await step("b", pack, "b")
        return await step("w", pending_hook, "h")

    @workflow(name="outer")
    async def outer(step):
        return await step.child("c", old)

    @workflow(name="outer")
    async def changed(step):
        return await step.child("c", new)

    @workflow(name="outer")
    async def fewer(step):
        return await step.child("c", without)

    state = (await run(outer)).state
    outcome = await resume(changed, state)
    assert outcome.result == Err(WorkflowDrift("c/aa", "c/a", ("c/a", "c/b"), "c/a"))
    assert outcome.state.children["c"].steps == state.children["c"].steps
    assert isinstance((await resume(fewer, inject_hook(state, "h", 1))).result.unwrap_err(), WorkflowDrift)
    assert (await Runner(retired={"c/a"}).resume(fewer, state)).result == Err(PendingHook("h", "c/w"))


async def test_a_child_of_a_newer_version_is_refused():
    @workflow(name="inner", version=2)
    async def newer(step):
        return await step("w", pending_hook, "h")

    @workflow(name="inner")
    async def older(step):
        return await step("w", pending_hook, "h")

    @workflow(name="other")
    async def other(step):
        return await step("w", pending_hook, "h")

    def outer(inner):
        @workflow(name="outer")
        async def flow(step):
            return await step.child("c", inner)

        return flow

    state = (await run(outer(newer))).state
    assert state.children["c"].version == 2
    assert (await resume(outer(older), state)).result == Err(VersionMismatch("inner", 2, 1))
    outcome = await resume(outer(other), state)
    assert outcome.result == Err(WorkflowMismatch("inner", "other"))
    done = await resume(outer(newer), inject_hook(outcome.state, "h", 3))
    assert done.result == Ok(3)


async def test_a_child_of_an_older_version_is_migrated_and_a_crash_finds_it_so(calls):
    @workflow(name="inner")
    async def old(step):
        await step("a", calls, "a")
        return await step("w", pending_hook, "h")

    @workflow(name="inner", version=2, migrations={1: lambda state: rename_step(state, "a", "b")})
    async def new(step):
        await step("b", calls, "b")
        await step("c", calls, "c") if await step("w", pending_hook, "h") else None
        return 5

    @workflow(name="inner", version=3, migrations={2: lambda state: state})
    async def gap(step):
        return 5

    inner = [old]

    async def outer(step):
        return await step.child("c", inner[0])

    state = inject_hook((await run(outer)).state, "h", 1)
    inner[0] = gap
    assert isinstance((await resume(outer, state)).result.unwrap_err(), MigrationGap)
    inner[0] = new
    stored = []
    whole = await Runner(checkpoint=stored.append).resume(outer, again(state))
    assert whole.result == Ok(5)
    for moment in range(len(stored) + 1):
        recovered = append_entries(state, *stored[:moment])
        assert recovered.children["c"].version == (2 if moment else 1)
        recovered = append_entries(recovered, *stored[:moment])
        assert (await resume(outer, again(recovered))).result == Ok(5)
    assert "b" not in calls


async def test_a_migration_may_rename_a_child_and_drop_one():
    async def outer(step):
        return await step.child("c", ship, "o")

    state = (await run(outer)).state
    renamed = rename_step(state, "c", "d")
    assert renamed.pending[0].step_key == "d/carrier"
    assert renamed.children["d"] is state.children["c"]
    assert drop_step(renamed, "d").children == {}


async def test_a_dry_run_starts_no_child(calls):
    async def inner(step):
        await step("a", calls, "a")

    async def outer(step):
        await step("w", pending_hook, "h")
        await step.child("c", inner)

    state = inject_hook((await run(outer)).state, "h", 1)
    found = await check(outer, state)
    assert found.ok
    assert (found.next, found.waits) == (("c",), ())
    assert calls == []


async def test_arguments_that_fit_no_more_are_told():
    @workflow(name="inner")
    async def old(step, n: int):
        return await step("w", pending_hook, "h")

    @workflow(name="inner")
    async def new(step, n: str):
        return await step("w", pending_hook, "h")

    @workflow(name="inner")
    async def fewer(step):
        return await step("w", pending_hook, "h")

    inner = [old]

    async def outer(step):
        return await step.child("c", inner[0], 3)

    state = (await run(outer)).state
    for changed in (new, fewer):
        inner[0] = changed
        error = (await resume(outer, state)).result.unwrap_err()
        assert isinstance(error, UnreadableEntry)
        assert "c/the arguments" in str(error)


# --- crashes --------------------------------------------------------------------------------------


async def test_a_child_that_ended_before_the_crash_runs_nothing_again(calls):
    async def inner(step) -> int:
        await step("a", calls, "a")
        return 5

    async def outer(step):
        return [await step.child("c", inner), await step("b", calls, "b", 6)]

    stored = []
    runner = Runner(checkpoint=stored.append)
    start = runner.start(outer)
    whole = await runner.resume(outer, start)
    assert whole.result == Ok([5, 6])
    assert [e.kind_name for e in stored] == ["child", "child", "value", "value"]
    for moment, runs in enumerate([["a", "b"], ["a", "b"], ["b"], ["b"], []]):
        calls.clear()
        state = append_entries(start, *stored[:moment])
        assert append_entries(state, *stored[:moment]).children == state.children
        outcome = await resume(outer, again(state))
        assert outcome.result == Ok([5, 6])
        assert calls == runs
    child = append_entries(start, *stored).children["c"]
    assert (child.status, child.end.ok, child.end.recorded) == ("completed", True, False)


async def test_the_end_of_a_child_that_was_not_recorded_comes_from_a_replay(calls):
    state = inject_hook((await run(sale, "o")).state, "h-o", "here")
    stored = []
    done = await Runner(checkpoint=stored.append).resume(sale, state)
    recovered = append_entries(state, *stored)
    assert done.result == Ok(Parcel("o", 3))
    assert recovered.children["ship"].end.recorded is False
    # The value is lost, and the child that has ended gives it again.
    for ended in (recovered, done.state):
        lost = msgspec.structs.replace(ended, entries={}, end=None, status="interrupted")
        assert (await resume(sale, again(lost))).result == done.result
    failed = await resume(sale, inject_hook((await run(sale, "x")).state, "h-x", "sea"))
    lost = msgspec.structs.replace(failed.state, entries={}, end=None, status="interrupted")
    assert (await resume(sale, again(lost))).result == Err(Lost("sea"))


async def test_a_store_that_fails_at_the_start_of_a_child_interrupts_the_run():
    def fails(entry):
        raise ConnectionError("no store")

    runner = Runner(checkpoint=fails)
    outcome = await runner.resume(sale, runner.start(sale, "o"))
    assert outcome.result.unwrap_err().key == "ship"
    assert outcome.state.children["ship"].steps == {}
    assert (await resume(sale, again(outcome.state))).result == Err(PendingHook("h-o", "ship/carrier"))


async def test_the_entries_of_children_come_to_the_store_in_one_order_and_one_at_a_time():
    under_way, most = 0, 0

    async def store(entry):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    async def outer(step):
        await asyncio.gather(*(step.child(n, ship, n) for n in "abc"), step("p", pack, "p"))

    await Runner(checkpoint=store).run(outer)
    assert most == 1


# --- events ---------------------------------------------------------------------------------------


async def test_the_events_of_a_child_have_its_run_id():
    events = []

    async def inner(step) -> Parcel:
        return await step("a", pack, "a")

    async def outer(step):
        await step.child("c", inner)

    await Runner(run_id="r", on_event=events.append).run(outer)
    assert [(e.name, e.run_id, e.key) for e in events] == [
        ("run.started", "r", None),
        ("step.started", "r", "c"),
        ("run.started", "r/c", None),
        ("step.started", "r/c", "a"),
        ("step.completed", "r/c", "a"),
        ("run.completed", "r/c", None),
        ("step.completed", "r", "c"),
        ("run.completed", "r", None),
    ]
