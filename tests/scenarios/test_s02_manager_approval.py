"""S2: only the manager may decide, and only in words that mean something."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import attrs
import pytest

from awaitpy import Err, HookRejected, Ok, Refusal, create_hook, pending_hook
from awaitpy.testing import FakeClock, WorkflowTester

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@attrs.frozen
class Decision:
    decision: str
    user_id: str
    notes: str = ""


@attrs.frozen
class Approved:
    approver: str
    notes: str
    at: datetime


@attrs.frozen
class Rejected:
    by: str


def who_may_decide(manager):
    def judge(given):
        if given.user_id != manager:
            return Err(Refusal("only the manager decides", status=403))
        if given.decision not in {"approved", "rejected"}:
            return Err("a decision is approved or rejected")
        return Ok(given)

    return judge


def pay(amount: int) -> str:
    return f"paid {amount}"


def tell_requester(reason: str) -> None:
    """Would send a mail."""


async def approval(step, amount: int, *, clock) -> Approved | Rejected:
    hook = await step("ask", create_hook)
    given = await step(
        "decision",
        pending_hook,
        hook.hook_id,
        Decision,
        accept=who_may_decide("manager-123"),
        metadata={"amount": amount},
    )
    if given.decision == "rejected":
        await step("tell-requester", tell_requester, given.notes)
        return Rejected(given.user_id)
    await step("pay", pay, amount)
    at = await step.options(returns=datetime)("note-the-time", clock)
    return Approved(given.user_id, given.notes, at)


@pytest.fixture
async def asked():
    clock = FakeClock(NOON)
    tester = WorkflowTester(partial(approval, clock=clock), clock=clock)
    await tester.start(500)
    assert tester.waiting.metadata == {"amount": 500}
    return tester


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"decision": "approved", "user_id": "intern-1"}, 403),
        ({"decision": "maybe", "user_id": "manager-123"}, 422),
    ],
)
async def test_a_refused_decision_leaves_the_hook_pending_and_runs_nothing(asked, given, status):
    before = asked.waiting
    told = await asked.deliver(given)
    assert told.status == status
    assert isinstance(asked.result.unwrap_err(), HookRejected)
    assert asked.waiting == before
    assert asked.calls == {"ask": 1}
    assert (await asked.deliver({"decision": "approved", "user_id": "manager-123"})).status == 200


async def test_the_approval_holds_who_what_and_when(asked):
    await asked.advance(timedelta(hours=2))
    yes = {"decision": "approved", "user_id": "manager-123", "notes": "within budget"}
    assert (await asked.deliver(yes)).status == 200
    assert asked.result == Ok(Approved("manager-123", "within budget", NOON + timedelta(hours=2)))
    assert asked.calls == {"ask": 1, "pay": 1, "note-the-time": 1}


async def test_a_rejection_takes_the_other_branch_and_completes(asked):
    no = {"decision": "rejected", "user_id": "manager-123", "notes": "too dear"}
    assert (await asked.deliver(no)).status == 200
    assert asked.result == Ok(Rejected("manager-123"))
    assert asked.state.status == "completed"
    assert asked.calls == {"ask": 1, "tell-requester": 1}
