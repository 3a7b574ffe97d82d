"""Law 3: a state that was made can be read, whatever value the verb that made it was given."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

import pytest

from awaitpy import (
    AwaitpyError,
    Err,
    Hook,
    InvalidPayload,
    Ok,
    PendingHook,
    ResumeState,
    Runner,
    StepMisuse,
    UnexpectedError,
    cancel,
    create_hook,
    first_of,
    inject_hook,
    pending_hook,
    rename_scope,
    rename_step,
    resume,
    run,
    workflow,
)


class Plan(StrEnum):
    BASIC = "basic"


class Old(StrEnum):
    BASIC = "basic"


class Number(IntEnum):
    TWO = 2


class Text(str):
    __slots__ = ()


class Moment(datetime):
    """A moment of a library for times, such as pendulum or pandas."""


NOW = Moment(2030, 1, 1, tzinfo=UTC)
LATER = timedelta(hours=1)
BAD = "\ud800"

VALUES = [
    *(None, True, False, 0, 1, -1, 2**63 - 1, 2**63, 2**64, 10**30, -(2**64), 1.5, math.inf, math.nan),
    *("", "text", "ab", "ä/b", BAD, b"", b"text", (), ("a",), [], ["a"], [BAD], {}, {"a": 1}, {BAD: 1}),
    *(Plan.BASIC, Old.BASIC, Number.TWO, Text("text"), NOW, datetime(2030, 1, 1), datetime.max, LATER),  # noqa: DTZ001, DTZ901  a naive one is under test
    *(timedelta.max, -LATER, {"a"}, object(), str),
]


async def waits(step):
    await step("scope/made", lambda: 1)
    return await step("wait", pending_hook, "hook")


async def begun():
    return (await run(waits)).state


async def ended(flow, *args, **kwargs):
    return (await run(flow, *args, **kwargs)).state


def waiting(hook_id="hook", **terms):
    async def flow(step):
        await step("wait", pending_hook, hook_id, **terms)

    return ended(flow)


def step_with(fn, *args, **kwargs):
    return ended(_flow(fn, *args, **kwargs))


async def named(value, key="name"):
    return await ended(workflow(**{key: value})(_nothing()))


def _nothing():
    async def flow(step, *args: Any, **kwargs: Any) -> None: ...

    return flow


async def slept(value, key):
    async def flow(step):
        await getattr(step, key)("nap", value)

    return (await Runner(hold=0).run(flow)).state


async def raced(value):
    async def flow(step):
        async def branch(step):
            return await step("wait", lambda: 1)

        await step.race("race", {value: branch})

    return await ended(flow)


async def opted(value, key):
    async def flow(step):
        await step.options(**{key: value})("wait", pending_hook, "hook")

    return await ended(flow)


async def called(value, key):
    async def flow(step):
        await getattr(step, key)(value, _nothing())

    return await ended(flow)


async def mapped(value):
    async def flow(step):
        await step.map(value, lambda item: item, [1])

    return await ended(flow)


async def scoped(value):
    async def flow(step):
        await step.scope(value)("key", lambda: 1)

    return await ended(flow)


VERBS = {
    "delivery_id": lambda v: begun_then(lambda s: inject_hook(s, "hook", 1, delivery_id=v)),
    "method": lambda v: begun_then(lambda s: inject_hook(s, "hook", 1, method=v)),
    "injected": lambda v: begun_then(lambda s: inject_hook(s, "hook", v)),
    "now": lambda v: begun_then(lambda s: inject_hook(s, "hook", 1, now=v)),
    "reason": lambda v: begun_then(lambda s: cancel(s, v)),
    "rename_step": lambda v: begun_then(lambda s: rename_step(s, "scope/made", v)),
    "rename_scope": lambda v: begun_then(lambda s: rename_scope(s, "scope", v)),
    "clock": lambda v: Runner(clock=lambda: v).run(waits),
    "run_id": lambda v: Runner(run_id=v).run(waits),
    "version": lambda v: Runner(version=v).run(waits),
    "retired": lambda v: Runner(retired=v).run(waits),
    "hold": lambda v: Runner(hold=v).run(waits),
    "entropy": lambda v: Runner(entropy=lambda _: v).run(waits),
    "workflow(name=)": named,
    "workflow(version=)": lambda v: named(v, "version"),
    "argument": lambda v: ended(_nothing(), v),
    "named argument": lambda v: ended(_nothing(), **{v if isinstance(v, str) else "n": v}),
    "hook_id": lambda v: waiting(hook_id=v),
    "metadata": lambda v: waiting(metadata=v),
    "metadata key": lambda v: waiting(metadata={v: 1}),
    "timeout": lambda v: waiting(timeout=v),
    "methods": lambda v: waiting(methods=v),
    "a method": lambda v: waiting(methods=[v]),
    "many": lambda v: waiting(many=v),
    "first_of": lambda v: step_with(lambda: first_of(pending_hook(v), pending_hook("other"))),
    "new_id": lambda v: step_with(create_hook, new_id=lambda: v),
    "create_hook(many=)": lambda v: step_with(create_hook, many=v),
    "Hook": lambda v: step_with(lambda: Hook(v, f"hook:{v}")),
    "given": lambda v: step_with(lambda: v),
    "error": lambda v: step_with(lambda: Err(v)),
    "sleep": lambda v: slept(v, "sleep"),
    "sleep_until": lambda v: slept(v, "sleep_until"),
    "branch": raced,
    "step timeout": lambda v: opted(v, "timeout"),
    "since": lambda v: opted(v, "since"),
    "child": lambda v: called(v, "child"),
    "step": lambda v: called(v, "__call__"),
    "map": mapped,
    "scope": scoped,
}


async def begun_then(verb):
    state = await begun()
    before = state.to_bytes()
    try:
        return verb(state)
    finally:
        assert state.to_bytes() == before


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_takes_makes_a_state_that_can_be_read(verb):
    for made in filter(None, [_made(VERBS[verb], value) for value in VALUES]):
        assert ResumeState.from_bytes(made.to_bytes()) == made
        assert ResumeState.from_json(made.to_json()) == made


def _made(verb, value):
    """The state that a verb makes; None if it refuses the value."""

    async def play():
        made = await verb(value)
        return made if isinstance(made, ResumeState) else made.state

    try:
        return asyncio.run(play())
    except (TypeError, ValueError, AttributeError, OverflowError, AwaitpyError) as refused:
        return None if str(refused) else pytest.fail("it was refused without a word")


# --- how it is told -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda s: inject_hook(s, "hook", 1, delivery_id=5),
            TypeError,
            "delivery_id is a str, not 5. Give str(the id that the sender sent), or none.",
        ),
        (
            lambda s: cancel(s, None),
            TypeError,
            "The reason of a cancellation is a str, not None. Say why in words, or leave it out.",
        ),
        (
            lambda s: cancel(s, BAD),
            ValueError,
            (
                "The reason of a cancellation is '\\ud800', which has half of a surrogate pair. Say why "
                "in words, or leave it out."
            ),
        ),
        (
            lambda s: inject_hook(s, "hook", 1, now=math.inf),
            ValueError,
            "A time is an aware datetime or epoch seconds, not inf.",
        ),
        (
            lambda s: Runner(run_id=5),
            TypeError,
            (
                "run_id= is a str, not 5. Give a text that is the run's own, such as the id of its order; "
                "without it one is made."
            ),
        ),
        (
            lambda s: Runner(run_id=""),
            ValueError,
            (
                "run_id= is empty. Give a text that is the run's own, such as the id of its order; "
                "without it one is made."
            ),
        ),
        (
            lambda s: Runner(version="2"),
            TypeError,
            "version= is an int, not '2'. Count versions 1, 2, 3.",
        ),
        (
            lambda s: workflow(version=2**64),
            ValueError,
            "version= needs more than 64 bits. Count versions 1, 2, 3.",
        ),
        (
            lambda s: workflow(name=5),
            TypeError,
            "name= is a str, not 5. Name the workflow by a text that stays, or leave it out.",
        ),
        (
            lambda s: Runner(retired="key"),
            TypeError,
            "retired= is 'key', one str: give a set of keys, such as {'key'}.",
        ),
        (
            lambda s: Runner(hold=math.nan),
            ValueError,
            "hold= is a timedelta or seconds from 0 on, not nan.",
        ),
        (
            lambda s: create_hook(new_id=lambda: 5),
            TypeError,
            "A hook id is a str, not 5. Let new_id make a text that nobody else makes, or leave it out.",
        ),
        (
            lambda s: pending_hook(""),
            ValueError,
            "A hook id is empty. Give the hook_id that create_hook gave, or one that you keep as text.",
        ),
        (
            lambda s: pending_hook("hook", methods="POST"),
            TypeError,
            'methods= is \'POST\', one str. Give a list of names, such as methods=["POST", "PUT"].',
        ),
        (
            lambda s: pending_hook("hook", timeout=math.nan),
            ValueError,
            "timeout= is a timedelta or seconds, not nan.",
        ),
        (
            lambda s: rename_step(s, "scope/made", 5),
            StepMisuse,
            "A step key is a non-empty str of Unicode, not 5.",
        ),
    ],
)
async def test_what_no_state_can_hold_is_refused_there_and_then(call, error, text):
    state = (await run(waits)).state
    before = state.to_bytes()
    with pytest.raises(error) as refused:
        call(state)
    assert str(refused.value) == text
    assert state.to_bytes() == before


async def test_a_delivery_id_without_unicode_is_a_payload_that_does_not_fit():
    with pytest.raises(InvalidPayload):
        inject_hook((await run(waits)).state, "hook", 1, delivery_id=BAD)


@pytest.mark.parametrize("hook", [Hook(5, "hook:5"), Hook("", "hook:"), Hook("a", 5), Hook("a", "a", 1)])
async def test_a_hook_made_by_hand_with_a_field_of_another_class_ends_the_run(hook):
    outcome = await run(_flow(lambda: hook))
    error = outcome.result.unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert "Make it by create_hook" in str(error)
    assert outcome.state.status == "interrupted"


async def test_a_hook_id_that_is_no_text_ends_the_run_as_a_raise_does():
    outcome = await run(_flow(pending_hook, 5))
    assert "A hook id is a str, not 5" in str(outcome.result.unwrap_err())
    assert outcome.state.status == "interrupted"


async def test_a_text_of_another_class_is_kept_by_its_value():
    runner = Runner(run_id=Plan.BASIC, version=Number.TWO)
    state = (await runner.run(_flow(pending_hook, Plan.BASIC, methods=[Text("post")]))).state
    state = inject_hook(state, "basic", 1, delivery_id=Text("text"), now=NOW, method="POST")
    assert (state.run_id, state.version, state.pending[0].methods) == ("basic", 2, ("POST",))
    assert inject_hook(ResumeState.from_bytes(state.to_bytes()), "basic", 2, delivery_id="text") == state


async def test_branches_may_be_named_by_an_enum_that_is_text():
    async def flow(step):
        return (await step.race("race", {Text("a"): _one, Plan.BASIC: _never})).name

    first = await run(flow)
    assert first.result == Ok("a")
    assert (await resume(flow, ResumeState.from_bytes(first.state.to_bytes()))).result == Ok("a")


async def _one(step):
    return await step("one", lambda: 1)


async def _never(step):
    await step("wait", pending_hook, "hook")


def _flow(fn, *args, **kwargs):
    async def flow(step):
        await step("step", fn, *args, **kwargs)

    return flow


@pytest.mark.parametrize("hook_id", [5, None, BAD])
async def test_a_wait_that_is_made_by_hand_is_held_to_the_same(hook_id):
    async def waits(step) -> None:
        await step("wait", lambda: Err(PendingHook(hook_id)))

    outcome = await run(waits)
    assert "hook_id" in str(outcome.result.unwrap_err())
    assert ResumeState.from_bytes(outcome.state.to_bytes()) == outcome.state
