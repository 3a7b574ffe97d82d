"""Law 3: the state is a cumulative value."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import (
    Ok,
    PendingHook,
    UnknownStep,
    create_hook,
    forget,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    rewind,
    run,
)


async def test_fifty_hooks_in_a_row_run_each_step_once(calls, again):
    async def flow(step):
        total = 0
        for i in range(50):
            hook = await step(f"make-{i}", create_hook)
            await step(f"tell-{i}", calls, f"tell-{i}")
            total += await step(hook.step_key, pending_hook, hook.hook_id)
            await step(f"done-{i}", calls, f"done-{i}")
        return total

    outcome = await run(flow)
    sizes = []
    for i in range(50):
        (hook_id,) = get_pending_hooks(outcome.state)
        sizes.append(len(outcome.state.steps))
        outcome = await resume(flow, inject_hook(again(outcome.state), hook_id, i))
    assert outcome.result == Ok(sum(range(50)))
    assert sizes == [4 * i + 2 for i in range(50)]
    assert len(calls) == len(set(calls)) == 100


async def test_each_state_still_works_after_a_later_one_was_made(calls, answered):
    async def flow(step):
        a = await step("a", pending_hook, "a")
        await step("between", calls, "between")
        return [a, await step("b", pending_hook, "b")]

    first = (await run(flow)).state
    before = first.to_bytes()
    second = (await resume(flow, answered(first, a=1))).state
    assert (await resume(flow, answered(second, b=2))).result == Ok([1, 2])
    assert first.to_bytes() == before
    other = (await resume(flow, answered(first, a="other"))).state
    assert (await resume(flow, answered(other, b=3))).result == Ok(["other", 3])
    assert (await resume(flow, answered(second, b=4))).result == Ok([1, 4])


async def test_equal_states_are_not_unequal(again):
    async def flow(step):
        await step("a", int)

    state = (await run(flow)).state
    assert again(state) is not state
    assert again(state) == state
    assert (again(state) != state) is False
    assert state != forget(state, "a")
    assert state != state.to_bytes()


async def test_no_verb_changes_the_state_it_is_given(again):
    async def flow(step):
        await step("one", lambda: 1)
        await step("wait", pending_hook, "h")
        return await step("two", lambda: 2)

    state = (await run(flow)).state
    before = state.to_bytes()
    inject_hook(state, "h", {"deep": [1]})
    await resume(flow, state)
    await resume(flow, inject_hook(state, "h", 1))
    forget(state, "one")
    rewind(state, "one")
    assert state.to_bytes() == before
    assert again(state) == state


async def test_a_state_can_not_be_written_to():
    async def flow(step):
        await step("one", lambda: 1)

    state = (await run(flow)).state
    with pytest.raises(AttributeError):
        state.status = "running"
    with pytest.raises(TypeError):
        state.steps["two"] = state.steps["one"]
    with pytest.raises(AttributeError):
        state.steps["one"].key = "two"


async def test_a_value_that_is_changed_after_injection_is_not_changed_in_the_state(answered):
    body = {"items": [1]}

    async def flow(step):
        return await step("wait", pending_hook, "h")

    state = inject_hook((await run(flow)).state, "h", body)
    body["items"].append(2)
    assert (await resume(flow, state)).result == Ok({"items": [1]})


async def test_each_change_has_a_greater_revision_and_no_change_has_the_same(calls, answered):
    async def flow(step):
        await step("a", calls, "a")
        return await step("wait", pending_hook, "h")

    first = (await run(flow)).state
    injected = inject_hook(first, "h", 1)
    done = (await resume(flow, injected)).state
    assert first.revision < injected.revision < done.revision
    assert inject_hook(injected, "h", 1).revision == injected.revision
    assert (await resume(flow, done)).state.revision == done.revision


async def test_forgetting_a_step_runs_that_one_only_and_keeps_the_order_of_no_other(calls, again):
    async def flow(step):
        return [await step(k, calls, k, k) for k in "abc"] + [await step("w", pending_hook, "h")]

    state = (await run(flow)).state
    calls.clear()
    again_b = forget(again(state), "b")
    assert list(again_b.steps) == ["a", "c"]
    assert list(state.steps) == ["a", "b", "c"]
    outcome = await resume(flow, inject_hook(again(again_b), "h", "d"))
    assert outcome.result == Ok(["a", "b", "c", "d"])
    assert calls == ["b"]


async def test_rewinding_runs_the_step_and_all_that_came_after(calls, again):
    async def flow(step):
        got = [await step(k, calls, k, k) for k in "abc"]
        return [*got, await step("w", pending_hook, "h")]

    state = inject_hook((await run(flow)).state, "h", 1)
    done = (await resume(flow, state)).state
    calls.clear()
    back = rewind(again(done), "b")
    assert list(back.steps) == ["a"]
    outcome = await resume(flow, again(back))
    assert calls == ["b", "c"]
    assert isinstance(outcome.result.error, PendingHook)
    assert outcome.result.error.hook_id == "h"


async def test_an_answered_wait_that_is_forgotten_waits_anew(answered):
    async def flow(step):
        hook = await step("make", create_hook)
        return await step("wait", pending_hook, hook.hook_id)

    state = (await run(flow)).state
    (hook_id,) = get_pending_hooks(state)
    done = (await resume(flow, inject_hook(state, hook_id, "wrong"))).state
    waiting = await resume(flow, answered(forget(done, "wait")))
    assert get_pending_hooks(waiting.state) == [hook_id]
    assert (await resume(flow, inject_hook(waiting.state, hook_id, "right"))).result == Ok("right")


async def test_a_created_hook_that_is_rewound_gets_a_new_id(again):
    async def flow(step):
        hook = await step("make", create_hook)
        return await step(hook.step_key, pending_hook, hook.hook_id)

    state = (await run(flow)).state
    (old,) = get_pending_hooks(state)
    (new,) = get_pending_hooks((await resume(flow, again(rewind(state, "make")))).state)
    assert new != old


@pytest.mark.parametrize("verb", [forget, rewind])
async def test_a_step_that_the_state_never_had_can_not_be_taken_back(verb):
    async def flow(step):
        return await step("a", lambda: 1)

    state = (await run(flow)).state
    with pytest.raises(UnknownStep, match="'never'"):
        verb(state, "never")


async def test_a_forgotten_step_that_fails_again_is_still_no_drift(calls, again):
    broken = True

    def fragile():
        if broken:
            raise OSError("down")
        return calls("fragile", "ok")

    async def flow(step):
        await step("a", calls, "a")
        got = await step("fragile", fragile)
        await step("c", calls, "c")
        return [got, await step("w", pending_hook, "h")]

    broken = False
    state = (await run(flow)).state
    broken = True
    outcome = await resume(flow, again(forget(state, "fragile")))
    assert isinstance(outcome.result.error.cause, OSError)
    broken = False
    outcome = await resume(flow, again(outcome.state))
    assert isinstance(outcome.result.error, PendingHook)
    assert calls == ["a", "fragile", "c", "fragile"]


async def test_runs_from_one_state_at_the_same_time_do_not_meet(calls, answered):
    async def flow(step):
        got = await step("w", pending_hook, "h")
        return await step("after", calls, f"after {got}", got)

    state = (await run(flow)).state
    outcomes = await asyncio.gather(*(resume(flow, answered(state, h=i)) for i in range(5)))
    assert [o.result for o in outcomes] == [Ok(i) for i in range(5)]
    assert len({o.state.to_bytes() for o in outcomes}) == 5
