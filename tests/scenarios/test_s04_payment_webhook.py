"""S4: a payment provider says `pending` some times before it says how the payment ended."""

from __future__ import annotations

import itertools
from datetime import timedelta

import attrs
import pytest

from awaitpy import Err, Ok, PendingHook, Result, Step, create_hook, pending_hook
from awaitpy.testing import WorkflowTester

HOUR = timedelta(hours=1)


@attrs.frozen
class Event:
    payment_id: str
    status: str


@attrs.frozen
class PaymentFailed:
    payment_id: str


def create_payment(amount: int) -> str:
    return "payment-1"


def ship(payment_id: str) -> str:
    return f"shipped for {payment_id}"


def give_up(payment_id: str) -> Result[None, PaymentFailed]:
    return Err(PaymentFailed(payment_id))


async def payment(step: Step[PaymentFailed | PendingHook], amount: int) -> str:
    payment_id = await step("create-payment", create_payment, amount)
    hook = await step("hook", create_hook, many=True)

    def about_this_payment(event):
        if event.payment_id != payment_id:
            return Err("another payment")
        if event.status not in {"pending", "completed", "failed"}:
            return Err("an unknown status")
        return Ok(event)

    keys = (f"wait-{number}" for number in itertools.count(1))
    status = "pending"
    while status == "pending":
        told = await step(
            next(keys),
            pending_hook,
            hook.hook_id,
            Event,
            timeout=24 * HOUR,
            accept=about_this_payment,
        )
        status = told.status
    if status == "failed":
        await step("give-up", give_up, payment_id)
    return await step("ship", ship, payment_id)


def event(status, payment_id="payment-1"):
    return {"payment_id": payment_id, "status": status}


@pytest.fixture
async def paying():
    tester = WorkflowTester(payment)
    await tester.start(100)
    return tester


async def test_pending_twice_keeps_the_original_deadline(paying):
    deadline = paying.clock.now + 24 * HOUR
    for _ in range(2):
        await paying.advance(HOUR)
        assert (await paying.deliver(event("pending"))).status == 202
        assert paying.waiting.deadline == deadline


@pytest.mark.parametrize("refused", [event("exploded"), event("completed", payment_id="payment-2")])
async def test_what_is_not_about_this_payment_is_refused_and_the_run_still_waits(paying, refused):
    waiting = paying.waiting
    assert (await paying.deliver(refused)).status == 422
    assert paying.waiting == waiting
    assert (await paying.deliver(event("completed"))).status == 200
    assert paying.calls == {"create-payment": 1, "hook": 1, "ship": 1}


async def test_completed_completes(paying):
    await paying.deliver(event("pending"))
    assert (await paying.deliver(event("completed"))).status == 200
    assert paying.result == Ok("shipped for payment-1")


async def test_failed_ends_with_a_typed_error(paying):
    assert (await paying.deliver(event("failed"))).status == 200
    assert paying.result == Err(PaymentFailed("payment-1"))
    assert paying.state.status == "failed"
    assert (await paying.resume()).result == Err(PaymentFailed("payment-1"))
    assert paying.calls == {"create-payment": 1, "hook": 1, "give-up": 1}
