"""The arguments of a run are recorded, its result too: both come back exactly or are refused."""

from __future__ import annotations

import collections
import functools
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import attrs
import pytest

from awaitpy import (
    Err,
    JournalError,
    Ok,
    PendingHook,
    Result,
    ResumeState,
    Runner,
    Step,
    UnreadableEntry,
    WorkflowMismatch,
    inject_hook,
    pending_hook,
    resume,
    run,
    workflow,
)

if TYPE_CHECKING:
    from nowhere import Missing


@attrs.frozen
class Order:
    id: str
    at: datetime | None = None


@attrs.frozen
class Declined:
    why: str


@attrs.frozen
class Late:
    why: str


Untyped = collections.namedtuple("Untyped", "x y")  # noqa: PYI024  what older code has
NOON = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Paris"))
SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


async def legs(flow: Any, *args: Any, **kwargs: Any) -> Any:
    """Start, go through bytes, deliver, go through JSON, end; give the last outcome."""
    first = await run(flow, *args, **kwargs)
    assert isinstance(first.result.error, PendingHook), first.result
    state = inject_hook(ResumeState.from_bytes(first.state.to_bytes()), "h", 1)
    last = await resume(flow, ResumeState.from_json(state.to_json()))
    assert SEEN[0] == SEEN[1]
    assert repr(SEEN[0]) == repr(SEEN[1])
    return last


async def typed(
    step: Step[PendingHook], order: Order, count: int = 1, *more: Order, note: str = "", **rest: Order
) -> None:
    SEEN.append((order, count, more, note, rest))
    await step("wait", pending_hook, "h")


async def test_arguments_of_all_kinds_come_back_with_their_types():
    await legs(typed, Order("1", NOON), 5, Order("2"), Order("3", NOON), note="n", extra=Order("4"))
    assert SEEN[1] == (Order("1", NOON), 5, (Order("2"), Order("3", NOON)), "n", {"extra": Order("4")})
    assert SEEN[1][0].at.hour == 12


async def test_defaults_are_not_recorded():
    await legs(typed, Order("1"))
    state = Runner().start(typed, Order("1"))
    assert len(state.args) == 1
    assert not state.kwargs


async def test_arguments_may_be_given_by_name():
    await legs(typed, order=Order("1"), count=2)
    assert SEEN[1] == (Order("1"), 2, (), "", {})


async def test_a_name_that_means_something_in_json_is_only_a_name():
    async def flow(step: Step[PendingHook], **rest: Any) -> None:
        SEEN.append(rest)
        await step("wait", pending_hook, "h")

    for rest in ({"$float": {"$bytes": "eA=="}}, {"$time": 1, "$map": [["$ext", {1: 2}]]}):
        SEEN.clear()
        await legs(flow, **rest)
        assert SEEN[1] == rest


async def test_arguments_without_annotation_are_plain_values():
    async def flow(step, order, *more, **rest):
        SEEN.append((order, more, rest))
        await step("wait", pending_hook, "h")

    await legs(flow, {"a": [1]}, "b", c=None)
    for args, kwargs, name in (((Order("1"),), {}, "1"), ((1, (2,)), {}, "2"), ((1,), {"c": {3}}, "'c'")):
        with pytest.raises(JournalError, match=f"Argument {name} of workflow"):
            await run(flow, *args, **kwargs)


class Service:
    def __init__(self, client: object) -> None:
        self.client = client

    async def method(self, step: Step[PendingHook], order: Order) -> Order:
        SEEN.append(order)
        await step("wait", pending_hook, "h")
        return order

    async def __call__(self, step: Step[PendingHook], order: Order) -> Order:
        return await self.method(step, order)


async def bound(step: Step[PendingHook], order: Order, *, client: object) -> Order:
    SEEN.append(order)
    assert client is not None
    await step("wait", pending_hook, "h")
    return order


async def first_bound(client: object, step: Step[PendingHook], order: Order) -> Order:
    return await bound(step, order, client=client)


@pytest.mark.parametrize(
    "flow",
    [
        Service(object()).method,
        Service(object()),
        functools.partial(bound, client=object()),
        functools.partial(first_bound, object()),
        functools.partial(functools.partial(first_bound), object()),
        functools.partial(Service(object()).method),
    ],
    ids=["method", "callable", "keyword", "positional", "nested", "method in a partial"],
)
async def test_what_a_partial_or_a_method_binds_is_not_recorded(flow):
    last = await legs(flow, Order("1", NOON))
    assert last.result == Ok(Order("1", NOON))
    again = await resume(flow, ResumeState.from_bytes(last.state.to_bytes()))
    assert again.result == Ok(Order("1", NOON))
    assert len(SEEN) == 2


@pytest.mark.parametrize(
    ("args", "kwargs", "name", "path"),
    [
        ((5,), {}, "1", "$"),
        (({"id": "1"},), {}, "1", "$"),
        ((Order("1"), True), {}, "2", "$"),
        ((Order("1"), 2, "x"), {}, "3", "$"),
        ((Order("1"),), {"note": 5}, "'note'", "$"),
        ((Order("1"),), {"more": 5}, "'more'", "$"),
        ((Order(5),), {}, "1", "$.id"),
    ],
)
async def test_an_argument_that_would_come_back_changed_is_refused_before_anything_runs(
    args, kwargs, name, path
):
    with pytest.raises(JournalError) as caught:
        await run(typed, *args, **kwargs)
    assert caught.value.path == path
    assert f"Argument {name} of workflow 'typed'" in str(caught.value)
    assert caught.value.mend in str(caught.value)
    assert not SEEN


async def only(step: Step[PendingHook], order: Order) -> None:
    SEEN.append(order)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((Order("1"), 2), {}), ((Order("1"),), {"x": 1})])
async def test_arguments_that_the_workflow_does_not_take_are_a_type_error(args, kwargs):
    with pytest.raises(TypeError):
        await run(only, *args, **kwargs)
    assert not SEEN


async def unknown(step: Step[PendingHook], order: Missing) -> None:
    await step("wait", pending_hook, "h")


async def misspelt(step: Step[PendingHook], order: Order.Wrong) -> None:
    await step("wait", pending_hook, "h")


@pytest.mark.parametrize("flow", [unknown, misspelt])
async def test_an_annotation_that_can_not_be_found_is_named(flow):
    with pytest.raises(JournalError, match=f"Argument 1 of workflow '{flow.__name__}'"):
        await run(flow, 5)


async def test_arguments_that_the_code_reads_no_more_end_the_run_unread():
    @workflow(name="orders")
    async def before(step: Step[PendingHook], order: Order) -> None:
        await step("wait", pending_hook, "h")

    @workflow(name="orders")
    async def after(step: Step[PendingHook], order: int) -> None:
        raise AssertionError

    @workflow(name="orders")
    async def lost(step: Step[PendingHook], order: Missing) -> None:
        raise AssertionError

    state = (await run(before, Order("1"))).state
    for flow in (after, lost):
        outcome = await resume(flow, state)
        assert isinstance(outcome.result.error, UnreadableEntry)
        assert outcome.result.error.key == "the arguments"
        assert outcome.state.status == "interrupted"
        assert isinstance((await resume(before, outcome.state)).result.error, PendingHook)


async def test_a_state_of_another_workflow_is_refused():
    state = (await run(typed, Order("1"))).state
    outcome = await resume(only, state)
    assert outcome.result == Err(WorkflowMismatch("typed", "only"))


# --- results --------------------------------------------------------------------------------------


async def ended(flow: Any) -> Any:
    """Run to the end, and give the result that a resume over the stored state gives."""
    outcome = await run(flow)
    assert outcome.state.status in {"completed", "failed"}
    for state in (
        ResumeState.from_bytes(outcome.state.to_bytes()),
        ResumeState.from_json(outcome.state.to_json()),
    ):
        again = await resume(flow, state)
        assert again.state == outcome.state
        assert again.result == outcome.result
        assert repr(again.result) == repr(outcome.result)
    return outcome


async def test_a_result_of_its_type_is_restored_without_the_body():
    async def flow(step: Step[None]) -> Order:
        SEEN.append(1)
        return Order("1", NOON)

    outcome = await ended(flow)
    assert outcome.result == Ok(Order("1", NOON))
    assert SEEN == [1]


async def test_a_workflow_may_return_a_result_of_its_own():
    async def flow(step: Step[None]) -> Result[Order, Declined]:
        return Err(Declined("no"))

    assert (await ended(flow)).result == Ok(Err(Declined("no")))


@pytest.mark.parametrize("value", [(1, 2), {1}, Order("1"), NOON, 2**70])
async def test_a_result_that_no_type_restores_comes_from_a_replay_that_runs_no_step(value):
    async def flow(step):
        await step("once", SEEN.append, 1)
        return value

    assert (await ended(flow)).result == Ok(value)
    assert SEEN == [1]


async def test_a_result_annotated_with_what_cannot_be_read_comes_from_a_replay_too():
    async def of_untyped(step) -> Untyped:
        return Untyped(1, "a")

    async def of_missing(step) -> Missing:
        return 5

    async def misspelt_result(step) -> Order.Wrong:
        return 5

    assert (await ended(of_untyped)).result == Ok(Untyped(1, "a"))
    assert (await ended(of_missing)).result == Ok(5)
    assert (await ended(misspelt_result)).result == Ok(5)


async def decline() -> Result[int, Declined]:
    return Err(Declined("no"))


async def test_a_typed_error_is_restored_without_the_body():
    async def flow(step: Step[Declined | Late | PendingHook]) -> int:
        SEEN.append(1)
        return await step("charge", decline)

    assert (await ended(flow)).result == Err(Declined("no"))
    assert SEEN == [1]


async def test_an_error_of_an_undeclared_type_comes_from_a_replay():
    async def undeclared(step) -> int:
        return await step("charge", decline)

    async def anything(step: Step[Any]) -> int:
        return await step("charge", decline)

    async def nothing(step: Step[PendingHook]) -> int:
        return await step("charge", decline)

    async def missing(step: Step[Missing]) -> int:
        return await step("charge", decline)

    for flow in (undeclared, anything, nothing, missing):
        assert (await ended(flow)).result == Err(Declined("no"))


async def test_a_workflow_of_another_result_type_gives_the_result_of_its_replay():
    @workflow(name="orders")
    async def before(step: Step[None]) -> Order:
        return Order("1")

    @workflow(name="orders")
    async def after(step: Step[None]) -> int:
        return 5

    state = (await run(before)).state
    assert (await resume(after, state)).result == Ok(5)


async def test_a_workflow_without_parameters_is_a_type_error():
    async def flow() -> None: ...

    with pytest.raises(TypeError):
        await run(flow)


async def test_a_name_and_a_version_may_be_declared():
    @workflow(name="shop.checkout", version=3)
    async def flow(step: Step[PendingHook]) -> None:
        await step("wait", pending_hook, "h")

    @workflow()
    async def named_by_itself(step: Step[PendingHook]) -> None:
        await step("wait", pending_hook, "h")

    state = (await run(functools.partial(flow))).state
    assert (state.workflow, state.version) == ("shop.checkout", 3)
    assert (await run(named_by_itself)).state.workflow == named_by_itself.__qualname__
    assert (await run(Service(None), Order("1"))).state.workflow == "Service.__call__"


async def test_an_argument_too_many_is_a_type_error_whatever_its_type():
    async def flow(step) -> int:
        return 1

    with pytest.raises(TypeError, match="too many positional arguments"):
        await run(flow, object())


async def test_an_argument_may_have_the_name_that_other_workflows_give_to_step():
    async def flow(s: Step[PendingHook], step: int) -> int:
        return step

    outcome = await run(flow, step=3)
    again = await resume(flow, ResumeState.from_bytes(outcome.state.to_bytes()))
    assert outcome.result == again.result == Ok(3)
