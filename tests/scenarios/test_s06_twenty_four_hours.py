"""S6: an answer has a day to come."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from awaitpy import (
    Err,
    HookExpired,
    HookTimeout,
    Ok,
    create_hook,
    next_wakeup,
    pending_hook,
)
from awaitpy.testing import FakeClock, WorkflowTester

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


def remind(hook_id: str) -> str:
    return "reminded"


async def question(step) -> str:
    hook = await step("ask", create_hook)
    answer = await step.attempt("answer", pending_hook, hook.hook_id, str, timeout=DAY)
    match answer:
        case Ok(said):
            return said
        case Err(HookTimeout()):
            return await step("remind", remind, hook.hook_id)


async def two_questions(step) -> tuple[str, str]:
    async def ask(name, patience):
        branch = step.scope(name)
        hook = await branch("ask", create_hook)
        answer = await branch.attempt("answer", pending_hook, hook.hook_id, str, timeout=patience)
        return answer.unwrap_or("nothing")

    return tuple(await asyncio.gather(ask("fast", HOUR), ask("slow", DAY)))


@pytest.fixture
async def asked():
    tester = WorkflowTester(question)
    await tester.start()
    return tester


async def test_a_second_before_its_deadline_the_run_still_waits(asked):
    deadline = asked.clock.now + DAY
    assert next_wakeup(asked.state) == asked.waiting.deadline == deadline
    await asked.advance(DAY - SECOND)
    await asked.resume()
    assert asked.waiting.deadline == deadline
    assert asked.calls == {"ask": 1}


async def test_the_timeout_is_journaled_and_every_later_replay_agrees(asked):
    await asked.advance(DAY)
    assert asked.result == Ok("reminded")
    assert next_wakeup(asked.state) is None
    for later in (HOUR, DAY, 1000 * DAY):
        await asked.advance(later)
        assert (await asked.resume()).result == Ok("reminded")
    assert asked.calls == {"ask": 1, "remind": 1}


async def test_a_timeout_replays_as_one_though_the_clock_of_another_machine_is_behind():
    """The step after the timeout fails the first time; the replay comes with an earlier clock."""
    fails = iter([True])

    async def impatient(step) -> str:
        hook = await step("ask", create_hook)
        answer = await step.attempt("answer", pending_hook, hook.hook_id, str, timeout=DAY)
        if next(fails, False):
            raise ConnectionError
        return type(answer.unwrap_err()).__name__

    tester = WorkflowTester(impatient)
    await tester.start()
    await tester.advance(DAY)
    assert tester.state.status == "interrupted"
    behind = WorkflowTester(impatient, state=tester.state, clock=FakeClock())
    assert (await behind.resume()).result == Ok("HookTimeout")


async def test_what_came_in_time_counts_however_late_the_run_is(asked):
    await asked.advance(DAY - SECOND)
    asked.inject("yes")
    asked.clock.advance(HOUR + SECOND)
    await asked.resume()
    assert asked.result == Ok("yes")


async def test_what_comes_at_the_deadline_is_too_late_though_nothing_ran(asked):
    asked.clock.advance(DAY)
    before = asked.state.to_bytes()
    with pytest.raises(HookExpired) as refused:
        asked.inject("yes")
    assert refused.value.status == 410
    assert asked.state.to_bytes() == before
    await asked.resume()
    assert asked.result == Ok("reminded")
    assert (await asked.deliver("yes", to="ask")).status == 410


async def test_of_two_waits_only_the_one_that_is_due_times_out():
    tester = WorkflowTester(two_questions)
    await tester.start()
    begun = tester.clock.now
    assert next_wakeup(tester.state) == begun + HOUR
    await tester.advance(2 * HOUR)
    assert tester.waiting.step_key == "slow/answer"
    assert next_wakeup(tester.state) == tester.waiting.deadline == begun + DAY
    await tester.deliver("late but in time")
    assert tester.result == Ok(("nothing", "late but in time"))
    assert next_wakeup(tester.state) is None
