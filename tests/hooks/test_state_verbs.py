"""forget, rewind and append_entries give new states, and do to the hooks what they do to the steps."""

from __future__ import annotations

from typing import Any

import pytest

from awaitpy import (
    Entry,
    Err,
    HookTimeout,
    Ok,
    PendingHook,
    ResumeState,
    Runner,
    Step,
    UnknownHook,
    UnknownStep,
    Won,
    append_entries,
    create_hook,
    first_of,
    forget,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    rewind,
)


async def flow(step: Step[PendingHook]) -> list[Any]:
    calls.append("body")
    one = await step("one", lambda: calls.append("one") or 1)
    hook = await step("open", create_hook, new_id=lambda: f"h{len(calls)}")
    answer = await step("wait", pending_hook, hook.hook_id)
    two = await step("two", lambda: calls.append("two") or 2)
    return [one, answer, two]


calls: list[str] = []


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def finished(story: Any) -> Any:
    story.begin(flow)
    (hook_id,) = get_pending_hooks(story.state)
    story.deliver(hook_id, "yes")
    assert story.go_on() == Ok([1, "yes", 2])
    return hook_id


def test_a_forgotten_step_runs_again_and_no_other(story):
    finished(story)
    before = story.state
    story.state = forget(before, "one")
    assert story.state.status == "interrupted"
    assert list(before.steps) == ["one", "open", "wait", "two"]
    assert list(story.state.steps) == ["open", "wait", "two"]
    assert story.go_on() == Ok([1, "yes", 2])
    assert calls.count("one") == 2
    assert calls.count("two") == 1


def test_a_forgotten_answer_is_waited_for_anew(story):
    hook_id = finished(story)
    story.state = forget(story.state, "wait")
    assert isinstance(story.go_on().unwrap_err(), PendingHook)
    story.deliver(hook_id, "no")
    assert story.go_on() == Ok([1, "no", 2])
    assert calls.count("two") == 1


def test_a_forgotten_hook_is_gone(story):
    hook_id = finished(story)
    story.state = forget(forget(story.state, "wait"), "open")
    with pytest.raises(UnknownHook):
        story.deliver(hook_id, "no")
    story.go_on()
    assert get_pending_hooks(story.state) != [hook_id]


def test_a_forgotten_hook_that_was_answered_stays_gone(story):
    hook_id = finished(story)
    story.state = forget(story.state, "open")
    with pytest.raises(UnknownHook):
        story.deliver(hook_id, "no")


def test_rewinding_drops_a_step_and_all_after_it(story):
    finished(story)
    before = story.state
    story.state = rewind(forget(before, "two"), "open")
    assert list(story.state.steps) == ["one"]
    assert story.state.forgotten == ("two",)
    assert not story.state.hooks
    assert not story.state.closed
    assert isinstance(story.go_on().unwrap_err(), PendingHook)
    assert list(before.steps) == ["one", "open", "wait", "two"]
    assert calls.count("one") == 1


def test_a_rewound_step_is_no_forgotten_one(story):
    finished(story)
    again = rewind(story.state, "two")
    assert again.forgotten == ()
    assert again.status == "interrupted"


def test_a_state_that_still_runs_keeps_its_status(story):
    story.begin(flow)
    assert forget(story.state, "one").status == "suspended"
    assert rewind(story.state, "one").status == "suspended"


@pytest.mark.parametrize("verb", [forget, rewind])
def test_a_key_that_is_not_there_is_unknown(story, verb):
    story.begin(flow)
    with pytest.raises(UnknownStep, match="'nothing'") as caught:
        verb(story.state, "nothing")
    assert caught.value.key == "nothing"


# --- a state made again of its entries ------------------------------------------------------------


async def long(step: Step[PendingHook]) -> list[Any]:
    await step("plain", lambda: 1)
    await step("open", create_hook, new_id=lambda: "one")
    await step("open-many", create_hook, many=True, new_id=lambda: "many")
    first = await step("wait", pending_hook, "one")
    several = [await step(f"many-{i}", pending_hook, "many") for i in range(2)]
    late = await step.attempt("late", pending_hook, "late", timeout=60)
    race = await step("race", first_of, pending_hook("a"), pending_hook("b"))
    await step("end", pending_hook, "end")
    return [first, several, late, race]


def test_entries_given_to_checkpoint_make_the_state_again_after_a_crash(story):
    kept: list[Entry] = []
    story.runner = Runner(clock=lambda: story.now, run_id="r", checkpoint=kept.append)
    begun = story.runner.start(long)
    story.begin(long)
    for hook_id, value, delivery_id in (("many", "x", "d-1"), ("many", "y", None), ("one", 1, None)):
        story.deliver(hook_id, value, delivery_id=delivery_id)
    story.go_on()
    story.later(seconds=60)
    story.go_on()
    story.deliver("b", 2)
    story.go_on()
    made = append_entries(begun, *kept)
    assert list(made.steps) == list(story.state.steps)
    assert made.closed.items() <= story.state.closed.items()
    assert set(made.hooks) <= set(story.state.hooks)
    assert made.hooks["many"].taken == ("d-1",)
    assert append_entries(made, *kept) is made
    story.state = ResumeState.from_bytes(made.to_bytes())
    story.go_on()
    story.deliver("end", None)
    result = story.go_on().unwrap()
    assert result[0] == 1
    assert result[1] == ["x", "y"]
    assert isinstance(result[2].error, HookTimeout)
    assert result[3] == Won("b", 2)


def test_entries_that_come_in_parts_make_the_same_state(story):
    kept: list[Entry] = []
    story.runner = Runner(clock=lambda: story.now, run_id="r", checkpoint=kept.append)
    story.begin(long)
    begun = story.runner.start(long)
    at_once, bit_by_bit = append_entries(begun, *kept), begun
    for entry in kept:
        bit_by_bit = append_entries(bit_by_bit, entry)
    assert bit_by_bit.steps == at_once.steps
    assert bit_by_bit.hooks == at_once.hooks
    assert bit_by_bit.closed == at_once.closed
    assert at_once.status == "running"


def test_an_entry_for_a_hook_that_already_waits_leaves_it_waiting(story, stories):
    async def waits(step: Step[PendingHook]) -> Any:
        return await step("wait", pending_hook, "one")

    creator = stories()
    creator.begin(long)
    story.begin(waits)
    more = append_entries(story.state, creator.state.steps["open"])
    assert more.hooks == story.state.hooks
    assert get_pending_hooks(more) == ["one"]


def test_a_timeout_of_a_race_closes_its_rivals_as_expired(story):
    async def race(step: Step[PendingHook]) -> Any:
        return await step.attempt(
            "race", first_of, pending_hook("a", timeout=1), pending_hook("b", timeout=1)
        )

    story.begin(race)
    story.later(seconds=1)
    result = story.go_on()
    assert isinstance(result.unwrap(), Err)
    story.state = forget(story.state, "race")
    story.go_on()
    assert get_pending_hooks(story.state) == ["a", "b"]
    assert inject_hook(story.state, "b", 1, now=story.now).revision > story.state.revision
