"""Law 6: errors are values, exceptions end the run and are never journaled."""

# ruff: noqa: BLE001  what a workflow that catches everything may catch is the point

from __future__ import annotations

import asyncio
import functools

import attrs
import pytest

from awaitpy import (
    Err,
    JournalError,
    Ok,
    PendingHook,
    Result,
    Runner,
    UnexpectedError,
    catching,
    pending_hook,
    resume,
    run,
)
from awaitpy.typing import Step


@attrs.frozen
class Declined:
    reason: str
    code: int = 1


class CardError(Exception):
    pass


async def test_an_err_ends_the_run_with_that_error_and_replays(calls, again):
    def charge() -> Result[int, Declined]:
        calls("charge")
        return Err(Declined("no funds"))

    async def flow(step: Step[Declined]) -> int:
        try:
            return await step("charge", charge)
        except Exception:
            return -1

    failed = await run(flow)
    assert failed.result == Err(Declined("no funds"))
    assert failed.state.status == "failed"
    assert (await resume(flow, again(failed.state))).result == failed.result
    assert calls == ["charge"]


async def test_an_err_is_a_value_under_attempt_and_the_same_value_on_replay(calls, answered):
    def charge() -> Result[int, Declined]:
        calls("charge")
        return Err(Declined("no funds", 3))

    async def flow(step):
        got = await step.attempt("charge", charge)
        await step("wait", pending_hook, "h")
        return got == Err(Declined("no funds", 3))

    suspended = await run(flow)
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok(True)
    assert calls == ["charge"]


async def test_attempt_wraps_a_plain_value_and_an_ok_alike(answered):
    async def flow(step):
        got = [await step.attempt("a", lambda: 1), await step.attempt("b", lambda: Ok(1))]
        await step("wait", pending_hook, "h")
        return got == [Ok(1), Ok(1)]

    suspended = await run(flow)
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok(True)


@pytest.mark.parametrize("how", ["step", "attempt"])
async def test_an_exception_ends_the_run_and_is_not_journaled(calls, again, how):
    broken = True

    async def fragile():
        calls("fragile")
        if broken:
            raise CardError("down")
        return "up"

    async def flow(step):
        call = step if how == "step" else step.attempt
        try:
            got = await call("fragile", fragile)
        except Exception:
            return await step("fallback", calls, "fallback")
        else:
            return got.unwrap() if how == "attempt" else got

    outcome = await run(flow)
    error = outcome.result.error
    assert isinstance(error, UnexpectedError)
    assert error.key == "fragile"
    assert isinstance(error.cause, CardError)
    assert outcome.state.status == "interrupted"
    assert dict(outcome.state.steps) == {}
    broken = False
    assert (await resume(flow, again(outcome.state))).result == Ok("up")
    assert calls == ["fragile", "fragile"]


async def test_gather_that_returns_exceptions_does_not_return_that_of_a_step(calls):
    def fragile():
        raise CardError("down")

    async def flow(step):
        got = await asyncio.gather(step("f", fragile), return_exceptions=True)
        await step("after", calls, "after")
        return len(got)

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, CardError)
    assert calls == []


async def test_an_exception_group_handler_in_the_workflow_does_not_see_it_either(calls):
    async def fragile():
        await asyncio.sleep(0)
        raise CardError("down")

    async def flow(step):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(step("f", fragile))
        except* Exception:
            calls("caught")

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, CardError)
    assert calls == []


async def test_an_exception_of_the_body_is_told_as_such(calls, again):
    broken = True

    async def flow(step):
        await step("a", calls, "a")
        if broken:
            raise KeyError("body")
        return "fine"

    outcome = await run(flow)
    assert outcome.result.error.key is None
    assert isinstance(outcome.result.error.cause, KeyError)
    broken = False
    assert (await resume(flow, again(outcome.state))).result == Ok("fine")
    assert calls == ["a"]


async def test_a_cancellation_that_a_function_raises_by_itself_is_an_exception_like_others(calls):
    async def flow(step):
        async def weird():
            raise asyncio.CancelledError

        try:
            await step("weird", weird)
        except asyncio.CancelledError:
            await step("fallback", calls, "fallback")
        return "went on"

    outcome = await run(flow)
    assert isinstance(outcome.result.error, UnexpectedError)
    assert isinstance(outcome.result.error.cause, asyncio.CancelledError)
    assert outcome.state.status == "interrupted"
    assert dict(outcome.state.steps) == {}
    assert calls == []


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, RuntimeError, TimeoutError])
async def test_exceptions_with_a_meaning_of_their_own_are_exceptions_too(error):
    def fragile():
        raise error

    async def flow(step):
        return [await step(f"f{i}", fragile) for i in range(1)]

    outcome = await run(flow)
    assert outcome.result.error.key == "f0"
    assert outcome.state.status == "interrupted"


async def test_an_argument_that_does_not_fit_the_function_is_an_exception_of_that_step(calls):
    async def flow(step):
        return await step("a", calls, "a", 1, 2, 3)

    outcome = await run(flow)
    assert outcome.result.error.key == "a"
    assert isinstance(outcome.result.error.cause, TypeError)


async def test_a_value_that_can_not_be_journaled_ends_the_run_at_its_step(calls):
    async def flow(step):
        try:
            await step("a", lambda: (1, object()))
        except Exception:
            calls("caught")

    outcome = await run(flow)
    error = outcome.result.error
    assert (error.key, type(error.cause)) == ("a", JournalError)
    assert "'a'" in str(error.cause)
    assert outcome.state.status == "interrupted"
    assert calls == []


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_named_exceptions_become_a_typed_error_and_others_pass(answered, how):
    def into(error: CardError) -> Declined:
        return Declined(str(error))

    def charge(amount: int) -> int:
        if amount < 0:
            raise ValueError("negative")
        if amount > 10:
            raise CardError("too much")
        return amount

    async def charge_later(amount: int) -> int:
        await asyncio.sleep(0)
        return charge(amount)

    fn = catching(charge if how == "sync" else charge_later, CardError, into=into)

    async def flow(step, amount: int):
        got = await step.attempt("charge", fn, amount)
        await step("wait", pending_hook, "h")
        return repr(got)

    for amount, wanted in [(5, Ok(5)), (11, Err(Declined("too much")))]:
        suspended = await run(flow, amount)
        done = await resume(flow, answered(suspended.state, h=1))
        assert done.result == Ok(repr(wanted))
    assert isinstance((await run(flow, -1)).result.error.cause, ValueError)


async def test_a_checkpoint_that_raises_ends_the_run_and_names_the_step(calls, again):
    def broken(_):
        raise ConnectionError("the store is gone")

    async def flow(step):
        try:
            await step("a", calls, "a")
        except Exception:
            calls("caught")
        return await step("b", calls, "b", 2)

    outcome = await Runner(checkpoint=broken).run(flow)
    assert outcome.result.error.key == "a"
    assert isinstance(outcome.result.error.cause, ConnectionError)
    assert outcome.state.status == "interrupted"
    assert (await resume(flow, again(outcome.state))).result == Ok(2)
    assert calls == ["a", "b"]


@pytest.mark.parametrize("kind", ["gather", "group"])
async def test_a_checkpoint_that_raises_in_a_branch_ends_the_run_too(calls, again, kind):
    async def broken(entry):
        await asyncio.sleep(0)
        if entry.key == "b":
            raise ConnectionError("the store is gone")

    async def flow(step):
        if kind == "gather":
            return await asyncio.gather(*(step(n, calls, n, n) for n in "abc"))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step(n, calls, n, n)) for n in "abc"]
        return [t.result() for t in tasks]

    outcome = await Runner(checkpoint=broken).run(flow)
    assert outcome.result.error.key == "b"
    assert (await resume(flow, again(outcome.state))).result == Ok(["a", "b", "c"])
    assert sorted(calls) == ["a", "b", "c"]


async def test_a_partial_a_bound_method_and_a_class_are_functions_of_a_step(answered):
    class Shop:
        def sell(self, n: int) -> list[int]:
            return [n]

    async def flow(step):
        got = [
            await step("partial", functools.partial(Shop().sell, 1)),
            await step("method", Shop().sell, 2),
            await step("class", Declined, "r", code=3),
        ]
        await step("wait", pending_hook, "h")
        return got == [[1], [2], Declined("r", 3)]

    suspended = await run(flow)
    assert isinstance(suspended.result.error, PendingHook)
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok(True)
