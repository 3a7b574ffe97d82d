"""S7: a provider that retries, and retries at the same moment."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from awaitpy import HookAlreadyResolved, Ok, create_hook, get_pending_hooks, pending_hook, run
from awaitpy.testing import WorkflowTester

PAID = {"status": "paid"}


def ship(status: str) -> str:
    return f"shipped, {status}"


async def order(step, fulfil=ship) -> str:
    hook = await step("hook", create_hook)
    payment = await step(hook.step_key, pending_hook, hook.hook_id, dict[str, str])
    return await step("fulfil", fulfil, payment["status"])


@pytest.fixture
async def ordered():
    tester = WorkflowTester(order)
    await tester.start()
    return tester


async def test_the_same_delivery_before_any_run_is_a_duplicate_and_changes_nothing(ordered):
    once = ordered.inject(PAID, delivery_id="evt-1").to_bytes()
    twice = ordered.inject(PAID, to="hook", delivery_id="evt-1")
    assert twice.to_bytes() == once
    await ordered.resume()
    assert ordered.result == Ok("shipped, paid")
    assert ordered.calls == {"hook": 1, "fulfil": 1}


async def test_the_same_delivery_after_completion_is_a_success_and_runs_nothing(ordered):
    assert (await ordered.deliver(PAID, delivery_id="evt-1")).status == 200
    before = ordered.state.to_bytes()
    assert (await ordered.deliver(PAID, to="hook", delivery_id="evt-1")).status == 200
    assert ordered.state.to_bytes() == before
    assert ordered.calls == {"hook": 1, "fulfil": 1}


@pytest.mark.parametrize("ran", [False, True], ids=["before any run", "after completion"])
async def test_another_delivery_to_a_resolved_hook_is_refused_and_the_first_is_kept(ordered, ran):
    ordered.inject(PAID, delivery_id="evt-1")
    if ran:
        await ordered.resume()
    before = ordered.state.to_bytes()
    with pytest.raises(HookAlreadyResolved) as refused:
        ordered.inject({"status": "refunded"}, to="hook", delivery_id="evt-2")
    assert refused.value.status == 409
    assert ordered.state.to_bytes() == before
    await ordered.resume()
    assert ordered.result == Ok("shipped, paid")


def test_ten_concurrent_deliveries_over_a_store_are_one_fulfilment(runs, at_once):
    fulfilled = []

    def fulfil(status: str) -> str:
        fulfilled.append(status)
        return ship(status)

    workflow = partial(order, fulfil=fulfil)
    state = asyncio.run(run(workflow)).state
    runs.add(state)
    (hook_id,) = get_pending_hooks(state)
    deliver = partial(runs.deliver, workflow, state.run_id, hook_id, PAID, delivery_id="evt-1")
    answers = at_once([deliver] * 10)
    assert fulfilled == ["paid"]
    assert {told.status for told in answers} == {200}
    assert [told.body["status"] for told in answers].count("completed") == 1
    assert runs.load(state.run_id).status == "completed"
