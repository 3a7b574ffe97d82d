"""Deadlines, judges, many deliveries and races: what a wait takes, and until when."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import attrs
import pytest

from awaitpy import (
    Err,
    Hook,
    HookAlreadyResolved,
    HookExpired,
    HookRejected,
    HookTimeout,
    JournalError,
    Ok,
    PendingHook,
    Refusal,
    Result,
    Step,
    StepMisuse,
    UnexpectedError,
    Won,
    create_hook,
    first_of,
    get_pending_hooks,
    next_wakeup,
    pending_hook,
)


def hours(n: float) -> timedelta:
    return timedelta(hours=n)


@attrs.frozen
class Decision:
    user: str
    verdict: str


# --- deadlines ------------------------------------------------------------------------------------


async def day(step: Step[PendingHook]) -> Any:
    return await step.attempt("wait", pending_hook, "h", timeout=hours(24))


def test_a_deadline_is_set_once_and_listed(story):
    error = story.begin(day).unwrap_err()
    begun = story.now
    assert isinstance(error, PendingHook)
    assert error.deadline == begun + hours(24)
    story.later(hours=23, minutes=59, seconds=59)
    assert story.go_on().unwrap_err().deadline == begun + hours(24)
    (record,) = story.state.pending
    assert (record.since, record.deadline) == (begun, begun + hours(24))
    assert next_wakeup(story.state) == begun + hours(24)


def test_at_its_deadline_a_wait_gives_a_timeout_and_every_replay_agrees(story):
    story.begin(day)
    deadline = story.now + hours(24)
    story.later(hours=24)
    expected = Ok(Err(HookTimeout("h", "wait", deadline)))
    assert story.go_on() == expected
    story.later(days=400)
    assert story.go_on() == expected
    with pytest.raises(HookExpired) as caught:
        story.deliver("h", 1)
    assert caught.value.status == 410


def test_a_delivery_before_the_deadline_counts_whenever_the_run_is_resumed(story):
    story.begin(day)
    story.later(hours=23, minutes=59, seconds=59)
    story.deliver("h", 5)
    story.later(days=3)
    assert story.go_on() == Ok(Ok(5))


def test_a_delivery_at_the_deadline_is_late_but_the_same_delivery_again_is_known(story):
    story.begin(day)
    story.later(hours=1)
    once = story.deliver("h", 5, delivery_id="d")
    story.later(hours=23)
    assert story.deliver("h", 5, delivery_id="d") == once


def test_a_delivery_at_the_deadline_is_expired_with_no_run_between(story):
    story.begin(day)
    deadline = story.now + hours(24)
    story.later(hours=24)
    with pytest.raises(HookExpired) as caught:
        story.deliver("h", 5)
    assert caught.value.deadline == deadline
    assert deadline.isoformat() in str(caught.value)


def test_without_attempt_a_timeout_ends_the_run_with_its_typed_error(story):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step("wait", pending_hook, "h", timeout=60)

    story.begin(flow)
    story.later(seconds=60)
    error = story.go_on().unwrap_err()
    assert isinstance(error, HookTimeout)
    assert story.state.status == "failed"
    assert story.go_on().unwrap_err() == error


@pytest.mark.parametrize("timeout", [0, timedelta(0), -1, -hours(1)])
def test_a_wait_without_time_is_over_at_once(story, timeout):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step.attempt("wait", pending_hook, "h", timeout=timeout)

    result = story.begin(flow)
    assert isinstance(result.unwrap().error, HookTimeout)


@pytest.mark.parametrize(
    "how",
    [
        {"metadata": {"a": 2**70}},
        {"metadata": {"a": "\ud800"}},
        {"metadata": {"a": (1,)}},
        {"metadata": {1: {2: object()}}},
        {"metadata": [1]},
        {"timeout": timedelta.max},
        {"timeout": 1e300},
    ],
    ids=repr,
)
def test_terms_that_no_state_can_hold_end_the_run_at_the_wait_and_pass_no_handler(story, how):
    async def flow(step: Step[PendingHook]) -> Any:
        try:
            return await step("wait", pending_hook, "h", **how)
        except Exception:  # noqa: BLE001  what is under test
            return "caught"

    error = story.begin(flow).unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert error.key == "wait"
    assert isinstance(error.cause, Exception)
    if how.get("metadata") == {"a": (1,)}:
        assert isinstance(error.cause, JournalError)
        assert "metadata" in str(error)
        assert "$['a']" in str(error)


def test_metadata_is_listed_as_it_was_given(story):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step("wait", pending_hook, "h", metadata={"who": "me", "n": [1, None]})

    error = story.begin(flow).unwrap_err()
    assert error.metadata == {"who": "me", "n": [1, None]}
    assert story.travel().pending[0].metadata == {"who": "me", "n": [1, None]}


# --- when the state next needs a run --------------------------------------------------------------


async def two(step: Step[PendingHook]) -> Any:
    return await asyncio.gather(
        step.attempt("short", pending_hook, "a", timeout=hours(1)),
        step.attempt("long", pending_hook, "b", timeout=hours(24)),
        step.attempt("ever", pending_hook, "c"),
    )


def test_the_first_deadline_of_several_waits_is_the_next_wakeup(story):
    story.begin(two)
    begun = story.now
    assert next_wakeup(story.state) == begun + hours(1)
    story.later(hours=2)
    story.go_on()
    assert get_pending_hooks(story.state) == ["b", "c"]
    assert next_wakeup(story.state) == begun + hours(24)
    story.deliver("c", 1)
    assert next_wakeup(story.state) == story.now
    story.later(hours=22)
    ends = story.go_on().unwrap()
    assert [type(end) for end in ends] == [Err, Err, Ok]
    assert next_wakeup(story.state) is None


def test_a_wait_for_ever_and_an_early_delivery_need_no_wakeup(story):
    async def flow(step: Step[PendingHook]) -> Any:
        await step("open", create_hook, new_id=lambda: "early")
        return await step("wait", pending_hook, "h")

    story.begin(flow)
    story.deliver("early", 1)
    assert next_wakeup(story.state) is None


@pytest.mark.parametrize("times", [(1, 24), (24, 1), (1, None), (None, None), (5, 5)])
def test_resuming_at_the_next_wakeup_never_goes_in_circles(story, times):
    async def flow(step: Step[PendingHook]) -> Any:
        waits = [
            pending_hook(f"h{i}", timeout=None if t is None else hours(t)) for i, t in enumerate(times)
        ]
        return await step.attempt("race", first_of, *waits)

    story.begin(flow)
    for _ in range(4):
        due = next_wakeup(story.state)
        if due is None:
            break
        assert due > story.now
        story.now = due
        story.go_on()
    else:
        pytest.fail("it never came to an end")
    assert story.state.end is not None or None in times


# --- judges ---------------------------------------------------------------------------------------


def by_manager(decision: Decision) -> Result[None, Any]:
    if decision.user != "manager":
        return Err(Refusal("only the manager decides", 403))
    return Ok(None) if decision.verdict in {"yes", "no"} else Err("verdict unknown")


async def approve(step: Step[PendingHook]) -> Decision:
    await step("before", lambda: 1)
    return await step("wait", pending_hook, "h", Decision, accept=by_manager, timeout=hours(1))


def test_a_refused_delivery_is_not_consumed_and_the_hook_waits_on(story):
    story.begin(approve)
    (before,) = story.state.pending
    for body, reason, status in (
        ({"user": "intern", "verdict": "yes"}, "only the manager decides", 403),
        ({"user": "manager", "verdict": "maybe"}, "verdict unknown", 422),
    ):
        story.later(minutes=1)
        story.deliver("h", body, delivery_id="d")
        error = story.go_on().unwrap_err()
        assert error == HookRejected("h", "wait", reason, status)
        assert story.state.pending == (before,)
        assert list(story.state.steps) == ["before"]
    story.deliver("h", {"user": "manager", "verdict": "yes"}, delivery_id="d")
    assert story.go_on() == Ok(Decision("manager", "yes"))


def test_a_judge_that_raises_ends_the_leg_and_keeps_the_delivery(story):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step("wait", pending_hook, "h", accept=lambda value: judges[0](value))  # noqa: PLW0108  a lambda on purpose

    judges: list[Any] = [lambda value: 1 / 0]
    story.begin(flow)
    story.deliver("h", 5)
    error = story.go_on().unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert isinstance(error.cause, ZeroDivisionError)
    judges[0] = Ok
    assert story.go_on() == Ok(5)


def test_a_judge_is_not_asked_again_at_replay(story):
    async def flow(step: Step[PendingHook]) -> Any:
        await step("wait", pending_hook, "h", accept=lambda value: asked.append(value) or Ok(None))
        return await step("gate", pending_hook, "gate")

    asked: list[Any] = []
    story.begin(flow)
    story.deliver("h", 5)
    story.go_on()
    story.go_on()
    assert asked == [5]


def test_each_alternative_of_a_race_has_its_own_judge(story):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step(
            "race",
            first_of,
            pending_hook("a"),
            pending_hook("b", int, accept=lambda n: Ok(n) if n else Err("zero")),
        )

    story.begin(flow)
    story.deliver("b", 0)
    assert story.go_on().unwrap_err() == HookRejected("b", "race", "zero", 422)
    assert get_pending_hooks(story.state) == ["a", "b"]
    story.deliver("b", 3)
    assert story.go_on() == Ok(Won("b", 3))


# --- many deliveries ------------------------------------------------------------------------------


async def three(step: Step[PendingHook]) -> list[Any]:
    hook = await step("open", create_hook, many=True, new_id=lambda: "h")
    return [await step(f"wait-{i}", pending_hook, hook.hook_id, timeout=hours(24)) for i in range(3)]


def test_each_wait_takes_the_next_delivery_and_the_deadline_stays(story):
    story.begin(three)
    deadline = story.now + hours(24)
    for value in ("a", "b"):
        story.later(hours=1)
        story.deliver("h", value)
        error = story.go_on().unwrap_err()
        assert error.deadline == deadline
    story.deliver("h", "c")
    assert story.go_on() == Ok(["a", "b", "c"])


def test_deliveries_before_their_waits_are_kept_in_order_and_equal_values_are_all_kept(story):
    story.begin(three)
    for value in ("x", "x", None):
        story.deliver("h", value)
    assert story.state.pending[0].deliveries == 3
    assert story.go_on() == Ok(["x", "x", None])


def test_a_delivery_id_is_known_again_before_and_after_its_wait(story):
    story.begin(three)
    once = story.deliver("h", 1, delivery_id="d-1")
    assert story.deliver("h", 2, delivery_id="d-1") == once
    story.go_on()
    taken = story.state
    assert story.deliver("h", 3, delivery_id="d-1") == taken
    story.deliver("h", 4, delivery_id="d-2")
    story.deliver("h", 5)
    assert story.go_on() == Ok([1, 4, 5])
    done = story.state
    assert story.deliver("h", 9, delivery_id="d-2") == done


def own_hook(name: str) -> Hook:
    return create_hook(many=True, new_id=lambda: name)


async def own_hook_later(name: str) -> Result[Hook, str]:
    return Ok(own_hook(name))


@pytest.mark.parametrize("fn", [own_hook, own_hook_later, lambda name: own_hook(name)])  # noqa: PLW0108  a lambda on purpose
def test_a_hook_made_by_a_function_of_the_users_takes_its_deliveries_too(story, fn):
    async def flow(step: Step[PendingHook]) -> list[Any]:
        hook = await step("open", fn, "h")
        await step("gate", pending_hook, "gate")
        return [await step(f"wait-{i}", pending_hook, hook.hook_id) for i in range(2)]

    story.begin(flow)
    story.deliver("h", 1)
    story.deliver("gate", None)
    story.go_on()
    story.deliver("h", 2)
    assert story.go_on() == Ok([1, 2])


def test_a_wait_may_say_itself_that_it_takes_many(story):
    async def flow(step: Step[PendingHook]) -> list[Any]:
        return [await step(f"wait-{i}", pending_hook, "h", many=True) for i in range(2)]

    story.begin(flow)
    story.deliver("h", 1)
    story.deliver("h", 2)
    assert story.go_on() == Ok([1, 2])


def test_a_hook_that_takes_one_is_not_waited_for_twice(story):
    async def flow(step: Step[PendingHook]) -> Any:
        await step("one", pending_hook, "h")
        return await step("two", pending_hook, "h")

    story.begin(flow)
    story.deliver("h", 1)
    error = story.go_on().unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert isinstance(error.cause, StepMisuse)
    assert "create_hook(many=True)" in str(error)


# --- races ----------------------------------------------------------------------------------------


async def contact(step: Step[PendingHook]) -> Won[Any]:
    return await step(
        "contact", first_of, pending_hook("email"), pending_hook("phone"), pending_hook("web", int)
    )


def test_the_first_answer_wins_and_the_others_are_closed(story):
    story.begin(contact)
    assert get_pending_hooks(story.state) == ["email", "phone", "web"]
    story.deliver("phone", {"n": 1}, delivery_id="d")
    assert get_pending_hooks(story.state) == []
    with pytest.raises(HookAlreadyResolved, match="lost to another hook"):
        story.deliver("email", 1)
    assert story.go_on() == Ok(Won("phone", {"n": 1}))
    done = story.state
    with pytest.raises(HookAlreadyResolved, match="lost to another hook"):
        story.deliver("email", 1)
    assert story.deliver("phone", 2, delivery_id="d") == done
    assert story.go_on() == Ok(Won("phone", {"n": 1}))


def test_of_early_answers_the_one_that_came_first_wins(story):
    async def flow(step: Step[PendingHook]) -> Any:
        for name in ("a", "b"):
            await step(f"open-{name}", create_hook, new_id=lambda name=name: name)
        await step("gate", pending_hook, "gate")
        return await step("race", first_of, pending_hook("a"), pending_hook("b"))

    story.begin(flow)
    story.deliver("b", 2)
    story.later(seconds=1)
    story.deliver("a", 1)
    story.deliver("gate", None)
    assert story.go_on() == Ok(Won("b", 2))


def test_a_race_without_an_answer_ends_at_its_last_deadline(story):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step.attempt(
            "race", first_of, pending_hook("a", timeout=hours(1)), pending_hook("b", timeout=hours(2))
        )

    story.begin(flow)
    deadline = story.now + hours(2)
    story.later(hours=1)
    story.go_on()
    with pytest.raises(HookExpired):
        story.deliver("a", 1)
    story.later(hours=1)
    assert story.go_on() == Ok(Err(HookTimeout("a", "race", deadline)))
    for name in ("a", "b"):
        with pytest.raises(HookExpired):
            story.deliver(name, 1)


def test_a_race_of_nothing_is_an_error(story):
    async def flow(step: Step[PendingHook]) -> Any:
        return await step("race", first_of)

    error = story.begin(flow).unwrap_err()
    assert isinstance(error.cause, ValueError)
    assert "at least one pending_hook" in str(error)
