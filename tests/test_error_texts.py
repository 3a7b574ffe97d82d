"""Errors read well: one paragraph that names the thing, the cause and the mend, pinned word for word."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from awaitpy import (
    Cancelled,
    DuplicateStepKey,
    HookAlreadyResolved,
    HookExpired,
    HookRejected,
    HookTimeout,
    InvalidPayload,
    JournalError,
    MethodNotAllowed,
    MigrationFailed,
    MigrationGap,
    NotUndone,
    PayloadMisfit,
    PendingHook,
    PendingTimer,
    Result,
    RunFinished,
    Runner,
    StateError,
    Step,
    StepInterrupted,
    StepTimeout,
    SuspensionSwallowed,
    UndoFailed,
    UnexpectedError,
    UnknownHook,
    UnknownStep,
    UnreadableEntry,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
    pending_hook,
    resume,
    run,
)

if TYPE_CHECKING:
    from nowhere import Invoice

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class Base:
    x: int


@attrs.frozen
class Derived(Base):
    y: int = 0


@attrs.frozen
class Order:
    id: str
    price: float
    items: list[Any] = attrs.field(factory=list)


async def text_of(fn: Any, **options: Any) -> str:
    """The text of the refusal of a step that gives what `fn` gives."""

    async def flow(step: Step[Any]) -> None:
        bound = step.options(**options) if options else step
        await bound("total", fn)

    error = (await run(flow)).result.unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert isinstance(error.cause, JournalError)
    assert str(error) == str(error.cause)
    return str(error)


# --- drift ----------------------------------------------------------------------------------------


async def drift(before: list[str], after: list[str]) -> str:
    async def flow(step: Step[PendingHook]) -> None:
        for key in keys:
            await step(key, lambda: 1)
        await step("wait", pending_hook, "h")

    keys = before
    state = (await run(flow)).state
    keys = after
    error = (await resume(flow, state)).result.unwrap_err()
    assert isinstance(error, WorkflowDrift)
    return str(error)


async def test_a_renamed_step_is_told_with_its_nearest_key_and_the_ways_out():
    assert await drift(["create-order"], ["create-orders"]) == (
        "The workflow is about to run the new step 'create-orders', but its state has the step "
        "'create-order' that this run has not asked for, so the code has changed since. The nearest "
        "journaled key is 'create-order': was it renamed? Restore the key, or say what you mean: "
        "step.options(since=...) if 'create-orders' was added, Runner(retired={'create-order'}) if that "
        "step is gone for good, forget(state, 'create-order') to drop its result. Nothing was run or "
        "changed."
    )


async def test_a_step_without_a_namesake_and_several_left_over_are_told_so():
    assert await drift(["reserve", "charge", "notify"], ["xyz"]) == (
        "The workflow is about to run the new step 'xyz', but its state has the step 'reserve' (and 2 "
        "more) that this run has not asked for, so the code has changed since. Restore the key, or say "
        "what you mean: step.options(since=...) if 'xyz' was added, Runner(retired={'reserve'}) if that "
        "step is gone for good, forget(state, 'reserve') to drop its result. Nothing was run or changed."
    )


async def test_a_run_that_ended_without_asking_for_a_step_is_told_so():
    async def flow(step: Step[PendingHook]) -> None:
        if long:
            await step("reserve", lambda: 1)
            await step("wait", pending_hook, "h")

    long = True
    state = (await run(flow)).state
    long = False
    assert str((await resume(flow, state)).result.unwrap_err()) == (
        "The workflow has ended, but its state has the step 'reserve' that this run has not asked for, "
        "so the code has changed since. Restore the key, or say what you mean: "
        "Runner(retired={'reserve'}) if that step is gone for good, forget(state, 'reserve') to drop its "
        "result. Nothing was run or changed."
    )


# --- values that can't be journaled ---------------------------------------------------------------

NAMED = (
    "Nothing was journaled for it. Return exactly what the annotation names, or name the type that the "
    "value has: in the annotation, or by step.options(returns=...)."
)
UNNAMED = (
    "Nothing was journaled for it. Name the type: annotate the function's return (a lambda has none), or "
    "use step.options(returns=...)."
)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ((1, 2), "at $ a tuple needs a type to be restored."),
        ({"a": [1, {2}]}, "at $['a'][1] a set needs a type to be restored."),
        (Order("1", 1.0), "at $ an Order needs a type to be restored."),
        ({(1, 2): 3}, "at $[key (1, 2)] a key is a tuple, and only str and int survive."),
        ({None: 1}, "at $[key None] a key is None, and only str and int survive."),
    ],
)
async def test_a_value_without_a_type_is_told_to_need_one(value, problem):
    assert await text_of(lambda: value) == (
        f"Step 'total' gave a value that can't be journaled: {problem} {UNNAMED}"
    )


@pytest.mark.parametrize(
    ("tp", "value", "problem"),
    [
        (Base, Derived(1), "at $ a Derived would come back as a Base."),
        (Order, Order("1", 1), "at $.price an int would come back as a float."),
        (Order, Order("1", 1.0, [(1,)]), "at $.items[0] a tuple would come back as a list."),
        (float, True, "at $ Expected `float`, got `bool`."),
        (list[int], [1, "a"], "at $[1] Expected `int`, got `str`."),
        (object, object(), "at $ an object needs a type to be restored."),
        (Order, Order("1", 1.0, [object()]), "at $.items[0] an object can't be encoded."),
        (type, int, "at $ a type can't be encoded."),
    ],
)
async def test_what_an_annotation_hides_is_told_with_its_place(tp, value, problem):
    named = NAMED if tp is not object else UNNAMED
    text = await text_of(lambda: value, returns=tp)
    assert text.startswith(f"Step 'total' gave a value that can't be journaled: {problem} ")
    assert text.endswith((named, NAMED))


def unresolvable() -> Invoice:
    return 1


async def test_an_annotation_that_cannot_be_resolved_is_told_with_its_function_and_its_name():
    text = await text_of(unresolvable)
    assert text.startswith("Step 'total' ")
    for part in ("unresolvable", "'Invoice'", "step.options(returns=...)", "TYPE_CHECKING"):
        assert part in text


async def test_the_error_of_a_result_that_its_annotation_does_not_declare_is_told():
    def charge() -> Result[int, Base]:
        from awaitpy import Err

        return Err(Order("1", 1.0))

    assert await text_of(charge) == (
        "Step 'total' gave a value that can't be journaled: at $ Object missing required field `x`. "
        f"{NAMED}"
    )


async def test_an_argument_is_told_with_its_place_and_its_workflow():
    async def flow(step: Step[None], order: Base) -> None: ...

    with pytest.raises(JournalError) as caught:
        await run(flow, Derived(1))
    assert str(caught.value) == (
        f"Argument 1 of workflow {flow.__qualname__!r} gave a value that can't be journaled: at $ a "
        "Derived would come back as a Base. Nothing was journaled for it. Annotate the parameter with "
        "exactly the type that is given."
    )


# --- every error ----------------------------------------------------------------------------------

ERRORS: list[tuple[object, list[str]]] = [
    (InvalidPayload("h-1", "$.a", "Expected `int`, got `str`"), ["'h-1'", "$.a",
     "Expected `int`", "still pending", "send"]),
    (UnknownHook("h-1", "r-1"), ["'h-1'", "'r-1'", "never had", "Check"]),
    (MethodNotAllowed("h-1", "GET", ("POST", "PUT")), ["'h-1'", "GET", "POST, PUT"]),
    (HookAlreadyResolved("h-1"), ["'h-1'", "another delivery", "create_hook(many=True)"]),
    (RunFinished("h-1", "r-1", "completed"), ["'r-1'", "completed", "'h-1'"]),
    (HookExpired("h-1", NOON), ["'h-1'", NOON.isoformat(), "too late", "Resume"]),
    (HookExpired("h-1"), ["'h-1'", "expired", "Resume"]),
    (JournalError("Step 'a'", "$.b", "it is odd", "Mend it."), ["Step 'a'", "$.b", "it is odd",
     "Mend it."]),
    (DuplicateStepKey("a"), ["'a'", "twice", "f'a-{i}'", "step.scope(name)"]),
    (UnknownStep("a", "r-1"), ["'r-1'", "'a'", "state.steps"]),
    (UnknownStep("a", "r-1", " Say missing_ok=True."), ["state.steps", "missing_ok=True"]),
    (DuplicateStepKey("b", "Step 'a' can't be renamed to 'b'."), ["'a'", "'b'"]),
    (MigrationFailed("It raised ValueError: no. Nothing was run."), ["ValueError", "Nothing was run"]),
    (SuspensionSwallowed(("h-1", "h-2")), ["'h-1', 'h-2'", "caught its own suspension",
     "except Exception"]),
    (PendingHook("h-1", "wait", None, NOON), ["'wait'", "'h-1'", NOON.isoformat(), "inject_hook"]),
    (PendingHook("h-1", "wait"), ["'wait'", "'h-1'", "inject_hook"]),
    (HookTimeout("h-1", "wait", NOON), ["'wait'", "'h-1'", NOON.isoformat(), "step.attempt"]),
    (HookRejected("h-1", "wait", "not the manager", 403), ["'wait'", "'h-1'", "not the manager", "403"]),
    (PayloadMisfit("h-1", "wait", "$.a", "Expected `int`"), ["'h-1'", "'wait'", "$.a",
     "Expected `int`", "payload="]),
    (UnexpectedError("charge", ValueError("no card")), ["'charge'", "ValueError", "no card",
     "next resume", "catching"]),
    (UnexpectedError(None, ValueError("no card")), ["outside any step", "ValueError", "no card",
     "next resume"]),
    (WorkflowDrift("b", "a", ("a",), "a"), ["'a'", "'b'", "renamed", "forget", "since", "retired"]),
    (VersionMismatch("shop", 3, 2), ["'shop'", "version 3", "version 2", "Nothing was run"]),
    (MigrationGap("shop", 1, 4, (1, 3)), ["'shop'", "version 1", "version 4", "from version 1 to 2",
     "nor from 3", "@workflow(migrations={1: ...})", "Nothing was run"]),
    (WorkflowMismatch("shop", "store"), ["'shop'", "'store'", "@workflow(name='shop')"]),
    (PendingTimer("nap", NOON), ["'nap'", "sleeps until", NOON.isoformat(), "next_wakeup"]),
    (PendingTimer("charge", NOON, 2), ["'charge'", "tried again", NOON.isoformat(), "attempt 2"]),
    (PendingTimer("charge"), ["'charge'", "its time"]),
    (StepTimeout("charge", 1.5), ["'charge'", "1.5 seconds", "timeout=", "retry=", "step.attempt"]),
    (StepInterrupted("charge", 2), ["'charge'", "Attempt 2", "forget(state, 'charge')", "step.attempt"]),
    (Cancelled("too late"), ["cancelled", "too late", "undone"]),
    (Cancelled(), ["cancelled from outside."]),
    (NotUndone("charge", "it is gone."), ["'charge'", "not undone", "it is gone."]),
    (UndoFailed(HookTimeout("h-1", "w", NOON), (NotUndone("charge", "down"), NotUndone("b", "x"))),
     ["HookTimeout", "'charge'", "down", "'b'", "by hand"]),
    (UnreadableEntry("charge", "Expected `int`, got `str`"), ["'charge'", "Expected `int`",
     "forget(state, 'charge')"]),
]  # fmt: skip


@pytest.mark.parametrize(("error", "parts"), ERRORS, ids=lambda part: type(part).__name__)
def test_every_error_is_one_paragraph_that_names_thing_cause_and_mend(error, parts):
    text = str(error)
    assert "\n" not in text
    assert "  " not in text
    assert text.endswith(".")
    assert re.match(r"[A-Z]", text)
    for part in parts:
        assert part in text


def test_the_list_above_has_every_error():
    import awaitpy
    from awaitpy import errors

    told = {type(error) for error, _ in ERRORS}
    families = {errors.AwaitpyError, errors.HookError, errors.StateError, errors.StepMisuse}
    public = {getattr(awaitpy, name) for name in awaitpy.__all__}
    kinds = public.intersection(getattr(errors, name) for name in errors.__all__) - {errors.RunError}
    assert kinds - families == told - {MigrationFailed}  # which is defined beside what raises it


def test_the_text_of_bytes_that_are_no_state_names_cause_and_mend():
    from awaitpy import ResumeState

    with pytest.raises(StateError) as caught:
        ResumeState.from_bytes(Runner().start(only_step).to_bytes()[:-1])
    assert str(caught.value) == (
        "These bytes end too early: the state is truncated. Read the whole value, or an older copy."
    )


async def only_step(step: Step[None]) -> None: ...
