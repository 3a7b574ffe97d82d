"""Injection happens once: a delivery is taken, known again, or refused for a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import msgspec
import pytest

from awaitpy import (
    Err,
    HookAlreadyResolved,
    HookError,
    HookExpired,
    InvalidPayload,
    MethodNotAllowed,
    Ok,
    PayloadMisfit,
    PendingHook,
    Result,
    RunFinished,
    Step,
    UnknownHook,
    create_hook,
    get_pending_hooks,
    has_pending_hook,
    inject_hook,
    is_pending_hook,
    pending_hook,
)


@attrs.frozen
class Payment:
    order_id: str
    cents: int


@attrs.frozen
class Declined:
    why: str


async def ask(step: Step[PendingHook]) -> Any:
    return await step("wait", pending_hook, "h")


async def pay(step: Step[PendingHook]) -> Payment:
    await step("before", lambda: "kept")
    return await step("wait", pending_hook, "h", Payment)


VALUES = [
    None, False, True, 0, 1, "", "x", 0.0, -0.0, 1.5, b"", b"x", [], {}, [None], {"": None},
    {"a": [1, {"b": 2}]},
    {1: 2}, 2**64 - 1, {"$bytes": "eA=="}, {"$map": []}, {"$": 1, "b": 2},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_every_plain_value_is_a_value_and_arrives_as_it_is(story, value):
    assert is_pending_hook(story.begin(ask).unwrap_err())
    story.deliver("h", value)
    result = story.go_on()
    assert result == Ok(value)
    assert repr(result) == repr(Ok(value))
    assert story.go_on() == Ok(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_equal_value_again_is_a_no_op_before_and_after_the_run(story, value):
    story.begin(ask)
    once = story.deliver("h", value)
    assert story.deliver("h", value) == once
    story.go_on()
    done = story.state
    assert story.deliver("h", value) == done


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 2),
        (1, True),
        (0, False),
        (1, 1.0),
        (0.0, -0.0),
        (None, False),
        ("", None),
        ([], {}),
        ({"a": 1}, {"a": 1.0}),
    ],
)
def test_another_value_is_refused_and_the_first_is_kept(story, first, second):
    story.begin(ask)
    story.deliver("h", first)
    with pytest.raises(HookAlreadyResolved) as caught:
        story.deliver("h", second)
    assert caught.value.status == 409
    assert repr(story.go_on()) == repr(Ok(first))
    with pytest.raises(HookAlreadyResolved):
        story.deliver("h", second)


def test_the_order_of_keys_makes_no_other_value(story):
    story.begin(ask)
    once = story.deliver("h", {"a": [{"x": 1, "y": 2}], "b": 2, 3: 4})
    assert story.deliver("h", {3: 4, "b": 2, "a": [{"y": 2, "x": 1}]}) == once
    with pytest.raises(HookAlreadyResolved):
        story.deliver("h", {"b": 2, "a": [{"y": 2, "x": True}], 3: 4})


def test_not_a_number_again_is_the_same_delivery(story):
    story.begin(ask)
    assert story.deliver("h", [float("nan")]) == story.deliver("h", [float("nan")])


def test_the_same_delivery_id_is_the_same_delivery_whatever_it_carries(story):
    story.begin(ask)
    once = story.deliver("h", 1, delivery_id="d-1")
    assert story.deliver("h", 2, delivery_id="d-1") == once
    assert story.go_on() == Ok(1)
    done = story.state
    assert story.deliver("h", 2, delivery_id="d-1") == done


def test_another_delivery_id_is_another_delivery_even_of_an_equal_value(story):
    story.begin(ask)
    story.deliver("h", 1, delivery_id="d-1")
    with pytest.raises(HookAlreadyResolved):
        story.deliver("h", 1, delivery_id="d-2")
    story.go_on()
    with pytest.raises(HookAlreadyResolved):
        story.deliver("h", 1, delivery_id="d-2")


def test_without_an_id_on_either_side_the_value_decides(story):
    story.begin(ask)
    once = story.deliver("h", 1, delivery_id="d-1")
    assert story.deliver("h", 1) == once
    with pytest.raises(HookAlreadyResolved):
        story.deliver("h", 2)


def test_an_id_that_the_state_never_had_is_unknown(story):
    story.begin(ask)
    with pytest.raises(UnknownHook) as caught:
        story.deliver("other", 1)
    assert caught.value.status == 404
    assert caught.value.hook_id == "other"
    assert "'other'" in str(caught.value)


async def early(step: Step[PendingHook]) -> tuple[str, Any]:
    hook = await step("create", create_hook)
    await step("elsewhere", pending_hook, "gate")
    return hook.hook_id, await step(hook.step_key, pending_hook, hook.hook_id)


def test_a_hook_that_is_created_and_not_waited_for_takes_its_value_early(story):
    story.begin(early)
    (hook_id,) = set(story.state.hooks) - {"gate"}
    assert get_pending_hooks(story.state) == ["gate"]
    assert not has_pending_hook(story.state, hook_id)
    once = story.deliver(hook_id, "early")
    assert story.deliver(hook_id, "early") == once
    with pytest.raises(HookAlreadyResolved):
        story.deliver(hook_id, "late")
    story.deliver("gate", None)
    assert story.go_on() == Ok((hook_id, "early"))


def test_the_hooks_that_wait_are_listed_until_they_have_their_value(story):
    story.begin(ask)
    assert get_pending_hooks(story.state) == ["h"]
    assert has_pending_hook(story.state, "h")
    assert not has_pending_hook(story.state, "other")
    story.deliver("h", 1)
    assert get_pending_hooks(story.state) == []
    assert [record.deliveries for record in story.state.pending] == [1]
    story.go_on()
    assert story.state.pending == ()
    assert not has_pending_hook(story.state, "h")


def test_ids_of_hooks_are_long_random_and_name_their_step():
    hooks = [create_hook() for _ in range(50)]
    assert len({hook.hook_id for hook in hooks}) == 50
    assert all(len(hook.hook_id) >= 31 for hook in hooks)
    assert all(hook.step_key == f"hook:{hook.hook_id}" for hook in hooks)
    assert create_hook(new_id=lambda: "mine").hook_id == "mine"


def test_a_payload_that_does_not_fit_is_refused_at_once_and_a_fitting_one_is_taken_then(story):
    story.begin(pay)
    before = story.state
    with pytest.raises(InvalidPayload) as caught:
        story.deliver("h", {"order_id": "1", "cents": "many"}, payload=Payment)
    assert (caught.value.status, caught.value.path) == (400, "$.cents")
    assert "many" not in str(caught.value)
    assert story.state == before
    assert get_pending_hooks(story.state) == ["h"]
    story.deliver("h", {"order_id": "1", "cents": 5}, payload=Payment)
    assert story.go_on() == Ok(Payment("1", 5))


def test_a_misfit_that_nobody_checked_shows_on_resume_and_a_valid_retry_goes_on(story):
    story.begin(pay)
    steps = dict(story.state.steps)
    story.deliver("h", {"order_id": "1"}, delivery_id="d-1")
    error = story.go_on().unwrap_err()
    assert isinstance(error, PayloadMisfit)
    assert (error.hook_id, error.step_key, error.path, error.status) == ("h", "wait", "$", 400)
    assert "cents" in error.problem
    assert story.state.status == "suspended"
    assert get_pending_hooks(story.state) == ["h"]
    assert dict(story.state.steps) == steps
    assert is_pending_hook(story.go_on().unwrap_err())
    story.deliver("h", {"order_id": "1", "cents": 5}, delivery_id="d-1")
    assert story.go_on() == Ok(Payment("1", 5))
    assert story.go_on() == Ok(Payment("1", 5))


async def decline() -> Result[int, Declined]:
    return Err(Declined("no"))


async def stop(step: Step[Declined | PendingHook], fails: bool) -> None:
    await step.options(returns=Any)("hook", create_hook, new_id=lambda: "never")
    if fails:
        await step("decline", decline)


@pytest.mark.parametrize(("fails", "status"), [(False, "completed"), (True, "failed")])
def test_a_run_that_ended_takes_nothing_more(story, fails, status):
    story.begin(stop, fails)
    assert story.state.status == status
    with pytest.raises(RunFinished) as caught:
        story.deliver("never", 1)
    assert caught.value.status == 409
    assert status in str(caught.value)
    with pytest.raises(UnknownHook):
        story.deliver("other", 1)


async def posted(step: Step[PendingHook]) -> Any:
    return await step("wait", pending_hook, "h", methods=["post", "PUT"])


def test_another_method_is_refused_and_letters_may_be_small(story):
    story.begin(posted)
    assert story.state.pending[0].methods == ("POST", "PUT")
    with pytest.raises(MethodNotAllowed) as caught:
        story.deliver("h", 1, method="get")
    assert (caught.value.status, caught.value.method) == (405, "GET")
    assert caught.value.methods == ("POST", "PUT")
    assert "POST, PUT" in str(caught.value)
    story.deliver("h", 1, method="put")
    assert story.go_on() == Ok(1)


def test_a_delivery_without_a_method_and_a_hook_without_methods_ask_nothing(story, stories):
    story.begin(posted)
    story.deliver("h", 1)
    other = stories()
    other.begin(ask)
    other.deliver("h", 1, method="DELETE")
    assert [story.go_on(), other.go_on()] == [Ok(1), Ok(1)]


def test_objects_may_be_injected_and_a_wait_of_their_class_restores_them(story):
    story.begin(pay)
    once = story.deliver("h", Payment("1", 5), payload=Payment)
    assert story.deliver("h", {"order_id": "1", "cents": 5}) == once
    assert story.go_on() == Ok(Payment("1", 5))


def closed_in_itself() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


UNFIT = [
    2**64, "\ud800", {"\udfff": 1}, (1, 2), {1}, object(), {"a": datetime(2024, 1, 1)}, closed_in_itself(),  # noqa: DTZ001  naive on purpose
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "X")), {(1, 2): 3}, msgspec.Raw,
    Payment("1", 2**70),
    Payment("1", "a"),
]  # fmt: skip


@pytest.mark.parametrize("value", UNFIT, ids=lambda value: f"{value!r:.40}")
def test_what_no_state_can_hold_is_an_invalid_payload(story, value):
    story.begin(ask)
    before = story.state
    with pytest.raises(InvalidPayload):
        story.deliver("h", value)
    assert story.state == before


def test_a_zoned_datetime_alone_needs_to_be_plain_data(story):
    story.begin(ask)
    with pytest.raises(InvalidPayload):
        story.deliver("h", datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    story.deliver("h", datetime(2024, 1, 1, tzinfo=UTC))
    assert story.go_on() == Ok(datetime(2024, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("depth", [100, 250, 500, 700, 900, 5000])
def test_whatever_depth_is_taken_can_be_stored_read_and_resumed(story, depth):
    story.begin(ask)
    value: Any = []
    for _ in range(depth):
        value = [value]
    try:
        story.deliver("h", value)
    except InvalidPayload:
        assert depth > 200
    else:
        assert story.go_on() == Ok(value)


def test_a_delivery_id_that_no_state_can_hold_is_refused_there_and_then(story):
    story.begin(ask)
    with pytest.raises((InvalidPayload, ValueError)):
        story.deliver("h", 1, delivery_id="\ud800")
    story.travel()


def test_every_hook_error_has_the_status_that_a_route_answers():
    own = [kind for kind in HookError.__subclasses__() if kind.__module__ == HookError.__module__]
    kinds = {kind.__name__: kind.status for kind in own}
    assert kinds == {
        "InvalidPayload": 400,
        "UnknownHook": 404,
        "MethodNotAllowed": 405,
        "HookAlreadyResolved": 409,
        "RunFinished": 409,
        "HookExpired": 410,
    }
    assert str(HookExpired("h")).startswith("Hook 'h' expired;")


def test_the_time_of_a_delivery_may_be_seconds_or_any_zone_but_not_naive(story):
    story.begin(ask)
    for now in (1_900_000_000, 1_900_000_000.5, datetime(2031, 1, 1, tzinfo=timezone(timedelta(hours=2)))):
        assert inject_hook(story.state, "h", 1, now=now).revision == story.state.revision + 1
    assert inject_hook(story.state, "h", 1).hooks["h"].deliveries[0].at.tzinfo is UTC
    with pytest.raises(ValueError, match="needs a zone"):
        inject_hook(story.state, "h", 1, now=datetime(2031, 1, 1))  # noqa: DTZ001  naive on purpose
