"""Law 8: drift is refused before harm, and unchanged code never drifts."""

from __future__ import annotations

import pytest

from awaitpy import (
    Ok,
    PendingHook,
    Runner,
    WorkflowDrift,
    forget,
    get_pending_hooks,
    pending_hook,
    resume,
    run,
    workflow,
)


class Script:
    """A workflow whose steps are a list that a test may change, like a deploy does."""

    def __init__(self, calls, *keys: str) -> None:
        self.calls, self.keys = calls, list(keys)

    async def flow(self, step):
        for key in self.keys:
            if key.startswith("wait"):
                await step(key, pending_hook, key)
            else:
                await step(key, self.calls, key)
        return "done"


@pytest.mark.parametrize(
    ("changed", "asked", "journaled"),
    [
        ("a B c wait", "B", "b"),  # renamed
        ("b a c wait", None, None),  # reordered only: every step is asked for and nothing new runs
        ("a new b c wait", "new", "b"),  # inserted
        ("a c wait", "wait", "b"),  # removed
        ("new a b c wait", "new", "a"),
        ("wait", "wait", "a"),
        ("a b c2 c wait", "c2", "c"),
        ("a b wait", "wait", "c"),
        ("a b", None, "c"),  # the end of the run tells
        ("", None, "a"),
    ],
)
async def test_a_changed_workflow_is_refused_before_it_runs_anything(
    calls, again, changed, asked, journaled
):
    script = Script(calls, *["a", "b", "c", "wait"])
    state = (await run(script.flow)).state
    calls.clear()
    script.keys = changed.split()
    outcome = await resume(script.flow, again(state))
    assert calls == []
    if journaled is None:
        assert outcome.state.status == "suspended"
        return
    error = outcome.result.error
    assert isinstance(error, WorkflowDrift)
    assert (error.asked, error.journaled) == (asked, journaled)
    assert outcome.state.status == "interrupted"
    assert outcome.state.steps == state.steps
    assert get_pending_hooks(outcome.state) == ["wait"]
    assert repr(journaled) in str(error)
    assert "forget(" in str(error)
    assert "retired=" in str(error)


async def test_the_nearest_key_is_named_for_a_rename(calls, again):
    script = Script(calls, "reserve-stock", "charge-card", "wait")
    state = (await run(script.flow)).state
    script.keys = ["reserve-stock", "charge-cards", "wait"]
    error = (await resume(script.flow, again(state))).result.error
    assert (error.asked, error.nearest) == ("charge-cards", "charge-card")
    assert "'charge-card'" in str(error)
    assert "renamed" in str(error)


async def test_the_text_of_a_drift_names_the_ways_out(calls, again):
    script = Script(calls, "a", "wait")
    state = (await run(script.flow)).state
    script.keys = ["b", "a", "wait"]
    assert str((await resume(script.flow, again(state))).result.error) == (
        "The workflow is about to run the new step 'b', but its state has the step 'a' that this run "
        "has not asked for, so the code has changed since. Restore the key, or say what you mean: "
        "step.options(since=...) if 'b' was added, Runner(retired={'a'}) if that step is gone for "
        "good, forget(state, 'a') to drop its result. Nothing was run or changed."
    )


async def test_steps_added_where_the_journal_ends_are_no_drift(calls, answered):
    script = Script(calls, "a", "wait")
    state = (await run(script.flow)).state
    script.keys = ["a", "wait", "b", "wait2"]
    outcome = await resume(script.flow, answered(state, wait=1))
    assert get_pending_hooks(outcome.state) == ["wait2"]
    assert calls == ["a", "b"]
    script.keys = ["a", "wait", "b", "wait2", "c"]
    assert (await resume(script.flow, answered(outcome.state, wait2=1))).result == Ok("done")
    assert calls == ["a", "b", "c"]


async def test_a_wait_that_is_removed_before_its_answer_is_no_drift(calls, again):
    script = Script(calls, "a", "wait")
    state = (await run(script.flow)).state
    script.keys = ["a", "b"]
    assert (await resume(script.flow, again(state))).result == Ok("done")


async def test_an_answered_wait_that_is_removed_is_a_drift(calls, answered):
    script = Script(calls, "a", "wait1", "b", "wait2")
    state = (await resume(script.flow, answered((await run(script.flow)).state, wait1=1))).state
    calls.clear()
    script.keys = ["a", "b", "wait2", "c"]
    outcome = await resume(script.flow, answered(state, wait2=1))
    assert outcome.result.error.journaled == "wait1"
    assert calls == []


async def test_a_removed_step_may_be_forgotten_or_retired(calls, answered):
    script = Script(calls, "a", "gone", "c", "wait")
    state = (await run(script.flow)).state
    script.keys = ["a", "c", "wait", "d"]
    calls.clear()
    answer = answered(state, wait=1)
    assert isinstance((await resume(script.flow, answer)).result.error, WorkflowDrift)
    runner = Runner(retired={"gone"})
    assert (await runner.resume(script.flow, answer)).result == Ok("done")
    assert (await resume(script.flow, forget(answer, "gone"))).result == Ok("done")
    assert calls == ["d", "d"]


async def test_retiring_a_key_that_the_code_still_has_changes_nothing(calls, answered):
    script = Script(calls, "a", "b", "wait")
    state = (await run(script.flow)).state
    outcome = await Runner(retired={"a", "never"}).resume(script.flow, answered(state, wait=1))
    assert outcome.result == Ok("done")
    assert calls == ["a", "b"]


async def test_an_inserted_step_may_say_since_when_it_exists(calls, answered):
    @workflow(name="f", version=1)
    async def old(step):
        await step("a", calls, "a")
        await step("c", calls, "c")
        await step("wait", pending_hook, "h")

    @workflow(name="f", version=2)
    async def new(step):
        await step("a", calls, "a")
        await step.options(since=2)("b", calls, "b")
        await step.options(since=1 if wrong else 2).scope("s")("b2", calls, "b2")
        await step("c", calls, "c")
        await step("wait", pending_hook, "h")

    wrong = False
    state = (await run(old)).state
    begun = await resume(new, answered(state))
    assert isinstance(begun.result.error, PendingHook)
    assert calls == ["a", "c", "b", "b2"]
    assert (await resume(new, answered(begun.state, h=1))).result == Ok(None)
    assert calls == ["a", "c", "b", "b2"]
    wrong = True
    refused = await resume(new, answered(state))
    assert isinstance(refused.result.error, PendingHook)  # nothing of the scope is in the journal


async def test_a_step_since_this_very_version_is_no_way_out_for_newer_states(calls, again):
    @workflow(name="f", version=2)
    async def flow(step):
        if added:
            await step.options(since=2)("b", calls, "b")
        await step("a", calls, "a")
        await step("wait", pending_hook, "h")

    added = False
    state = (await run(flow)).state
    added = True
    assert isinstance((await resume(flow, again(state))).result.error, WorkflowDrift)
    assert calls == ["a"]


async def test_a_forgotten_step_in_the_middle_is_no_drift(calls, answered):
    script = Script(calls, "a", "b", "c", "wait")
    state = (await run(script.flow)).state
    calls.clear()
    outcome = await resume(script.flow, answered(forget(state, "b"), wait=1))
    assert outcome.result == Ok("done")
    assert calls == ["b"]


async def test_a_forgotten_answered_wait_in_the_middle_waits_and_is_no_drift(calls, answered):
    script = Script(calls, "a", "wait1", "b", "wait2")
    state = (await resume(script.flow, answered((await run(script.flow)).state, wait1=1))).state
    outcome = await resume(script.flow, answered(forget(state, "wait1")))
    assert "wait1" in get_pending_hooks(outcome.state)
    done = await resume(script.flow, answered(outcome.state, wait1=1, wait2=2))
    assert done.result == Ok("done")
    assert calls == ["a", "b"]


async def test_two_swapped_steps_keep_their_own_results(answered):
    async def flow(step):
        keys = ["b", "a"] if swapped else ["a", "b"]
        got = {key: await step(key, lambda k=key: k.upper()) for key in keys}
        await step("wait", pending_hook, "h")
        return got

    swapped = False
    state = (await run(flow)).state
    swapped = True
    assert (await resume(flow, answered(state, h=1))).result == Ok({"a": "A", "b": "B"})
