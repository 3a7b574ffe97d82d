"""A run that is started: once per id, typed as it is, and the caller's to cancel."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from awaitpy import Err, JournalError, Ok, PendingHook, UnexpectedError, WorkflowMismatch, workflow
from awaitpy.durable import Durable, DurableClosed, RunInterrupted, UnknownRun, UnknownWorkflow

from .conftest import turns, until


async def test_a_run_is_started_and_comes_to_its_wait(world):
    async with world.durable() as durable:
        outcome = await durable.start(world.pay, 4200, run_id="order-42")
        assert isinstance(outcome.result.error, PendingHook)
        assert (outcome.state.run_id, outcome.state.status) == ("order-42", "suspended")
        assert list((await durable.state("order-42")).steps) == ["first", "hook"]


async def test_the_same_id_again_is_the_same_run(world):
    async with world.durable() as durable:
        first = await durable.start(world.pay, 4200, run_id="order-42")
        again = await durable.start(world.pay, 7, run_id="order-42")
        assert again == first
        await durable.inject(first.result.error.hook_id, "paid")
        ended = await durable.start(world.pay, 4200, run_id="order-42")
        assert ended.result == Ok(["first", "paid", "last 4200"])
    assert world.ran == {"first": 1, "last 4200": 1}


async def test_without_an_id_each_start_is_a_run_of_its_own(world):
    async with world.durable() as durable:
        one, other = [await durable.start(world.plain, n) for n in (1, 2)]
        assert one.state.run_id != other.state.run_id
        assert [one.result, other.result] == [Ok(1), Ok(2)]


async def test_tasks_that_start_one_run_at_the_same_time_share_one_leg(world):
    async with world.durable() as durable:
        tasks = [asyncio.ensure_future(durable.start(world.slow, run_id="r")) for _ in range(5)]
        await until(lambda: world.ran["b begins"])
        world.gates["b"].set()
        assert [each.result for each in await asyncio.gather(*tasks)] == [Ok("c")] * 5
    assert world.ran == {"a": 1, "b begins": 1, "b": 1, "c": 1}


async def test_a_start_in_another_process_waits_until_the_run_rests(world):
    async with world.durable() as one, world.durable(world.reopened()) as other:
        first = asyncio.ensure_future(one.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
        second = asyncio.ensure_future(other.start(world.slow, run_id="r"))
        for _ in range(5):
            await turns()
            world.clock.advance(1)
        assert not second.done()
        world.gates["b"].set()
        assert (await world.clock.run(first)).result == (await world.clock.run(second)).result == Ok("c")
    assert world.ran["b"] == 1


async def test_cancelling_the_only_caller_ends_the_leg_and_keeps_its_entries(world):
    async with world.durable() as durable:
        task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list((await durable.state("r")).steps) == ["a"]
        assert (await durable.get("r")).leased_by is None
        world.gates["b"].set()
        assert (await durable.start(world.slow, run_id="r")).result == Ok("c")
    assert world.ran == {"a": 1, "b begins": 2, "b": 1, "c": 1}


async def test_cancelling_one_of_two_callers_leaves_the_run_to_the_other(world):
    async with world.durable() as durable:
        one, other = [asyncio.ensure_future(durable.start(world.slow, run_id="r")) for _ in range(2)]
        await until(lambda: world.ran["b begins"])
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        world.gates["b"].set()
        assert (await other).result == Ok("c")
    assert world.ran["b begins"] == 1


async def test_who_comes_while_a_leg_is_called_off_runs_it_again(world):
    async with world.durable() as durable:
        one = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
        one.cancel()
        await asyncio.sleep(0)
        other = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await until(one.done)
        world.gates["b"].set()
        assert (await world.clock.run(other)).result == Ok("c")


async def test_closing_ends_what_is_under_way_and_tells_who_waits(world):
    async with world.durable() as durable:
        task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
        await until(lambda: world.ran["b begins"])
    with pytest.raises(DurableClosed):
        await world.clock.run(task)
    with pytest.raises(DurableClosed, match="async with"):
        await durable.start(world.slow, run_id="r")
    async with world.durable(world.reopened()) as other:
        assert list((await other.state("r")).steps) == ["a"]


async def test_closing_is_finished_also_if_it_is_cancelled(world):
    """As by a second Ctrl-C: no thread, connection or heart is left behind."""
    durable = await world.durable().__aenter__()
    task = asyncio.ensure_future(durable.start(world.slow, run_id="r"))
    await until(lambda: world.ran["b begins"])
    closing = asyncio.ensure_future(durable.__aexit__(None, None, None))
    world.store.before = lambda verb, n: closing.cancel() if verb == "release" else None
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert world.store.asked[-1] == "close"
    assert durable._heart.done()
    with pytest.raises(DurableClosed):
        await world.clock.run(task)
    async with world.durable(world.reopened()) as other:
        assert (await other.get("r")).leased_by is None


async def test_a_typed_error_is_the_result_and_an_exception_is_unexpected(world):
    async def declines(step) -> int:
        return await step("no", lambda: Err("declined"))

    async with world.durable(workflows=[declines, world.broken]) as durable:
        assert (await durable.start(declines)).result == Err("declined")
        outcome = await durable.start(world.broken, run_id="r")
        assert isinstance(outcome.result.error, UnexpectedError)
        assert isinstance(outcome.result.error.cause, ConnectionError)


async def test_a_run_that_is_to_be_tried_again_later_is_not_tried_by_a_start(world):
    async with world.durable() as durable:
        await durable.start(world.broken, run_id="r")
        again = await durable.start(world.broken, run_id="r")
        cause = again.result.error.cause
        assert isinstance(cause, RunInterrupted)
        assert "b does not answer" in str(cause)
        assert "in fail" in cause.trouble
        assert again.state.status == "interrupted"
    assert world.ran["b"] == 1


async def test_a_start_under_the_id_of_another_workflow_is_told(world):
    async with world.durable() as durable:
        await durable.start(world.plain, 1, run_id="r")
        outcome = await durable.start(world.slow, run_id="r")
        assert outcome.result == Err(WorkflowMismatch("World.plain", "World.slow"))


async def test_what_can_not_be_started_leaves_nothing_in_the_store(world):
    async def foreign(step) -> None: ...

    async with world.durable() as durable:
        with pytest.raises(UnknownWorkflow, match="workflows="):
            await durable.start(foreign, run_id="r")
        with pytest.raises(JournalError):
            await durable.start(world.plain, object(), run_id="r")
        with pytest.raises(TypeError):
            await durable.start(world.plain, run_id="r")
        with pytest.raises(TypeError):
            await durable.start(world.plain, 1, 2, run_id="r")
        with pytest.raises(ValueError, match="empty"):
            await durable.start(world.plain, 1, run_id="")
        with pytest.raises(UnknownRun):
            await durable.state("r")
        assert await durable.get("r") is None
        assert await durable.list() == ()


def test_two_workflows_of_one_name_are_refused(world):
    with pytest.raises(ValueError, match=r"World\.plain"):
        Durable(world.store, workflows=[world.plain, partial(world.plain)])


async def test_names_of_a_start_that_the_workflow_has_too_are_told_apart(world):
    @workflow(name="tagged")
    async def tagged(step, run_id: str, *, metadata: str = "") -> list[str]:
        return [run_id, metadata]

    async with world.durable(workflows=[tagged]) as durable:
        with pytest.raises(TypeError, match="options"):
            await durable.start(tagged, run_id="r")
        starter = durable.options(run_id="r", metadata={"team": "a"})
        assert (await starter.start(tagged, run_id="x", metadata="y")).result == Ok(["x", "y"])
        assert (await durable.get("r")).metadata == {"team": "a"}
        with pytest.raises(TypeError, match="enqueue"):
            await durable.options(within=object()).start(tagged, "x")


async def test_a_workflow_may_start_another_in_a_step(world):
    async def outer(step) -> str:
        inner = await step("inner", durable_start, returns=None)
        return await step("end", world.do, inner)

    async def durable_start(*, returns: None) -> str:
        return str((await durable.start(world.plain, 7, run_id="inner")).result.unwrap())

    async with world.durable(workflows=[outer, world.plain]) as durable:
        assert (await durable.start(outer)).result == Ok("7")
        assert await world.status("inner") == "completed"


async def test_events_of_all_runs_are_told_to_one_observer(world):
    events = []
    async with world.durable(on_event=events.append) as durable:
        await durable.start(world.plain, 1, run_id="r")
    assert [event.name for event in events if event.run_id == "r"][-1] == "run.completed"


async def test_a_run_that_cleaned_up_as_its_process_was_stopped_goes_on_in_the_next(world):
    async def leased(step):
        try:
            return await step("work", world.gated, "b")
        finally:
            await step("release", world.do, "release")

    async with world.durable(workflows=[leased]) as durable:
        start = asyncio.ensure_future(durable.start(leased, run_id="r"))
        await until(lambda: world.ran["b begins"])
    with pytest.raises(DurableClosed):
        await world.clock.run(start)
    assert world.ran["release"] == 1
    world.gates["b"].set()
    async with world.durable(world.reopened(), workflows=[leased]) as durable:
        outcome = await world.clock.run(asyncio.ensure_future(durable.resume("r")))
        assert outcome.result == Ok("b")
