"""Errors read well: one paragraph that names the thing, the cause and the mend, pinned word for word."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pytest

from awaitpy import (
    Cancelled,
    DuplicateStepKey,
    Err,
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
    Ok,
    PayloadMisfit,
    PendingHook,
    PendingTimer,
    Result,
    Retry,
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
    create_hook,
    first_of,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    resume,
    run,
    workflow,
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
UNWRITABLE = (
    " If its class is meant, say how it is written and read: Runner(converter=...), see make_converter."
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
    assert text.removesuffix(UNWRITABLE).endswith((named, NAMED))
    assert text.endswith(UNWRITABLE) == problem.endswith("encoded.")


def unresolvable() -> Invoice:
    return 1


async def test_an_annotation_that_cannot_be_resolved_is_told_with_its_function_and_its_name():
    text = await text_of(unresolvable)
    assert text.startswith("Step 'total' ")
    for part in ("unresolvable", "'Invoice'", "step.options(returns=...)", "TYPE_CHECKING"):
        assert part in text


async def test_the_error_of_a_result_that_its_annotation_does_not_declare_is_told():
    def charge() -> Result[int, Base]:
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
    (UnreadableEntry("the arguments", "Expected `int`, got `str`."), ["recorded arguments",
     "Expected `int`", "change_argument"]),
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


# --- mistakes of a first hour ---------------------------------------------------------------------


async def told(body: Any, **settings: Any) -> str:
    """The text with which a run of this body is interrupted."""

    async def flow(step: Step[Any]) -> Any:
        return await body(step)

    outcome = await Runner(**settings).run(flow)
    assert isinstance(outcome.result.unwrap_err(), UnexpectedError)
    assert outcome.state.status == "interrupted"
    assert not outcome.state.steps
    return str(outcome.result.unwrap_err())


def one() -> int:
    return 1


@pytest.mark.parametrize("given", [1, [1], {"a": 1}], ids=repr)
@pytest.mark.parametrize("retry", [None, Retry(delay=0)], ids=["once", "retried"])
async def test_the_result_of_a_function_in_place_of_the_function_is_told(given, retry):
    starts: list[Any] = []
    text = await told(lambda step: step.options(retry=retry)("a", given), on_event=starts.append)
    assert text == (
        f"Step 'a' was given {article(given)}, which can't be called. Hand over the function, and "
        "its arguments after it: step(key, fn, argument), not step(key, fn(argument))."
    )
    assert [event.name for event in starts].count("step.started") == 1


def article(value: Any) -> str:
    return {"int": "an int", "list": "a list", "dict": "a dict"}[type(value).__name__]


async def test_a_branch_of_a_race_that_is_no_function_is_told():
    text = await told(lambda step: step.race("first", {"a": 1}))
    assert "Branch 'a' of step.race('first') is an int, which can't be called." in text
    assert "{'a': lambda s: s(key, fn)}" in text


async def test_a_workflow_that_is_not_async_is_told():
    def flow(step: Step[Any]) -> int:
        return 1

    async def endless(step: Step[Any]) -> Any:
        yield 1

    for body, what in ((flow, "an int"), (endless, "an async_generator")):
        text = str((await run(body)).result.unwrap_err())
        assert text == (
            f"The workflow gave {what}, which can't be awaited. Write it as `async def`, without `yield`."
        )


async def test_a_step_that_was_not_awaited_is_no_result():
    text = await told(lambda step: later(step("a", one)))
    assert text == (
        "The workflow returned a coroutine that nobody has awaited, so what it stands for has not run. "
        "Write `return await step(...)`."
    )


async def later(value: Any) -> Any:
    return value


@pytest.mark.parametrize("given", [only_step.__name__, 5])
async def test_what_is_no_workflow_is_told(given):
    with pytest.raises(TypeError, match=r"A workflow is an async function .*, not .*run\(flow, 1\)"):
        await run(given)
    with pytest.raises(TypeError, match="A workflow is an async function"):
        await resume(given, Runner().start(only_step))


@pytest.mark.parametrize(
    ("made", "mend"),
    [
        (lambda outcome: outcome, r"not Outcome: hand over its \.state\.$"),
        (lambda outcome: outcome.state.to_bytes(), r"not bytes: make one by ResumeState\.from_bytes"),
    ],
)
async def test_what_is_no_state_is_told(made, mend):
    given = made(await run(only_step))
    with pytest.raises(TypeError, match=mend):
        await resume(only_step, given)
    for verb in (get_pending_hooks, next_wakeup, lambda given: inject_hook(given, "h", 1)):
        with pytest.raises(TypeError, match=mend):
            verb(given)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"retry": 3}, r"step.options\(retry=\) is a Retry, such as Retry\(attempts=3\), not 3."),
        (
            {"undo": "refund"},
            r"step.options\(undo=\) is a function that takes what the step gave, not 'refund'",
        ),
        ({"since": "2"}, r"step.options\(since=\) is an int, .*, not '2'"),
        ({"returns": (int, int)}, r"step.options\(returns=\) is a type, such as tuple\[int, str\], not"),
        (
            {"returns": "Order"},
            r"step.options\(returns=\) is a type, such as tuple\[int, str\], not 'Order'",
        ),
        ({"timeout": "5"}, "A duration is a timedelta or a number of seconds, not '5'."),
    ],
)
async def test_an_option_of_another_kind_is_told(options, text):
    found = await told(lambda step: step.options(**options)("a", one))
    assert re.search(text, found)


async def test_a_sleep_of_no_duration_is_told():
    assert "A duration is a timedelta or a number of seconds, not '1 day'." in await told(
        lambda step: step.sleep("a", "1 day")
    )


@pytest.mark.parametrize(
    "waits",
    [("h-1", "h-2"), (pending_hook("h-1"), "h-2"), ([pending_hook("h-1")],), (Err("h-1"),), (Ok(1),)],
)
async def test_what_is_no_wait_is_told_by_first_of(waits):
    assert "first_of takes pending_hook(...) for each hook, not " in await told(
        lambda step: step("a", first_of, *waits)
    )


async def test_a_hook_made_in_the_body_of_a_workflow_is_told():
    async def body(step: Step[Any]) -> Any:
        return await step("wait", pending_hook, create_hook().hook_id)

    assert await told(body) == (
        "create_hook() was called in the body of a workflow, where each re-run would make another id. "
        "Make it by a step: hook = await step('hook', create_hook)."
    )


async def test_an_exception_in_the_body_is_told_with_what_a_body_can_do():
    async def body(step: Step[Any]) -> Any:
        raise LookupError("no such order")

    assert await told(body) == (
        "The workflow, outside any step, raised LookupError: no such order. The body runs again on the "
        "next resume; a failure that belongs to the workflow comes from a step, by return Err(...) or "
        "catching(...)."
    )


async def test_recorded_arguments_that_the_code_no_longer_takes_are_told_with_the_ways_out():
    @workflow(name="shop")
    async def before(step: Step[PendingHook], total: int) -> None: ...

    @workflow(name="shop")
    async def after(step: Step[PendingHook], total: int, currency: str) -> None: ...

    text = str((await resume(after, Runner().start(before, 1))).result.unwrap_err())
    assert text.startswith("The recorded arguments don't fit the workflow as it is now: ")
    assert text.endswith(
        "missing 1 required positional argument: 'currency'. Give the parameters their former types, a new "
        "one a default, or migrate the run by change_argument(state, ...). Nothing new was run."
    )


def test_a_workflow_outside_of_an_event_loop_is_told_where_to_run():
    with pytest.raises(RuntimeError, match=r"A workflow runs in an asyncio task: use asyncio\.run"):
        run(only_step).send(None)


class Plain:
    pass


async def test_a_class_that_nobody_can_write_is_told_to_need_a_converter():
    def make() -> Plain:
        return Plain()

    text = await text_of(make)
    assert text.endswith(f"at $ a Plain can't be encoded. {NAMED}{UNWRITABLE}")

    async def flow(step: Step[None], plain: Plain) -> None: ...

    with pytest.raises(JournalError) as caught:
        await run(flow, Plain())
    assert str(caught.value).endswith(UNWRITABLE)


def rows() -> Iterator[int]:
    yield 1


async def rows_slowly() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("fn", [rows, rows_slowly, lambda: (n for n in (1,))])
async def test_a_generator_is_told_to_be_collected(fn):
    text = await text_of(fn)
    assert "generator" in text
    assert text.endswith("Collect what it yields within the step, and return the list.")


class HasName(Protocol):
    name: str


async def test_a_protocol_is_told_to_be_no_class():
    def make() -> HasName:
        return Base(1)

    assert "at $ HasName is a protocol, and no class that could be made again." in await text_of(make)


async def test_metadata_that_are_not_plain_are_told():
    text = await told(lambda step: step("wait", pending_hook, "h", metadata={"order": Base(1)}))
    assert text.startswith(
        "The metadata of the wait 'wait' gave a value that can't be journaled: at $['order']"
    )
    assert text.endswith("Metadata are plain data: give the fields that people need.")
