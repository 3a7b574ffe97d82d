"""What both type checkers accept, and what they infer. It is checked, never run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Never, TypedDict, TypeVar, assert_type
from uuid import UUID

import attrs

import awaitpy
from awaitpy import (
    Cancelled,
    Check,
    Err,
    Hook,
    HookError,
    HookTimeout,
    Ok,
    Outcome,
    PendingHook,
    Result,
    ResumeState,
    Retry,
    RunError,
    Runner,
    Step,
    StepInterrupted,
    StepTimeout,
    UndoFailed,
    Winner,
    Won,
    cancel,
    catching,
    change_argument,
    change_payload,
    create_hook,
    current_step,
    drop_step,
    first_of,
    is_err,
    is_ok,
    is_pending_hook,
    migrate,
    next_wakeup,
    pending_hook,
    rename_scope,
    rename_step,
    resume,
    run,
    workflow,
)
from awaitpy.durable import Durable
from awaitpy.events import Event, EventName
from awaitpy.instrumentation import fan_out, log_events
from awaitpy.instrumentation.otel import Tracing
from awaitpy.typing import Workflow


@attrs.frozen
class Order:
    id: str


@attrs.frozen
class Payment:
    status: str


@attrs.frozen
class Declined:
    reason: str


@attrs.frozen
class SoldOut:
    item: str


class Form(TypedDict):
    decision: str


Choice = Literal["yes", "no"]
T = TypeVar("T")
E = TypeVar("E")


if TYPE_CHECKING:

    async def create_order(total: int) -> Order: ...
    async def find(order_id: str) -> Order | None: ...
    async def decide(body: dict[str, Any]) -> Order | Payment: ...
    async def fulfil(order: Order, payment: Payment) -> Result[str, Declined]: ...
    async def reserve(item: str) -> Result[int, SoldOut]: ...
    async def fulfil_body(body: dict[str, Any]) -> Result[str, Declined]: ...
    async def fetch(url: str) -> dict[str, Any]: ...
    async def notify(order: Order, *, urgent: bool = False) -> None: ...
    def price(total: int, *, key: str = "", fn: str = "") -> int: ...
    def choose(body: dict[str, Any]) -> Order | Payment: ...
    def check(total: int) -> Result[int, Declined]: ...
    def check_body(body: dict[str, Any]) -> Result[int, Declined]: ...
    def stock(item: str) -> Result[int, SoldOut]: ...
    def either(total: int) -> Result[int, Declined | SoldOut]: ...
    def always(total: int) -> Ok[int]: ...
    def decode(data: Any) -> Payment: ...
    def decode_form(data: dict[str, Any]) -> Payment: ...
    def declined(error: ValueError) -> Declined: ...
    def large(payment: Payment) -> Result[None, str]: ...

    class Shop:
        async def checkout(self, step: Step[Declined], total: int) -> str: ...

    async def with_client(step: Step[Declined], total: int, client: Shop) -> str: ...
    @workflow(name="named", version=2)
    async def named(step: Step[Declined], total: int) -> str: ...


# --- step -----------------------------------------------------------------------------------------


async def checkout(step: Step[Declined | PendingHook], total: int) -> str:
    order = await step("create-order", create_order, total)
    assert_type(order, Order)
    hook = await step("payment-hook", create_hook)
    assert_type(hook, Hook)
    await step("notify", notify, order, urgent=True)
    payment = await step(hook.step_key, pending_hook, hook.hook_id, Payment)
    assert_type(payment, Payment)
    return await step("fulfil", fulfil, order, payment)


async def functions(step: Step[Declined], body: dict[str, Any]) -> None:
    assert_type(await step("find", find, "1"), Order | None)
    assert_type(await step("decide", decide, body), Order | Payment)
    assert_type(await step("fetch", fetch, "https://shop.example"), dict[str, Any])
    assert_type(await step("fulfil-body", fulfil_body, body), str)
    assert_type(await step("price", price, 3, key="k", fn="f"), int)
    assert_type(await step("choose", choose, body), Order | Payment)
    assert_type(await step("check", check, 3), int)
    assert_type(await step("check-body", check_body, body), int)
    assert_type(await step("always", always, 3), int)
    assert_type(await step("hook", create_hook, many=True), Hook)
    assert_type(await step("loads", json.loads, "{}"), Any)
    assert_type(await step("partial", partial(price, 3)), int)
    assert_type(await step("catching", catching(create_order, ValueError, into=declined), 3), Order)
    assert_type(
        await step("late", catching(fulfil, ValueError, into=declined), Order("1"), Payment("p")), str
    )
    both = await step.attempt("both", catching(reserve, ValueError, into=declined), "1")
    assert_type(both, Result[int, SoldOut | Declined])
    sync = await step.attempt("sync", catching(large, ValueError, into=declined), Payment("paid"))
    assert_type(sync, Result[None, str | Declined])


async def lambdas(step: Step[Declined], body: dict[str, Any]) -> None:
    order, payment = Order("1"), Payment("paid")
    assert_type(await step("value", lambda: 3), int)
    assert_type(await step("none", lambda: None), None)
    assert_type(await step("dict", lambda: {"a": 3}), dict[str, int])
    assert_type(await step("coroutine", lambda: create_order(3)), Order)
    assert_type(await step("optional", lambda: find("1")), Order | None)
    assert_type(await step("union", lambda: choose(body)), Order | Payment)
    assert_type(await step("async-result", lambda: fulfil(order, payment)), str)
    assert_type(await step("async-result-body", lambda: fulfil_body(body)), str)
    assert_type(await step("result", lambda: check(3)), int)
    assert_type(await step("ok", lambda: Ok(3)), int)
    assert_type(await step("any", lambda: json.loads("{}")), Any)


async def several_at_once(step: Step[Declined]) -> None:
    order, answer = await asyncio.gather(step("a", create_order, 3), step("b", lambda: "x"))
    assert_type(order, Order)
    assert_type(answer, str)
    totals = await asyncio.gather(*(step(f"check-{i}", check, i) for i in range(3)))
    assert_type(totals, list[int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(step("fulfil", fulfil, order, Payment("paid")))
        other = group.create_task(step.attempt("reserve", reserve, "book"))
    assert_type(task.result(), str)
    assert_type(other.result(), Result[int, SoldOut])
    async with asyncio.timeout(3):
        assert_type(await asyncio.wait_for(step("c", create_order, 3), 3), Order)


async def variants(step: Step[Declined]) -> None:
    assert_type(step.options(returns=tuple[int, str]), Step[Declined])
    assert_type(step.scope("shipping"), Step[Declined])
    assert_type(await step.options(since=2)("price", price, 3), int)
    assert_type(await step.attempt("always", always, 3), Result[int, Never])
    assert_type(await step.scope("a").options(since=2).attempt("b", stock, "c"), Result[int, SoldOut])


async def generic(step: Step[E], fn: Callable[[], Awaitable[T]], total: int) -> T:
    await step("price", price, total)
    return await step("fn", fn)


async def quiet(step: Step[Never], item: str) -> int:
    reserved = await step.attempt("reserve", reserve, item)
    return reserved.unwrap_or(0)


async def workflow_in_workflow(step: Step[Declined | SoldOut | PendingHook]) -> str:
    assert_type(await quiet(step.scope("quiet"), "book"), int)
    return await checkout(step.scope("checkout"), 3)


# --- step.attempt ---------------------------------------------------------------------------------


async def attempts(step: Step[PendingHook], body: dict[str, Any]) -> None:
    assert_type(await step.attempt("a", reserve, "book"), Result[int, SoldOut])
    assert_type(await step.attempt("b", stock, "book"), Result[int, SoldOut])
    assert_type(await step.attempt("c", either, 3), Result[int, Declined | SoldOut])
    assert_type(await step.attempt("d", check_body, body), Result[int, Declined])
    assert_type(await step.attempt("e", lambda: stock("book")), Result[int, SoldOut])
    assert_type(await step.attempt("f", lambda: reserve("book")), Result[int, SoldOut])
    assert_type(await step.attempt("g", create_order, 3), Result[Order, Never])
    assert_type(await step.attempt("h", choose, body), Result[Order | Payment, Never])


async def attempted_waits(step: Step[PendingHook]) -> None:
    assert_type(await step.attempt("a", pending_hook, "1", Payment), Result[Payment, HookTimeout])
    assert_type(await step.attempt("b", pending_hook, "1", timeout=3), Result[Any, HookTimeout])


# --- step.map and step.race ------------------------------------------------------------------------


async def maps(step: Step[Declined | PendingHook], ids: list[str], hooks: list[Hook]) -> None:
    assert_type(await step.map("a", find, ids), list[Order | None])
    assert_type(await step.map("b", check, range(3), limit=2), list[int])
    assert_type(await step.map("c", create_order, (1, 2), limit=None), list[Order])
    assert_type(await step.map("d", lambda total: total + 1, [1, 2]), list[int])
    assert_type(await step.map("e", lambda hook: pending_hook(hook.hook_id, Payment), hooks), list[Payment])
    assert_type(await step.options(since=2).map("f", fulfil_body, [{"a": 1}]), list[str])
    assert_type(await step.map("g", pending_hook, ids), list[Any])


async def collected(step: Step[PendingHook], ids: list[str], hooks: list[Hook]) -> None:
    assert_type(await step.map("a", reserve, ids, collect=True), list[Result[int, SoldOut]])
    assert_type(await step.map("b", stock, ids, limit=3, collect=True), list[Result[int, SoldOut]])
    assert_type(await step.map("c", find, ids, collect=True), list[Result[Order | None, Never]])
    assert_type(await step.map("d", str, [1], collect=True), list[Result[str, Never]])
    waits = await step.map("e", lambda hook: pending_hook(hook.hook_id, Payment), hooks, collect=True)
    assert_type(waits, list[Result[Payment, HookTimeout]])
    timed = step.options(timeout=3)
    waited = await timed.map("f", stock, ids, collect=True)
    assert_type(waited, Sequence[Result[int, SoldOut | StepTimeout]])
    assert_type(await timed.map("g", find, ids), list[Order | None])


async def races(step: Step[Declined | PendingHook], hook: Hook) -> str:
    # mypy takes what lambdas in a dict give for Any: the variable says it.
    won: Winner[str | None] = await step.race(
        "decide",
        {
            "reply": lambda s: s("wait", pending_hook, hook.hook_id, str),
            "late": lambda s: s.sleep("late", 3600),
        },
    )
    same = await step.race("same", {"a": checkout_one, "b": lambda s: checkout(s, 3)})
    assert_type(same.value, str)
    timed: Winner[int] = await step.options(timeout=3).race("t", {"a": lambda s: s("check", check, 3)})
    print(timed.value)
    return won.value or same.name


async def checkout_one(step: Step[Declined | PendingHook]) -> str:
    return await checkout(step, 1)


# --- hooks ----------------------------------------------------------------------------------------


async def payloads(step: Step[PendingHook]) -> None:
    assert_type(await step("any", pending_hook, "1"), Any)
    assert_type(await step("class", pending_hook, "1", Payment), Payment)
    assert_type(await step("keyword", pending_hook, "1", payload=Payment), Payment)
    assert_type(await step("list", pending_hook, "1", list[Payment]), list[Payment])
    assert_type(await step("dict", pending_hook, "1", dict[str, Any]), dict[str, Any])
    assert_type(await step("typed-dict", pending_hook, "1", Form), Form)
    assert_type(await step("decoder", pending_hook, "1", decode), Payment)
    assert_type(await step("narrow-decoder", pending_hook, "1", decode_form), Payment)
    assert_type(await step("union", lambda: pending_hook("1", Order | Payment)), Order | Payment)


async def payloads_that_mypy_takes_for_any(step: Step[PendingHook]) -> None:
    # mypy sees a value and no type in a union that passes through *args: the variable says it.
    union: Order | Payment = await step("union", pending_hook, "1", Order | Payment)
    literal: Choice = await step("literal", pending_hook, "1", Literal["yes", "no"])
    alias: Choice = await step("alias", pending_hook, "1", Choice)
    print(union, literal, alias)


async def terms_of_a_wait(step: Step[PendingHook], metadata: dict[str, Any]) -> None:
    a = await step("a", pending_hook, "1", Payment, timeout=3.5, methods=["POST"], many=True)
    b = await step("b", pending_hook, "1", Payment, metadata=metadata, accept=large)
    c = await step("c", pending_hook, "1", Payment, accept=lambda payment: Ok(payment.status))
    d = await step("d", first_of, pending_hook("1", Payment), pending_hook("2", Payment))
    assert_type(a, Payment)
    assert_type(b, Payment)
    assert_type(c, Payment)
    assert_type(d, Won[Payment])


# --- run ------------------------------------------------------------------------------------------


async def runs(state: ResumeState, total: int) -> None:
    assert_type(await run(checkout, 4200), Outcome[str, Declined | PendingHook])
    assert_type(await run(checkout, total=4200), Outcome[str, Declined | PendingHook])
    assert_type(await resume(checkout, state), Outcome[str, Declined | PendingHook])
    assert_type(await run(quiet, "book"), Outcome[int, Never])
    assert_type(await run(Shop().checkout, 4200), Outcome[str, Declined])
    assert_type(await run(named, 4200), Outcome[str, Declined])
    assert_type(await Runner(version=2).run(named, 4200), Outcome[str, Declined])
    assert_type(await Runner(version=2).resume(named, state), Outcome[str, Declined])
    outcome: Outcome[str, Declined] = await run(partial(with_client, client=Shop()), 4200)
    assert_type(outcome.state, ResumeState)
    chosen: Workflow[Declined | PendingHook, [int], str] = named
    await run(chosen, total)


def end(outcome: Outcome[str, Declined | PendingHook]) -> str:
    match outcome.result:
        case Ok(tracking):
            assert_type(tracking, str)
            return tracking
        case Err(PendingHook() as pending):
            assert_type(pending, PendingHook)
            return pending.hook_id
        case Err(Declined(reason)):
            return reason
        case Err(error):
            return str(error)


def narrowed(outcome: Outcome[str, Declined | PendingHook]) -> str:
    result = outcome.result
    if is_err(result) and is_pending_hook(result.error):
        return result.error.hook_id
    if is_ok(result):
        return result.value
    assert_type(result, Err[Declined | PendingHook | RunError])
    return str(result.error)


# --- policies -------------------------------------------------------------------------------------


async def policies(step: Step[Declined | PendingHook], total: int) -> None:
    retried = step.options(retry=Retry(attempts=3, on=Declined), since=2)
    assert_type(await retried("a", create_order, total), Order)
    assert_type(await retried.attempt("b", create_order, total), Result[Order, Never])
    noted = step.options(on_unknown="run")
    assert_type(await noted.attempt("c", create_order, total), Result[Order, Never])
    timed = step.options(timeout=timedelta(seconds=5), undo=print)
    assert_type(await timed("d", create_order, total), Order)
    assert_type(await timed.attempt("e", create_order, total), Result[Order, StepTimeout])
    assert_type(await timed.scope("f").attempt("g", stock, "book"), Result[int, SoldOut | StepTimeout])
    told = step.options(on_unknown="fail")
    assert_type(await told.attempt("h", create_order, total), Result[Order, StepInterrupted])
    both = timed.options(on_unknown="fail", retry=Retry())
    given = await both.attempt("i", create_order, total)
    assert_type(given, Result[Order, StepTimeout | StepInterrupted])
    assert_type(
        await timed.attempt("j", pending_hook, "h", Order), Result[Order, HookTimeout | StepTimeout]
    )


async def time(step: Step[Never]) -> None:
    assert_type(await step.sleep("a", timedelta(days=1)), None)
    assert_type(await step.options(timeout=5).sleep("b", 1.5), None)
    assert_type(await step.now("c"), datetime)
    assert_type(await step.uuid("d"), UUID)
    assert_type(await step.random("e"), float)
    await step.sleep_until("f", await step.now("g"))
    assert_type(current_step().attempt, int)
    assert_type(Retry().next(1, ValueError()), float | None)


def stopped(state: ResumeState) -> datetime | None:
    return next_wakeup(cancel(state, "why"))


# --- results --------------------------------------------------------------------------------------


def results(result: Result[int, str]) -> None:
    assert_type(result.map(str), Result[str, str])
    assert_type(result.map(lambda value: value + 1), Result[int, str])
    assert_type(result.map_err(lambda error: error.encode()), Result[int, bytes])
    assert_type(result.unwrap(), int)
    assert_type(result.unwrap_or(None), int | None)
    assert_type(result.unwrap_err(), str)
    chained: Result[int, str | Declined] = result.and_then(check)
    longer: Result[int, str | SoldOut] = result.and_then(lambda value: stock(str(value)))
    branched: Result[str, str | int] = result.map(str).and_then(lambda t: Ok(t) if t else Err(3))
    recovered: Result[int, SoldOut] = result.or_else(stock)
    ended: Result[int, Never] = result.or_else(lambda error: Ok(len(error)))
    wider: Result[int | None, str | Declined] = result
    print(chained, longer, branched, recovered, ended, wider)


# --- children -------------------------------------------------------------------------------------

Own = HookTimeout | StepTimeout | StepInterrupted | Cancelled | UndoFailed


async def children(step: Step[Declined | PendingHook], named_step: Step[Declined]) -> None:
    assert_type(await step.child("a", quiet, "book"), int)
    assert_type(await step.child("b", checkout, 3), str)
    assert_type(await step.child("c", checkout, total=3), str)
    assert_type(await step.child("d", named, 3), str)
    assert_type(await step.child("e", Shop().checkout, 3), str)
    assert_type(await step.child("f", partial(with_client, client=Shop()), 3), str)
    assert_type(await step.options(undo=print).child("g", checkout, 3), str)
    assert_type(await step.scope("h").child("i", checkout, 3), str)
    assert_type(await asyncio.gather(step.child("j", checkout, 3), step("k", price, 3)), tuple[str, int])
    assert_type(await named_step.child("l", named, 3), str)


async def attempted_children(step: Step[PendingHook], never: Step[Never]) -> None:
    assert_type(await step.attempt_child("a", quiet, "book"), Result[int, Own])
    assert_type(await step.attempt_child("b", attempted_waits), Result[None, Own])
    assert_type(await step.attempt_child("c", checkout, 3), Result[str, Declined | Own])
    assert_type(await step.attempt_child("d", named, 3), Result[str, Declined | Own])
    assert_type(await never.attempt_child("e", named, 3), Result[str, Declined | Own])


# --- observers ------------------------------------------------------------------------------------


def observers(seen: list[Event]) -> list[Runner]:
    levels: dict[EventName, int] = {"step.started": 0}
    assert_type(log_events(levels=levels), Callable[[Event], None])
    assert_type(Tracing().traceparent(1), str | None)
    return [
        Runner(on_event=seen.append),
        Runner(on_event=log_events()),
        Runner(on_event=Tracing()),
        Runner(on_event=fan_out(log_events(), Tracing(), seen.append)),
    ]


# --- versions -------------------------------------------------------------------------------------


def one_to_two(state: ResumeState) -> ResumeState:
    state = rename_step(state, "fulfil", "fulfill", missing_ok=True)
    state = rename_scope(state, "ship", "delivery", missing_ok=True)
    state = change_payload(state, "order", lambda order: order["id"], returns=Order | None)
    state = change_payload(state, "payment", payment_of, takes=Order, returns=Payment)
    state = change_argument(state, 0, lambda total: total * 100)
    return drop_step(state, "notify")


def payment_of(order: Order) -> Payment:
    return Payment(order.id)


@workflow(name="versioned", version=3, migrations={1: one_to_two, 2: lambda state: state})
async def versioned(step: Step[PendingHook], total: int) -> str:
    return await step("wait", pending_hook, "h", str)


async def versions(state: ResumeState) -> None:
    assert_type(await run(versioned, 3), Outcome[str, PendingHook])
    assert_type(migrate(versioned, state), ResumeState)
    found = await awaitpy.check(versioned, state, runner=Runner(version=3))
    assert_type(found, Check)
    assert_type(found.ok, bool)
    assert_type(found.problem, RunError | None)
    assert_type(found.next, tuple[str, ...])


# --- durable runs ---------------------------------------------------------------------------------

Sold = Outcome[str, Declined | PendingHook]


async def durable_runs(durable: Durable) -> None:
    assert_type(await durable.start(sells, 4200), Sold)
    assert_type(await durable.start(sells, 4200, run_id="order-42"), Sold)
    assert_type(await durable.start(sells, 4200, "a note", run_id="order-42", metadata={"a": 1}), Sold)
    assert_type(await durable.start(sells, total=4200, note="a note"), Sold)
    assert_type(await durable.options(run_id="order-42").start(sells, 4200, note="a note"), Sold)
    assert_type(await durable.enqueue(sells, 4200, within=object()), str)
    assert_type(await durable.options(metadata={}).enqueue(sells, total=4200), str)
    result = await durable.inject("hook", 1, payload=int, delivery_id="d", method="POST")
    assert_type(result, Result[Outcome[Any, Any], HookError])
    assert_type(await durable.deliver("hook", 1), Result[str, HookError])


if TYPE_CHECKING:

    async def sells(step: Step[Declined | PendingHook], total: int, note: str = "") -> str: ...
