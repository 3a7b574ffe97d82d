"""S10: a user's whole approval test. The workflow is the user's; what follows it fits a screen."""

from __future__ import annotations

from datetime import timedelta

import attrs

from awaitpy import Err, HookTimeout, Ok, PendingHook, Result, Step, create_hook, pending_hook
from awaitpy.testing import WorkflowTester

DAY = timedelta(days=1)


@attrs.frozen
class Approval:
    limit: int


@attrs.frozen
class OverLimit:
    asked: int
    limit: int


def pay(amount: int, decision: Approval) -> Result[str, OverLimit]:
    if amount > decision.limit:
        return Err(OverLimit(amount, decision.limit))
    return Ok(f"paid {amount}")


async def expense(step: Step[OverLimit | PendingHook], amount: int) -> str:
    hook = await step("ask", create_hook)
    answer = await step.attempt("decision", pending_hook, hook.hook_id, Approval, timeout=DAY)
    match answer:
        case Err(HookTimeout()):
            return "nobody decided"
        case Ok(decision):
            return await step("pay", pay, amount, decision)


# --- the test, on one screen --------------------------------------------------------------------


async def test_an_expense_is_paid_once_it_is_approved():
    expenses = WorkflowTester(expense)
    await expenses.start(300)
    assert expenses.waiting.step_key == "decision"
    assert expenses.waiting.deadline == expenses.clock.now + DAY

    told = await expenses.send(b'{"limit": 5')
    assert told.status == 400
    assert expenses.waiting.step_key == "decision"

    told = await expenses.deliver({"limit": 500})
    assert told.status == 200
    assert expenses.result == Ok("paid 300")
    assert expenses.calls == {"ask": 1, "pay": 1}


async def test_an_expense_over_the_limit_ends_with_the_error_recorded():
    expenses = WorkflowTester(expense)
    await expenses.start(900)
    told = await expenses.deliver({"limit": 500})
    assert told.status == 200
    assert expenses.result == Err(OverLimit(asked=900, limit=500))
    assert expenses.state.status == "failed"


async def test_an_expense_lapses_after_a_day():
    expenses = WorkflowTester(expense)
    await expenses.start(300)
    await expenses.advance(DAY)
    assert expenses.result == Ok("nobody decided")
    assert expenses.calls["pay"] == 0
