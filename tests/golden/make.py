"""Writes the golden states: `python tests/golden/make.py` adds the missing ones, `--replace` all.

Ids and clock are fixed, so that the same code writes the same bytes. A released golden state is never
replaced: a later format gets files of its own, beside those that it still has to read.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import attrs

from awaitpy import (
    Err,
    Event,
    Ok,
    PendingHook,
    Result,
    ResumeState,
    Retry,
    Runner,
    Step,
    Won,
    cancel,
    create_hook,
    current_step,
    first_of,
    forget,
    inject_hook,
    pending_hook,
    pending_timer,
    rename_step,
    workflow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

HERE = Path(__file__).parent
START = datetime(2030, 1, 1, 12, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


@attrs.frozen
class Line:
    sku: str
    count: int


@attrs.frozen
class Order:
    id: str
    lines: list[Line]
    created: datetime
    note: str | None = None


@attrs.frozen
class Payment:
    order_id: str
    status: str


@attrs.frozen
class Declined:
    reason: str


@attrs.frozen
class Parcel:
    weight: float


@attrs.frozen
class Letter:
    stamps: int


ORDER = Order("o-1", [Line("apple", 3), Line("pear", 1)], START)


async def create_order(total: int) -> Order:
    assert total == 4200
    return ORDER


def plain_things() -> dict[str, Any]:
    return {
        "$bytes": "no bytes",
        "raw": b"\x00\xff",
        "nan": [float("inf")],
        "keys": {1: "one"},
        "none": None,
    }


async def fulfil(order: Order, payment: Payment) -> Result[str, Declined]:
    return Ok(f"{order.id} sent") if payment.status == "paid" else Err(Declined(payment.status))


@workflow(name="golden.checkout", version=2)
async def checkout(step: Step[Declined | PendingHook], total: int, *, note: str = "") -> str:
    order = await step("create-order", create_order, total)
    opened = await step("payment-hook", create_hook, new_id=lambda: "pay")
    await step("things", lambda: plain_things())  # noqa: PLW0108  a lambda on purpose
    payment = await step(
        opened.step_key, pending_hook, opened.hook_id, Payment,
        metadata={"order": order.id}, timeout=timedelta(hours=24), methods=["POST"],
    )  # fmt: skip
    return await step("fulfil", fulfil, order, payment)


@workflow(name="golden.documents")
async def documents(step: Step[PendingHook]) -> list[str]:
    opened = await step("open", create_hook, many=True, new_id=lambda: "docs")
    return [await step(f"document-{i}", pending_hook, opened.hook_id, str) for i in range(3)]


@workflow(name="golden.contact")
async def contact(step: Step[PendingHook]) -> Won[str]:
    waits = [pending_hook(name, str, timeout=3600) for name in ("email", "phone", "web")]
    return await step("contact", first_of, *waits)


@workflow(name="golden.reminder")
async def reminder(step: Step[PendingHook]) -> str:
    answer = await step.attempt("answer", pending_hook, "answer", str, timeout=timedelta(hours=1))
    if isinstance(answer, Ok):
        return answer.value
    return await step("second-answer", pending_hook, "second", str)


def deliver_at() -> datetime:
    return datetime(2030, 7, 1, 9, 30, tzinfo=PARIS)


def pack() -> Parcel | Letter:
    return Letter(2)


def pack_all() -> list[Parcel | Letter]:
    return [Parcel(1.5), Letter(1)]


@workflow(name="golden.delivery")
async def delivery(step: Step[PendingHook], when: datetime) -> datetime:
    await step("deliver-at", deliver_at)
    await step("pack", pack)
    await step("pack-all", pack_all)
    await step("leave", pending_hook, "leave")
    return when


BROKEN = [True]


def ship() -> str:
    if BROKEN[0]:
        raise ConnectionError("the carrier does not answer")
    return "shipped"


@workflow(name="golden.shipping")
async def shipping(step: Step[None]) -> str:
    await step("label", lambda: "L-1")
    return await step("ship", ship)


@workflow(name="golden.hurry")
async def hurry(step: Step[PendingHook]) -> str:
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    slow = asyncio.ensure_future(step("slow", never))
    await asyncio.sleep(0)
    slow.cancel()
    await asyncio.wait([slow])
    await step("apologise", lambda: "sorry")
    return await step("answer", pending_hook, "answer", str)


def charge() -> str:
    if current_step().attempt < 3:
        raise ConnectionError("the bank does not answer")
    return "charged"


async def never() -> None:
    await asyncio.Event().wait()


def refuse() -> Result[str, Declined]:
    return Err(Declined("no funds"))


@workflow(name="golden.retrying")
async def retrying(step: Step[None]) -> str:
    return await step.options(retry=Retry(delay=timedelta(hours=1)))("charge", charge)


@workflow(name="golden.sleeping")
async def sleeping(step: Step[PendingHook]) -> str:
    await step.sleep("nap", 0)
    await step.options(timeout=0.001).attempt("slow", never)
    await asyncio.gather(step.sleep("night", timedelta(hours=8)), step("wait", pending_hook, "h", str))
    return "morning"


@workflow(name="golden.booking")
async def booking(step: Step[Declined], waits: bool) -> None:
    undo = pending_timer if waits else (lambda _: None)
    await step.options(undo=lambda _: None)("hotel", lambda: "H-1")
    await step.options(undo=lambda _: undo(timedelta(hours=2)))("flight", lambda: "F-1")
    await step("pay", refuse)


def runner(hours: float = 0) -> Runner:
    return Runner(clock=lambda: START + timedelta(hours=hours), run_id="golden-run")


def inject(
    state: ResumeState, name: str, value: Any, delivery_id: str | None = None, hours: float = 0.5
) -> ResumeState:
    return inject_hook(state, name, value, delivery_id=delivery_id, now=START + timedelta(hours=hours))


PAID = {"order_id": "o-1", "status": "paid"}


async def started() -> ResumeState:
    return runner().start(checkout, 4200, note="gift")


async def suspended() -> ResumeState:
    return (await runner().run(checkout, 4200, note="gift")).state


async def delivered() -> ResumeState:
    return inject(await suspended(), "pay", PAID, "evt-1")


async def completed() -> ResumeState:
    return (await runner(1).resume(checkout, await delivered())).state


async def failed() -> ResumeState:
    state = inject(await suspended(), "pay", {**PAID, "status": "no funds"})
    return (await runner(1).resume(checkout, state)).state


async def forgotten() -> ResumeState:
    return forget(await completed(), "fulfil")


async def many() -> ResumeState:
    state = inject((await runner().run(documents)).state, "docs", "one", "d-1")
    state = (await runner(1).resume(documents, state)).state
    return inject(inject(state, "docs", "two", "d-2"), "docs", "three")


async def race() -> ResumeState:
    return (await runner().run(contact)).state


async def race_won() -> ResumeState:
    return (await runner(1).resume(contact, inject(await race(), "phone", "+1"))).state


async def timed_out() -> ResumeState:
    return (await runner(1).resume(reminder, (await runner().run(reminder)).state)).state


async def converted() -> ResumeState:
    return (await runner().run(delivery, deliver_at())).state


async def interrupted() -> ResumeState:
    BROKEN[0] = True
    return (await runner().run(shipping)).state


async def cut() -> ResumeState:
    return (await runner().run(hurry)).state


class Traced:
    """An observer that says in which trace each leg is."""

    def __call__(self, event: Event) -> None:
        pass

    def traceparent(self, _: int) -> str:
        return "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def traced() -> ResumeState:
    watched = Runner(clock=lambda: START, run_id="golden-run", on_event=Traced())
    return (await watched.run(reminder)).state


@workflow(
    name="golden.reminder",
    version=2,
    migrations={1: lambda state: rename_step(state, "second-answer", "last-answer")},
)
async def renamed_reminder(step: Step[PendingHook]) -> str:
    answer = await step.attempt("answer", pending_hook, "answer", str, timeout=timedelta(hours=1))
    if isinstance(answer, Ok):
        return answer.value
    return await step("last-answer", pending_hook, "second", str)


async def migrated() -> ResumeState:
    return (await runner(1).resume(renamed_reminder, await timed_out())).state


async def retried() -> ResumeState:
    state = (await runner().run(retrying)).state
    return (await runner(1).resume(retrying, state)).state


async def slept() -> ResumeState:
    return (await runner().run(sleeping)).state


async def undoing() -> ResumeState:
    return (await runner().run(booking, waits=True)).state


async def undone() -> ResumeState:
    return (await runner().run(booking, waits=False)).state


async def cancelled() -> ResumeState:
    return cancel(await suspended(), "the shop is closed")


@workflow(name="golden.shipment")
async def shipment(step: Step[PendingHook], parcel: str) -> str:
    await step("pack", lambda: parcel)
    opened = await step("arrival-hook", create_hook, new_id=lambda: f"arrival of {parcel}")
    return await step("arrival", pending_hook, opened.hook_id, str, timeout=timedelta(days=7))


@workflow(name="golden.parcels")
async def parcels(step: Step[PendingHook]) -> list[str]:
    first = await step.child("first", shipment, "book")
    return [first, await step.child("second", shipment, "pen")]


async def child() -> ResumeState:
    return (await runner().run(parcels)).state


async def child_ended() -> ResumeState:
    return (await runner(1).resume(parcels, inject(await child(), "arrival of book", "here"))).state


STATES: list[Callable[[], Coroutine[Any, Any, ResumeState]]] = [
    started, suspended, delivered, completed, failed, forgotten, many, race, race_won, timed_out, converted,
    interrupted, cut, traced, migrated, retried, slept, undoing, undone, cancelled, child, child_ended,
]  # fmt: skip


def name_of(made: Callable[..., Any]) -> str:
    return f"{made.__name__.replace('_', '-')}.v1"


def write(*, replace: bool) -> None:
    for made in STATES:
        target = HERE / f"{name_of(made)}.bin"
        if target.exists() and not replace:
            continue
        state = asyncio.run(made())
        target.write_bytes(state.to_bytes())
        target.with_suffix(".json").write_text(state.to_json() + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(replace="--replace" in sys.argv[1:])
