"""Law 12: keys, and what may not be one."""

# ruff: noqa: BLE001  what a workflow that catches everything may catch is the point

from __future__ import annotations

import asyncio
import enum

import pytest

from awaitpy import (
    DuplicateStepKey,
    Ok,
    PendingHook,
    StepMisuse,
    UnexpectedError,
    create_hook,
    get_pending_hooks,
    pending_hook,
    resume,
    run,
)

ODD = [" ", "\n", "ключ", "鍵", "🗝️", "a/b", "/", "//", "$map", "hook:x", "0", "\x00", "k" * 5000, "é"]


@pytest.mark.parametrize("key", ODD)
async def test_any_non_empty_string_is_a_key(answered, key):
    async def flow(step):
        one = await step(key, lambda: 1)
        two = await step.scope(key).scope("s")(key, lambda: 2)
        await step(f"w{key}", pending_hook, "h")
        return [one, two]

    suspended = await run(flow)
    assert list(suspended.state.steps) == [key, f"{key}/s/{key}"]
    state = answered(suspended.state, h=1)
    assert type(state).from_json(state.to_json()) == state
    assert (await resume(flow, state)).result == Ok([1, 2])


class Stage(enum.StrEnum):
    PAY = "pay"


async def test_the_member_of_a_str_enum_is_a_key_by_its_value():
    async def flow(step):
        return await step(Stage.PAY, lambda: 1)

    state = (await run(flow)).state
    assert list(state.steps) == ["pay"]
    assert type(next(iter(state.steps))) is str


async def test_a_hook_id_that_can_not_be_written_is_refused():
    async def flow(step):
        await step("w", pending_hook, "\ud800")

    outcome = await run(flow)
    assert isinstance(outcome.result.error, UnexpectedError)
    assert type(outcome.state).from_bytes(outcome.state.to_bytes()) == outcome.state


async def test_keys_that_look_alike_are_different_keys():
    async def flow(step):
        return [await step(k, lambda k=k: k) for k in ["é", "e\u0301", "E\u0301", "É"]]

    assert len((await run(flow)).state.steps) == 4


@pytest.mark.parametrize("key", ["", None, 0, b"key", ("a",), 1.5, "\ud800"])
async def test_anything_else_is_refused(calls, key):
    async def flow(step):
        try:
            await step(key, calls, "ran")
        except Exception:
            calls("caught")

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, StepMisuse)
    assert outcome.state.status == "interrupted"
    assert calls == []


@pytest.mark.parametrize("where", ["row", "loop", "gather", "attempt", "scope", "slash", "caught"])
async def test_a_key_twice_in_one_run_is_refused(calls, where):
    async def flow(step):
        key = "k"
        if where == "gather":
            await asyncio.gather(step("k", calls, "k"), step("k", calls, "k"))
        elif where == "scope":
            await step.scope("s")("k", calls, "k")
            await step.scope("s")(key := "k", calls, "k")
        elif where == "slash":
            await step.scope("s")("k", calls, "k")
            await step("s/k", calls, "k")
        elif where == "attempt":
            await step("k", calls, "k")
            await step.attempt("k", calls, "k")
        elif where == "loop":
            for _ in range(3):
                await step("k", calls, "k")
        else:
            await step("k", calls, "k")
            try:
                await step(key, calls, "k")
            except Exception:
                calls("caught")

    outcome = await run(flow)
    error = outcome.result.error
    assert isinstance(error, UnexpectedError)
    assert isinstance(error.cause, DuplicateStepKey)
    assert error.cause.key == ("s/k" if where in {"scope", "slash"} else "k")
    assert calls == ["k"]
    assert outcome.state.status == "interrupted"


async def test_a_key_twice_is_refused_on_replay_as_well(calls, again):
    async def flow(step):
        await step("k", calls, "k")
        if twice:
            await step("k", calls, "k")
        await step("w", pending_hook, "h")

    twice = False
    state = (await run(flow)).state
    twice = True
    assert isinstance((await resume(flow, again(state))).result.error.cause, DuplicateStepKey)
    assert calls == ["k"]


async def test_a_wait_twice_under_one_key_is_refused(answered):
    async def flow(step):
        await asyncio.gather(step("w", pending_hook, "a"), step("w", pending_hook, "b"))

    assert isinstance((await run(flow)).result.error.cause, DuplicateStepKey)


async def test_the_same_key_in_two_scopes_is_two_keys(calls):
    async def flow(step):
        return await asyncio.gather(*(step.scope(s)("k", calls, s, s) for s in "ab"))

    outcome = await run(flow)
    assert outcome.result == Ok(["a", "b"])
    assert list(outcome.state.steps) == ["a/k", "b/k"]


async def test_a_wait_is_found_by_its_hook_id_whatever_the_key_of_its_step(answered):
    async def flow(step):
        return await step("any name at all", pending_hook, "the-hook")

    suspended = await run(flow)
    assert suspended.result.error.hook_id == "the-hook"
    assert suspended.result.error.step_key == "any name at all"
    state = answered(suspended.state, **{"the-hook": 1})
    assert (await resume(flow, state)).result == Ok(1)


async def test_hook_ids_and_step_keys_do_not_collide(answered):
    async def flow(step):
        got = await step("same", lambda: "a step")
        answer = await step("wait", pending_hook, "same")
        other = await step("hook:same", lambda: "a step named like a hook")
        last = await step("last", pending_hook, "wait")
        return [got, answer, other, last]

    outcome = await run(flow)
    outcome = await resume(flow, answered(outcome.state, same="an answer"))
    assert get_pending_hooks(outcome.state) == ["wait"]
    outcome = await resume(flow, answered(outcome.state, wait="w"))
    assert outcome.result == Ok(["a step", "an answer", "a step named like a hook", "w"])


async def test_a_wait_may_change_the_key_of_its_step_while_it_waits(answered):
    """The wait is known by its hook id: a rename of its key in a deploy loses no answer."""

    async def flow(step):
        hook = await step("make", create_hook)
        return await step(key, pending_hook, hook.hook_id)

    key = "old"
    suspended = await run(flow)
    (hook_id,) = get_pending_hooks(suspended.state)
    key = "new"
    moved = await resume(flow, answered(suspended.state))
    assert isinstance(moved.result.error, PendingHook)
    assert [r.step_key for r in moved.state.pending] == ["new"]
    assert (await resume(flow, answered(moved.state, **{hook_id: 5}))).result == Ok(5)
    assert (await resume(flow, answered(suspended.state, **{hook_id: 6}))).result == Ok(6)


async def test_made_hooks_have_ids_that_no_one_guesses():
    hooks = {create_hook().hook_id for _ in range(1000)}
    assert len(hooks) == 1000
    assert all(len(h) >= 22 for h in hooks)
    assert create_hook().step_key.startswith("hook:")
