"""What others who walked this way got wrong: each here as it should be."""

# ruff: noqa: BLE001  what a workflow that catches everything may catch is the point

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs
import pytest

from awaitpy import (
    Err,
    JournalError,
    Ok,
    PendingHook,
    ResumeState,
    StateError,
    UnexpectedError,
    WorkflowDrift,
    create_hook,
    get_pending_hooks,
    has_pending_hook,
    pending_hook,
    resume,
    run,
)


async def test_the_second_of_two_hooks_does_not_forget_the_steps_of_the_first_leg(calls, answered):
    async def flow(step):
        await step("one", calls, "one")
        await step("w1", pending_hook, "h1")
        await step("two", calls, "two")
        await step("w2", pending_hook, "h2")
        await step("three", calls, "three")

    first = await run(flow)
    second = await resume(flow, answered(first.state, h1=1))
    assert list(second.state.steps) == ["one", "w1", "two"]
    third = await resume(flow, answered(second.state, h2=2))
    assert list(third.state.steps) == ["one", "w1", "two", "w2", "three"]
    assert calls == ["one", "two", "three"]


async def test_except_exception_around_a_hook_does_not_turn_waiting_into_success(calls):
    async def flow(step):
        try:
            await step("approval", pending_hook, "h")
        except Exception:
            calls("rejected")
        return await step("ship", calls, "ship", "shipped")

    outcome = await run(flow)
    assert outcome.result == Err(PendingHook("h", "approval"))
    assert calls == []


async def test_a_hook_inside_a_retry_is_not_retried(calls):
    async def retried(step, times):
        for i in range(times):
            try:
                return await step(f"try-{i}", wait_once)
            except Exception:
                await step(f"backoff-{i}", calls, f"backoff-{i}")
        return None

    def wait_once():
        calls("asked")
        return pending_hook("h")

    async def flow(step):
        return await retried(step, 5)

    outcome = await run(flow)
    assert get_pending_hooks(outcome.state) == ["h"]
    assert calls == ["asked"]


async def test_a_slow_sibling_of_two_hooks_has_its_effect_once_and_keeps_it(calls, answered):
    release = asyncio.Event()

    async def flow(step):
        return await asyncio.gather(
            step("w1", pending_hook, "h1"),
            step("charge", calls.after, release, "charge", "charged"),
            step("w2", pending_hook, "h2"),
        )

    under_way = asyncio.ensure_future(run(flow))
    await asyncio.sleep(0.002)
    release.set()
    first = await under_way
    assert list(first.state.steps) == ["charge"]
    assert get_pending_hooks(first.state) == ["h1", "h2"]
    second = await resume(flow, answered(first.state, h2=2))
    assert (await resume(flow, answered(second.state, h1=1))).result == Ok([1, "charged", 2])
    assert calls == ["charge begins", "charge ends"]


async def test_a_hook_id_made_in_the_workflow_is_the_same_at_every_re_run(answered):
    told = []

    async def flow(step):
        hook = await step("make", create_hook)
        told.append(hook)
        one = await step(hook.step_key, pending_hook, hook.hook_id)
        return [one, await step("w2", pending_hook, "h2")]

    first = await run(flow)
    (hook_id,) = get_pending_hooks(first.state)
    second = await resume(flow, answered(first.state, **{hook_id: 1}))
    await resume(flow, answered(second.state, h2=2))
    assert len(told) == 3
    assert len(set(told)) == 1
    assert told[0].hook_id == hook_id


async def test_three_calls_under_one_key_do_not_become_one_value():
    async def flow(step):
        return [await step("count", lambda n=n: n) for n in (1, 2, 3)]

    outcome = await run(flow)
    assert isinstance(outcome.result.error, UnexpectedError)
    assert "'count'" in str(outcome.result.error)


async def test_a_value_changed_after_its_step_does_not_change_the_journal(answered):
    async def flow(step):
        cart = await step("cart", lambda: {"items": ["a"], "by": {"id": 1}})
        before = repr(cart)
        cart["items"].append("b")
        cart["by"]["id"] = 2
        await step("wait", pending_hook, "h")
        return before

    first = await run(flow)
    entry = first.state.steps["cart"].payload
    done = await resume(flow, answered(first.state, h=1))
    assert done.result == Ok("{'items': ['a'], 'by': {'id': 1}}")
    assert bytes(done.state.steps["cart"].payload) == bytes(entry)


async def test_a_function_that_keeps_what_it_gave_changes_no_journal_either(answered):
    kept: list[int] = []

    async def flow(step):
        got = [
            list(await step("one", lambda: kept)),
            await step("add", lambda: kept.append(1)),
            list(await step("two", lambda: kept)),
        ]
        await step("wait", pending_hook, "h")
        return got

    first = await run(flow)
    assert (await resume(flow, answered(first.state, h=1))).result == Ok([[], None, [1]])


@pytest.mark.parametrize("value", [None, False, 0, "", [], {}])
async def test_a_payload_that_is_nothing_much_is_an_answer(answered, value):
    async def flow(step):
        return [await step("wait", pending_hook, "h")]

    first = await run(flow)
    state = answered(first.state, h=value)
    assert not has_pending_hook(state, "h")
    done = await resume(flow, state)
    assert done.result == Ok([value])
    assert done.state.status == "completed"


async def test_swapped_or_renamed_steps_do_not_exchange_their_results(answered):
    names = ["price", "stock"]

    async def flow(step):
        got = {n: await step(n, lambda n=n: f"the {n}") for n in names}
        await step("wait", pending_hook, "h")
        return got

    state = answered((await run(flow)).state, h=1)
    names = ["stock", "price"]
    done = await resume(flow, state)
    assert done.result == Ok({"price": "the price", "stock": "the stock"})
    names = ["cost", "stock"]
    assert isinstance((await resume(flow, state)).result.error, WorkflowDrift)


async def test_unchanged_parallel_code_is_not_taken_for_another(answered):
    turns = {"a": 0, "b": 9, "c": 4}

    async def work(name):
        for _ in range(turns[name]):
            await asyncio.sleep(0)
        return name

    async def branch(step, name):
        return [await step(f"{name}{i}", work, name) for i in range(3)]

    async def flow(step):
        got = await asyncio.gather(*(branch(step, n) for n in "abc"))
        return [got, await step("wait", pending_hook, "h")]

    first = await run(flow)
    turns = {"a": 9, "b": 0, "c": 1}
    done = await resume(flow, answered(first.state, h=1))
    assert done.result == Ok([[["a"] * 3, ["b"] * 3, ["c"] * 3], 1])


async def test_an_exception_is_not_journaled_for_ever(again):
    broken = True

    def call():
        if broken:
            raise ConnectionError("down")
        return "up"

    async def flow(step):
        return await step("call", call)

    first = await run(flow)
    assert dict(first.state.steps) == {}
    broken = False
    assert (await resume(flow, again(first.state))).result == Ok("up")


@attrs.frozen
class Box:
    item: object


VALUES = [
    (float, math.nan),
    (float, -0.0),
    (datetime, datetime(2024, 5, 1, 12, tzinfo=UTC)),
    (datetime, datetime(2024, 5, 1, 12)),  # noqa: DTZ001  a naive time is a value too
    (Decimal, Decimal("1.10")),
    (tuple[int, ...], (1, 2)),
    (set[int], {1, 2}),
    (bytes, b"\x00\xff"),
]


@pytest.mark.parametrize(("tp", "value"), VALUES)
async def test_a_value_with_a_type_comes_back_as_it_was(answered, tp, value):
    async def flow(step):
        got = await step.options(returns=tp)("value", lambda: value)
        await step("wait", pending_hook, "h")
        return f"{type(got).__name__} {got!r}"

    first = await run(flow)
    done = await resume(flow, answered(first.state, h=1))
    assert done.result == Ok(f"{type(value).__name__} {value!r}")


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 5, 1, tzinfo=UTC),
        Decimal(1),
        (1, 2),
        {"deep": [{"er": (1,)}]},
        {1, 2},
        Box(1),
        datetime(2024, 5, 1, tzinfo=ZoneInfo("Europe/Rome")),
    ],
)
async def test_a_value_without_a_type_that_would_change_is_refused_at_its_step(value):
    async def flow(step):
        return await step("value", lambda: value)

    outcome = await run(flow)
    error = outcome.result.error.cause
    assert isinstance(error, JournalError)
    assert "'value'" in str(error)
    assert "returns=" in str(error)
    assert "$" in error.path
    assert dict(outcome.state.steps) == {}


async def test_a_nan_without_a_type_is_still_a_nan(answered):
    async def flow(step):
        got = await step("nan", lambda: [math.nan, math.inf])
        await step("wait", pending_hook, "h")
        return repr(got)

    first = await run(flow)
    state = answered(first.state, h=1)
    assert (await resume(flow, state)).result == Ok("[nan, inf]")
    assert (await resume(flow, ResumeState.from_json(state.to_json()))).result == Ok("[nan, inf]")


async def test_truncated_bytes_do_not_start_the_run_afresh(calls):
    async def flow(step):
        await step("charge", calls, "charge")
        await step("wait", pending_hook, "h")

    data = (await run(flow)).state.to_bytes()
    for length in range(len(data)):
        with pytest.raises(StateError):
            ResumeState.from_bytes(data[:length])
    assert calls == ["charge"]
