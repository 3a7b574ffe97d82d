"""What both type checkers refuse. It is checked, never run.

Each line that has to fail carries a comment for each checker, and both checkers report a comment
that nothing needs: so an error that goes missing, under either of them, is an error here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Never

import attrs

from awaitpy import (
    Err,
    Ok,
    Outcome,
    PendingHook,
    Result,
    ResumeState,
    Step,
    catching,
    check,
    create_hook,
    pending_hook,
    rename_step,
    run,
    workflow,
)
from awaitpy.durable import Durable


@attrs.frozen
class Order:
    id: str


@attrs.frozen
class Declined:
    reason: str


@attrs.frozen
class SoldOut:
    item: str


if TYPE_CHECKING:

    async def create_order(total: int) -> Order: ...
    async def reserve(item: str) -> Result[int, SoldOut]: ...
    async def reserve_body(body: dict[str, Any]) -> Result[int, SoldOut]: ...
    async def wait_or_decline(hook_id: str) -> Result[int, PendingHook | Declined]: ...
    def stock(item: str) -> Result[int, SoldOut]: ...
    def either(total: int) -> Result[int, Declined | SoldOut]: ...
    def price(total: int, *, tax: int = 0) -> int: ...
    def sold_out() -> Err[SoldOut]: ...
    async def needs_declined(step: Step[Declined], total: int) -> str: ...
    async def needs_hook(step: Step[PendingHook], total: int) -> str: ...
    async def no_workflow(total: int) -> str: ...


async def errors_that_step_does_not_declare(step: Step[Declined], body: dict[str, Any]) -> None:
    await step("a", reserve, "book")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("b", reserve_body, body)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("c", stock, "book")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("d", either, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("e", sold_out)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("caught", catching(reserve, ValueError, into=Declined), "book")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("f", lambda: reserve("book"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("g", lambda: stock("book"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("h", lambda: Err(SoldOut("book")))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.options(since=2)("i", stock, "book")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.scope("j")("k", stock, "book")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await asyncio.gather(step("l", stock, "book"), step("m", lambda: 3))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownArgumentType]


async def maps_and_races(step: Step[Declined], ids: list[str]) -> None:
    await step.map("a", stock, ids)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.map("b", reserve, ids)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.map("c", price, ids)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.map("d", pending_hook, ids)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.map("e", pending_hook, ids, collect=True)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.map("f", len, ids, limit="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.map("g", len, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.race("h", {"a": needs_sold_out})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    await step.race("i", [needs_declined_only])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def needs_sold_out(step: Step[SoldOut]) -> str:
    return str(step)


async def needs_declined_only(step: Step[Declined]) -> str:
    return str(step)


async def waits_that_step_does_not_declare(step: Step[Declined]) -> None:
    hook = await step("hook", create_hook)
    await step(hook.step_key, pending_hook, hook.hook_id, Order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("a", pending_hook, hook.hook_id)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.attempt("b", pending_hook, hook.hook_id, Order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.attempt("c", wait_or_decline, hook.hook_id)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def arguments_that_do_not_fit(step: Step[PendingHook]) -> None:
    await step("a", create_order, "3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("b", create_order)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await step("c", create_order, 3, 4)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await step("d", create_order, count=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await step("e", price, 3, tax="7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step(3, price, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("f")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await step("g", create_order(3))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.attempt("h", stock, 3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step("i", pending_hook, 3, Order)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await step("j", pending_hook, "1", Order, timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue]
    await step("k", pending_hook, "1", Order, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    step.options(until=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def policies_that_are_none(step: Step[Declined]) -> None:
    step.options(retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    step.options(timeout="3")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    step.options(on_unknown="die")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.sleep("a", "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await step.options(timeout=3)("b", stock, "book")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    timed: Result[int, Never] = await step.options(timeout=3).attempt("c", price, 3)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(timed)


async def values_that_are_something_else(step: Step[Declined | SoldOut]) -> str:
    text: str = await step("a", price, 3)  # type: ignore[call-overload]  # pyright: ignore[reportAssignmentType]
    number: int = await step.attempt("b", stock, "book")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, number)
    return await step("c", create_order, 3)  # type: ignore[call-overload, no-any-return]  # pyright: ignore[reportReturnType]


async def narrower_steps(step: Step[SoldOut]) -> None:
    await needs_declined(step, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def runs() -> None:
    await run(needs_declined)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await run(needs_declined, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await run(no_workflow, 3)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    outcome: Outcome[int, Declined] = await run(needs_declined, 3)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    undeclared: Outcome[str, SoldOut] = await run(needs_declined, 3)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    print(outcome, undeclared)


def results(result: Result[int, str]) -> None:
    print(result.value)  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    longer: Result[int, str] = result.and_then(either)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    number: Ok[int] = result  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(longer, number)
    Ok(3).value = 4  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def children(step: Step[Declined], waits: Step[PendingHook]) -> None:
    await step.child("a", needs_declined, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await waits.child("b", needs_declined, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await step.child("c", needs_hook, 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await step.child("d", no_workflow, 3)  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await step.attempt_child("e", needs_hook, 3)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    await step.attempt_child("f", needs_declined, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await step.options(timeout=3).child("g", needs_declined, 3)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def forgets_to_return(state: ResumeState) -> None:
    rename_step(state, "a", "b")


async def versions(state: ResumeState) -> None:
    workflow(version=2, migrations={1: forgets_to_return})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    workflow(version=2, migrations={"1": rename_step})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    await check(no_workflow, state)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rename_step(state, "a", 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def durable_runs(durable: Durable) -> None:
    await durable.start(needs_declined, "4200")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await durable.start(needs_declined, "4200", run_id="order-42")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await durable.start(needs_declined, run_id="order-42")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await durable.start(needs_declined, 4200, order_id="order-42")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await durable.start(no_workflow, 4200, run_id="order-42")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await durable.enqueue(needs_declined, "4200", run_id="order-42")  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue]
    await durable.enqueue(needs_declined, 4200, run_id=42)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await durable.options(run_id="order-42").start(needs_declined, "4200")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await durable.inject("hook", 1, delivered="d")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
