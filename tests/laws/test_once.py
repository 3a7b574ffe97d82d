"""Law 1: a step with an entry never runs again, whatever suspended, crashed or resumed between."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import (
    Err,
    HookAlreadyResolved,
    Ok,
    PendingHook,
    ResumeState,
    Runner,
    UnexpectedError,
    append_entries,
    create_hook,
    first_of,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
)


async def test_a_step_before_a_hook_is_not_run_by_the_resume(calls, answered):
    async def flow(step):
        first = await step("first", calls, "first", 1)
        paid = await step("paid", pending_hook, "h")
        return [first, paid, await step("last", calls, "last", 3)]

    suspended = await run(flow)
    assert calls == ["first"]
    done = await resume(flow, answered(suspended.state, h=2))
    assert done.result == Ok([1, 2, 3])
    assert calls == ["first", "last"]


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}, 0.0, b""])
async def test_a_step_that_gave_nothing_much_has_run_all_the_same(calls, answered, value):
    async def flow(step):
        got = await step("a", calls, "a", value)
        await step("wait", pending_hook, "h")
        return got == value and type(got) is type(value)

    suspended = await run(flow)
    assert (await resume(flow, answered(suspended.state, h=None))).result == Ok(True)
    assert calls == ["a"]


async def test_an_exception_later_on_does_not_run_the_earlier_steps_again(calls, again):
    broken = True

    def fragile():
        calls("fragile")
        if broken:
            raise OSError("down")
        return "up"

    async def flow(step):
        await step("a", calls, "a")
        return await step("fragile", fragile)

    outcome = await run(flow)
    for _ in range(3):
        outcome = await resume(flow, again(outcome.state))
        assert isinstance(outcome.result.error, UnexpectedError)
    broken = False
    assert (await resume(flow, again(outcome.state))).result == Ok("up")
    assert calls == ["a", *["fragile"] * 5]


async def test_a_typed_error_that_was_attempted_is_not_attempted_again(calls, answered):
    def declined():
        calls("charge")
        return Err("declined")

    async def flow(step):
        charged = await step.attempt("charge", declined)
        await step("wait", pending_hook, "h")
        return charged.unwrap_err()

    suspended = await run(flow)
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok("declined")
    assert calls == ["charge"]


async def test_a_run_that_resumes_with_nothing_new_changes_nothing(calls, again):
    async def flow(step):
        await step("a", calls, "a")
        await step("wait", pending_hook, "h")

    suspended = await run(flow)
    state = again(suspended.state)
    for _ in range(3):
        outcome = await resume(flow, state)
        assert outcome.state is state
        assert outcome.result == suspended.result
    assert calls == ["a"]


async def test_steps_of_parallel_branches_scopes_and_loops_run_once(calls, answered):
    async def branch(step, name):
        for i in range(3):
            await step(f"{i}", calls, f"{name}{i}")
        return await step("wait", pending_hook, name)

    async def flow(step):
        return await asyncio.gather(*(branch(step.scope(n), n) for n in "ab"))

    suspended = await run(flow)
    half = await resume(flow, answered(suspended.state, b=2))
    assert isinstance(half.result.error, PendingHook)
    assert (await resume(flow, answered(half.state, a=1))).result == Ok([1, 2])
    assert sorted(calls) == ["a0", "a1", "a2", "b0", "b1", "b2"]


@pytest.mark.parametrize("kept", range(5))
async def test_what_a_crash_left_in_the_store_is_not_run_again(calls, again, kept):
    """The process dies after `kept` entries; a store that kept these entry by entry goes on."""
    stored: list[object] = []

    async def checkpoint(entry):
        if len(stored) == kept:
            raise ConnectionError("the store is gone")
        stored.append(entry)

    async def flow(step):
        return [await step(f"s{i}", calls, f"s{i}", i) for i in range(5)]

    begun = Runner().start(flow)
    outcome = await Runner(checkpoint=checkpoint).resume(flow, begun)
    assert isinstance(outcome.result.error.cause, ConnectionError)
    assert len(calls) == kept + 1  # the one that died unrecorded
    state = append_entries(again(begun), *stored)
    assert list(state.steps) == [f"s{i}" for i in range(kept)]
    calls.clear()
    assert (await resume(flow, state)).result == Ok([0, 1, 2, 3, 4])
    assert calls == [f"s{i}" for i in range(kept, 5)]


async def test_an_entry_that_was_stored_twice_is_one_entry(again):
    async def flow(step):
        return await step("a", lambda: 1)

    entries = []
    runner = Runner(checkpoint=entries.append)
    begun = runner.start(flow)
    done = await runner.resume(flow, begun)
    state = append_entries(again(begun), *entries, *entries)
    assert state.steps == done.state.steps
    assert append_entries(state, *entries) is state


async def test_a_state_that_was_started_and_stored_before_anything_ran_can_be_resumed(calls, again):
    async def flow(step, n: int):
        return await step("a", calls, "a", n)

    begun = Runner(run_id="r1").start(flow, 7)
    assert (begun.status, begun.run_id, dict(begun.steps)) == ("running", "r1", {})
    assert isinstance(begun, ResumeState)
    assert (await resume(flow, again(begun))).result == Ok(7)
    assert calls == ["a"]


async def test_answers_and_timeouts_that_a_store_kept_as_entries_are_taken_once(again):
    """The state of a suspended run was stored, then one leg ran and died before its own was."""
    now = 1_000_000.0

    async def flow(step):
        box = await step("box", create_hook, many=True)
        first = await step("first", pending_hook, box.hook_id)
        late = await step.attempt("late", pending_hook, "late", timeout=60)
        won = await step("race", first_of, pending_hook("r1"), pending_hook("r2"))
        second = await step("second", pending_hook, box.hook_id)
        return [first, isinstance(late, Err), won.value, second]

    def leg(stored):
        return Runner(clock=lambda: now, checkpoint=stored.append)

    state = (await leg([]).run(flow)).state
    (box,) = get_pending_hooks(state)
    for values in ({box: 1}, {}, {"r2": "won"}, {box: 2}):
        for hook_id, value in values.items():
            state = inject_hook(state, hook_id, value, delivery_id=f"d{value}", now=now)
        stored = []
        went = await leg(stored).resume(flow, state)
        rebuilt = append_entries(again(state), *stored)
        assert rebuilt.steps == went.state.steps
        for hook_id, value in values.items():
            assert inject_hook(rebuilt, hook_id, value, delivery_id=f"d{value}") == rebuilt
        goes_on = await leg([]).resume(flow, again(rebuilt))
        assert goes_on.result == went.result
        assert get_pending_hooks(goes_on.state) == get_pending_hooks(went.state)
        state = goes_on.state
        now += 61
    assert goes_on.result == Ok([1, True, "won", 2])
    with pytest.raises(HookAlreadyResolved):
        inject_hook(goes_on.state, "r1", "late")
