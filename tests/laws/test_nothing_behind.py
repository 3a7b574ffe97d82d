"""Law 5: nothing runs behind your back."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from awaitpy import (
    Err,
    Ok,
    Runner,
    StepMisuse,
    _tasks,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
)


def alive() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_a_background_task_that_was_never_awaited_is_ended(calls):
    async def background():
        try:
            await asyncio.Event().wait()
        finally:
            calls("ended")

    async def flow(step):
        flow.task = asyncio.ensure_future(background())
        await asyncio.sleep(0)
        return await step("a", calls, "a")

    assert (await run(flow)).result == Ok(None)
    assert calls == ["a", "ended"]
    assert flow.task.cancelled()


async def test_a_background_task_that_has_not_even_begun_is_ended(calls):
    async def background():
        calls("ran")

    async def flow(step):
        flow.task = asyncio.ensure_future(background())
        return 1

    assert (await run(flow)).result == Ok(1)
    assert flow.task.done()
    await asyncio.sleep(0)
    assert calls == []


@pytest.mark.parametrize("end", ["returns", "waits", "raises", "fails"])
async def test_a_background_task_is_ended_however_the_run_ends(calls, end):
    async def background():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            calls("ended")

    async def flow(step):
        flow.task = asyncio.ensure_future(background())
        await asyncio.sleep(0)
        if end == "waits":
            await step("w", pending_hook, "h")
        elif end == "raises":
            raise OSError
        elif end == "fails":
            await step("f", lambda: Err("no"))

    outcome = await run(flow)
    statuses = {
        "returns": "completed",
        "waits": "suspended",
        "raises": "interrupted",
        "fails": "failed",
    }
    assert outcome.state.status == statuses[end]
    assert calls == ["ended"]
    assert flow.task.done()


async def test_a_background_step_that_is_under_way_at_the_return_is_journaled(calls):
    release = asyncio.Event()

    async def flow(step):
        flow.task = asyncio.ensure_future(step("back", calls.after, release, "back", 1))
        await asyncio.sleep(0)
        await step("front", calls, "front")
        return "done"

    under_way = asyncio.ensure_future(run(flow))
    await asyncio.sleep(0.002)
    assert not under_way.done()
    release.set()
    outcome = await under_way
    assert outcome.result == Ok("done")
    assert list(outcome.state.steps) == ["front", "back"]
    assert alive() == set()


async def test_a_task_that_a_step_starts_for_itself_lives_on(calls):
    async def open_pool():
        open_pool.keeper = asyncio.ensure_future(asyncio.Event().wait())
        return "open"

    async def flow(step):
        await step("open", open_pool)
        return await step("wait", pending_hook, "h")

    await run(flow)
    await asyncio.sleep(0)
    assert not open_pool.keeper.done()
    open_pool.keeper.cancel()


@pytest.mark.parametrize("seam", ["checkpoint", "on_event"])
async def test_a_task_that_the_store_or_the_observer_starts_for_itself_lives_on(seam):
    keepers = []

    async def open_pool():
        keepers.append(asyncio.ensure_future(asyncio.Event().wait()))

    def begin(_):
        if not keepers:
            return open_pool()
        return None

    def observe(_):
        if not keepers:
            keepers.append(asyncio.ensure_future(asyncio.Event().wait()))

    async def flow(step):
        await step("a", lambda: 1)
        await step("wait", pending_hook, "h")

    await Runner(**{seam: begin if seam == "checkpoint" else observe}).run(flow)
    await asyncio.sleep(0)
    assert not keepers[0].done()
    keepers[0].cancel()


async def test_tasks_of_the_caller_are_left_alone(calls):
    async def flow(step):
        await asyncio.gather(step("w1", pending_hook, "h1"), step("w2", pending_hook, "h2"))

    mine = asyncio.ensure_future(asyncio.Event().wait())
    await run(flow)
    assert not mine.done()
    assert alive() == {mine}
    mine.cancel()


async def test_a_step_that_is_called_after_its_run_is_refused(calls, again):
    async def flow(step):
        flow.step = step
        return await step("a", calls, "a")

    done = await run(flow)
    with pytest.raises(StepMisuse, match=r"'late'.*over"):
        await flow.step("late", calls, "late")
    with pytest.raises(StepMisuse):
        await flow.step.scope("x").attempt("late", calls, "late")
    assert calls == ["a"]
    assert list(done.state.steps) == ["a"]


async def test_a_left_task_that_asks_for_a_step_while_it_ends_gets_none(calls):
    async def background(step):
        try:
            await asyncio.Event().wait()
        finally:
            await step("late", calls, "late")

    async def flow(step):
        flow.task = asyncio.ensure_future(background(step))
        await asyncio.sleep(0)
        return "done"

    outcome = await run(flow)
    assert outcome.result == Ok("done")
    assert calls == []
    assert dict(outcome.state.steps) == {}


async def test_a_step_called_within_the_function_of_another_is_refused(calls):
    async def flow(step):
        async def outer():
            return await step("inner", calls, "inner")

        return await step("outer", outer)

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, StepMisuse)
    assert "'inner'" in str(outcome.result.error.cause)
    assert outcome.state.status == "interrupted"
    assert dict(outcome.state.steps) == {}
    assert calls == []


@pytest.mark.parametrize("careless", [False, True])
async def test_a_step_called_in_parallel_within_another_is_refused_too(calls, careless):
    async def flow(step):
        async def outer():
            return await asyncio.gather(
                step("in1", calls, "in1"), step("in2", calls, "in2"), return_exceptions=careless
            )

        return await asyncio.gather(step("outer", outer), return_exceptions=careless)

    outcome = await run(flow)
    assert isinstance(outcome.result.error.cause, StepMisuse)
    assert calls == []


async def test_a_run_within_a_step_is_a_run_of_its_own(calls, answered):
    async def inner(step):
        await step("i", calls, "inner")
        return await asyncio.gather(step("w1", pending_hook, "h1"), step("w2", pending_hook, "h2"))

    async def start_inner() -> bytes:
        return (await run(inner)).state.to_bytes()

    async def flow(step):
        stored = await step("start", start_inner)
        await step("a", calls, "outer")
        await step("wait", pending_hook, "h")
        return stored

    outcome = await run(flow)
    assert outcome.state.status == "suspended"
    stored = (await resume(flow, answered(outcome.state, h=1))).result.value
    state = type(outcome.state).from_bytes(stored)
    assert (await resume(inner, answered(state, h1=1, h2=2))).result == Ok([1, 2])
    assert calls == ["inner", "outer"]


async def test_a_run_in_the_body_of_another_leaves_the_outer_one_alone(calls):
    async def inner(step):
        return await asyncio.gather(step("w", pending_hook, "h"), step("i", calls, "inner"))

    async def flow(step):
        inside = await run(inner)
        await step("a", calls, "outer")
        return inside.state.status

    assert (await run(flow)).result == Ok("suspended")
    assert calls == ["inner", "outer"]


async def test_many_runs_at_once_in_one_loop_are_apart(calls):
    async def flow(step, n: int):
        return await asyncio.gather(step("w", pending_hook, f"h{n}"), step("a", lambda: n))

    outcomes = await asyncio.gather(*(run(flow, n) for n in range(50)))
    assert all(get_pending_hooks(o.state) == [f"h{n}"] for n, o in enumerate(outcomes))
    assert alive() == set()
    done = await asyncio.gather(
        *(resume(flow, inject_hook(o.state, f"h{n}", -n)) for n, o in enumerate(outcomes))
    )
    assert [o.result for o in done] == [Ok([-n, n]) for n in range(50)]


async def test_a_run_that_ends_leaves_the_steps_of_other_runs_alone(calls):
    kept, gate = [], asyncio.Event()

    async def ends(step):
        kept.append(copy_context())  # it holds the mark of the run, as tasks that have ended may
        return await step("a", calls, "a", 1)

    async def waits(step):
        return await asyncio.gather(step("b", gate.wait), step("c", gate.wait))

    other = asyncio.create_task(run(waits))
    while len(asyncio.all_tasks()) < 4:  # noqa: ASYNC110  both steps have begun then
        await asyncio.sleep(0)
    assert (await run(ends)).result == Ok(1)
    gate.set()
    assert (await other).result == Ok([True, True])


async def test_a_task_is_known_by_the_step_that_it_awaits_at_any_depth():
    gate = asyncio.Event()

    async def a_step():
        await gate.wait()

    async def around():
        await a_step()

    task = asyncio.create_task(around())
    await asyncio.sleep(0)
    assert _tasks._runs(task.get_coro(), {a_step.__code__})
    assert not _tasks._runs(task.get_coro(), set())
    gate.set()
    await task
