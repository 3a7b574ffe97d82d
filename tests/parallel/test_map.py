"""`step.map`: one entry for each item, results in order, a bounded number under way."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from awaitpy import (
    Cancelled,
    DuplicateStepKey,
    Err,
    HookTimeout,
    JournalError,
    Ok,
    PendingHook,
    PendingTimer,
    Result,
    ResumeState,
    Retry,
    Runner,
    StepMisuse,
    StepTimeout,
    UnexpectedError,
    WorkflowDrift,
    append_entries,
    cancel,
    create_hook,
    forget,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    pending_timer,
    resume,
    run,
    workflow,
)
from tests.parallel.conftest import kinds


async def test_results_are_in_order_whichever_item_is_first(world):
    async def flow(step):
        return await step.map("m", lambda i: world.work(i, turns=9 - i), range(9), limit=4)

    outcome = await run(flow)
    assert outcome.result == Ok(list(range(9)))
    assert world.ran != list(range(9))
    assert list(outcome.state.steps) == [f"m/{i}" for i in world.ran]


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 50])
async def test_no_more_than_the_limit_is_under_way(world, limit):
    async def flow(step):
        return await step.map("m", world.work, range(20), limit=limit)

    await run(flow)
    assert world.most == min(limit, 20)


async def test_ten_are_under_way_without_a_limit_and_all_with_none(world):
    async def flow(step):
        await step.map("some", world.work, range(30))
        some = world.most
        await step.map("all", world.work, range(30), limit=None)
        return some, world.most

    assert (await run(flow)).result == Ok((10, 30))


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_is_at_least_one(limit):
    async def flow(step):
        await step.map("m", str, [1], limit=limit)

    error = (await run(flow)).result.unwrap_err()
    assert "is how many items may be under way" in str(error)


@pytest.mark.parametrize("items", [[], (), iter(())])
async def test_a_map_of_nothing_journals_nothing(items):
    async def flow(step):
        return await step.map("m", str, items)

    outcome = await run(flow)
    assert outcome.result == Ok([])
    assert not outcome.state.steps


async def test_items_may_be_any_iterable(world):
    async def flow(step):
        numbers = await step.map("generator", world.quick, (i for i in range(3)))
        return numbers, await step.map("set", world.quick, {7}), await step.map("text", world.quick, "ab")

    assert (await run(flow)).result == Ok(([0, 1, 2], [7], ["a", "b"]))


async def test_an_item_is_a_step_of_a_scope(world):
    async def flow(step):
        return await step.scope("s").map("m", world.quick, "ab")

    assert list((await run(flow)).state.steps) == ["s/m/0", "s/m/1"]


async def test_types_are_restored(world):
    def half(n: int) -> tuple[int, timedelta]:
        return n, timedelta(seconds=n)

    async def flow(step):
        got = await step.map("typed", half, [1, 2])
        given = await step.options(returns=tuple[int, int]).map("named", lambda n: (n, n), [3])
        return got, given, await step("w", pending_hook, "h")

    state = (await run(flow)).state
    outcome = await resume(flow, inject_hook(ResumeState.from_bytes(state.to_bytes()), "h", 1))
    assert outcome.result == Ok(([(1, timedelta(seconds=1)), (2, timedelta(seconds=2))], [(3, 3)], 1))


# --- failing --------------------------------------------------------------------------------------


async def test_the_first_error_ends_the_workflow_and_what_is_under_way_is_journaled(world):
    async def item(i) -> Result[int, str]:
        await world.work(i, turns=1 if i == 1 else 6)
        return Err("bad") if i == 1 else Ok(i)

    async def flow(step):
        await step.map("m", item, range(10), limit=3)

    outcome = await run(flow)
    assert outcome.result == Err("bad")
    assert outcome.state.status == "failed"
    assert sorted(world.ran) == [0, 1, 2]
    assert sorted(outcome.state.steps) == ["m/0", "m/1", "m/2"]
    assert (await resume(flow, outcome.state)).result == Err("bad")


async def test_all_results_can_be_collected(world):
    def item(i) -> Result[int, str]:
        world.ran.append(i)
        return Err(f"bad {i}") if i % 2 else Ok(i)

    async def flow(step):
        got = await step.map("m", item, range(4), limit=2, collect=True)
        await step("w", pending_hook, "h")
        return got

    state = (await run(flow)).state
    outcome = await resume(flow, inject_hook(state, "h", None))
    assert outcome.result == Ok([Ok(0), Err("bad 1"), Ok(2), Err("bad 3")])
    assert world.ran == [0, 1, 2, 3]


async def test_an_exception_ends_the_run_and_only_what_has_no_entry_runs_again(world):
    broken = True

    async def item(i):
        await world.work(i, turns=i)
        if i == 2 and broken:
            raise OSError("down")
        return i

    async def flow(step):
        return await step.map("m", item, range(8), limit=3)

    outcome = await run(flow)
    assert outcome.result == Err(UnexpectedError("m/2", outcome.result.error.cause))
    assert outcome.state.status == "interrupted"
    broken = False
    outcome = await resume(flow, outcome.state)
    assert outcome.result == Ok(list(range(8)))
    assert world.counts == {i: 2 if i == 2 else 1 for i in range(8)}


async def test_a_value_that_no_type_restores_is_refused(world):
    async def flow(step):
        return await step.map("m", lambda i: {i}, [1])

    error = (await run(flow)).result.unwrap_err()
    assert isinstance(error.cause, JournalError)


async def test_an_error_that_was_journaled_before_a_crash_ends_the_run_again(world):
    def item(i) -> Result[int, str]:
        world.ran.append(i)
        return Err("bad") if i == 3 else Ok(i)

    async def flow(step):
        return await step.map("m", item, range(8), limit=1)

    kept = []
    runner = Runner(checkpoint=kept.append)
    started = runner.start(flow)
    await runner.resume(flow, started)
    outcome = await resume(flow, append_entries(started, *kept))
    assert outcome.result == Err("bad")
    assert world.ran == [0, 1, 2, 3]


# --- waiting --------------------------------------------------------------------------------------


async def test_all_waits_are_pending_together_whatever_the_limit(world):
    async def flow(step):
        hooks = await step.map("hook", lambda _: create_hook(), range(7))
        return await step.map("wait", lambda hook: pending_hook(hook.hook_id, int), hooks, limit=1)

    state = (await run(flow)).state
    pending = [record.step_key for record in state.pending]
    assert pending == [f"wait/{i}" for i in range(7)]
    hook_ids = get_pending_hooks(state)
    for i in (5, 0, 6):
        state = inject_hook(state, hook_ids[i], i)
    outcome = await resume(flow, state)
    assert get_pending_hooks(outcome.state) == [hook_ids[i] for i in (1, 2, 3, 4)]
    state = outcome.state
    for i in (4, 3, 2, 1):
        state = (await resume(flow, inject_hook(state, hook_ids[i], i))).state
    assert (await resume(flow, state)).result == Ok(list(range(7)))


async def test_an_item_that_waits_gives_its_place_to_another_and_the_limit_holds(world):
    async def item(i):
        await world.work(i)
        return pending_hook(f"h{i}") if i % 2 else i

    async def flow(step):
        return await step.map("m", item, range(12), limit=3)

    state = (await run(flow)).state
    assert sorted(get_pending_hooks(state)) == sorted(f"h{i}" for i in range(1, 12, 2))
    assert world.most == 3
    for i in range(1, 12, 2):
        state = inject_hook(state, f"h{i}", i)
    assert (await resume(flow, state)).result == Ok(list(range(12)))


async def test_a_wait_that_times_out_is_an_error_of_its_item(world):
    def item(i):
        return pending_hook(f"h{i}", timeout=60 * (i + 1))

    async def flow(step):
        return await step.map("m", item, range(2), collect=True, limit=1)

    runner = world.runner()
    state = (await runner.run(flow)).state
    world.later(seconds=90)
    outcome = await runner.resume(flow, inject_hook(state, "h1", "yes", now=world.now))
    error, answer = outcome.result.unwrap()
    assert isinstance(error.error, HookTimeout)
    assert answer == Ok("yes")


async def test_items_may_sleep_and_a_long_sleep_gives_its_place_free(world):
    async def flow(step):
        await step.map("short", pending_timer, [1, 2], limit=1)
        return await step.map("long", lambda i: pending_timer(3600 * (i + 1)), range(3), limit=1)

    runner = world.runner()
    outcome = await runner.run(flow)
    assert world.slept == [1, 2]
    assert isinstance(outcome.result.unwrap_err(), PendingTimer)
    assert [timer.step_key for timer in outcome.state.timers] == ["long/0", "long/1", "long/2"]
    world.later(hours=2)
    outcome = await runner.resume(flow, outcome.state)
    assert [timer.step_key for timer in outcome.state.timers] == ["long/2"]
    world.later(hours=2)
    assert (await runner.resume(flow, outcome.state)).result == Ok([None] * 3)


# --- policies -------------------------------------------------------------------------------------


async def test_each_item_is_tried_again_by_itself_and_a_long_delay_gives_its_place_free(world):
    failed = set()

    def item(i):
        world.ran.append(i)
        if i % 2 and i not in failed:
            failed.add(i)
            raise OSError
        return i

    async def flow(step):
        return await step.options(retry=Retry(delay=3600)).map("m", item, range(5), limit=1)

    runner = world.runner()
    outcome = await runner.run(flow)
    assert [(t.step_key, t.attempts) for t in outcome.state.timers] == [("m/1", 1), ("m/3", 1)]
    assert world.ran == [0, 1, 2, 3, 4]
    world.later(hours=1)
    outcome = await runner.resume(flow, outcome.state)
    assert outcome.result == Ok([0, 1, 2, 3, 4])
    assert world.ran == [0, 1, 2, 3, 4, 1, 3]


async def test_a_timeout_is_for_each_item(world):
    async def item(i):
        return await (world.stuck() if i == 1 else world.work(i))

    async def flow(step):
        return await step.options(timeout=0.01).map("m", item, range(3), limit=2, collect=True)

    got = (await run(flow)).result.unwrap()
    assert got == [Ok(0), Err(StepTimeout("m/1", 0.01)), Ok(2)]


@pytest.mark.parametrize("replays", [False, True])
async def test_each_item_is_undone_the_last_first(world, replays):
    async def flow(step):
        await step.options(undo=lambda i: world.quick(f"undo {i}")).map("m", world.quick, range(3))
        if replays:
            await step("w", pending_hook, "h")
        return await step("fail", lambda: Err("no"))

    outcome = await run(flow)
    if replays:
        outcome = await resume(flow, inject_hook(outcome.state, "h", None))
    assert outcome.result == Err("no")
    assert world.ran == [0, 1, 2, "undo 2", "undo 1", "undo 0"]


# --- replay, drift, keys --------------------------------------------------------------------------


async def test_a_replay_gives_the_items_without_running_them(world):
    async def flow(step):
        got = await step.map("m", lambda i: world.work(i, turns=7 - i), range(7), limit=3)
        return got, await step("w", pending_hook, "h")

    state = (await run(flow)).state
    for _ in range(2):
        again = await resume(flow, ResumeState.from_bytes(state.to_bytes()))
        assert again.state == state
    assert (await resume(flow, inject_hook(state, "h", 1))).result == Ok((list(range(7)), 1))
    assert sorted(world.ran) == list(range(7))


@pytest.mark.parametrize("map_first", [True, False])
async def test_a_replay_keeps_which_of_a_map_and_another_branch_was_first(world, map_first):
    ended = []

    async def other(step):
        for i in range(4):
            await step(f"o{i}", world.work, f"o{i}", turns=20 if map_first else 1)
        ended.append("other")

    async def mapped(step):
        await step.map("m", lambda i: world.work(i, turns=2 if map_first else 30), range(6), limit=3)
        ended.append("map")

    async def flow(step):
        ended.clear()
        await asyncio.gather(mapped(step), other(step), mapped(step.scope("s")))
        return await step("w", pending_hook, "h")

    state = (await run(flow)).state
    before = list(ended)
    assert (before[-1] == "other") == map_first
    assert (await resume(flow, inject_hook(state, "h", 1))).result == Ok(1)
    assert ended == before


async def test_a_forgotten_item_runs_again_in_its_place(world):
    async def flow(step):
        return await step.map("m", world.quick, range(4)), await step("end", world.quick, "end")

    state = (await run(flow)).state
    outcome = await resume(flow, forget(state, "m/2"))
    assert outcome.result == Ok(([0, 1, 2, 3], "end"))
    assert world.ran == [0, 1, 2, 3, "end", 2]


async def test_more_items_are_run_and_fewer_are_drift(world):
    @workflow(name="flow")
    async def flow(step, n):
        await step.map("m", world.quick, range(counted))
        await step("w", pending_hook, "h")

    counted = 3
    state = (await run(flow, 3)).state
    counted = 4
    assert (await resume(flow, state)).state.steps.keys() == {f"m/{i}" for i in range(4)}
    counted = 2
    error = (await resume(flow, inject_hook(state, "h", 1))).result.unwrap_err()
    assert isinstance(error, WorkflowDrift)
    assert error.unasked == ("m/2",)


async def test_a_map_where_the_journal_has_something_else_is_refused_before_harm(world):
    @workflow(name="flow")
    async def flow(step):
        await step("a", world.quick, "a")
        await step("w", pending_hook, "h")

    @workflow(name="flow")
    async def changed(step):
        await step.map("m", world.quick, range(3))
        await step("w", pending_hook, "h")

    state = (await run(flow)).state
    error = (await resume(changed, state)).result.unwrap_err()
    assert isinstance(error, WorkflowDrift)
    assert (error.asked, world.ran) == ("m/0", ["a"])


async def test_a_map_that_is_declared_new_is_no_drift(world):
    @workflow(name="flow")
    async def flow(step):
        await step("a", world.quick, "a")
        await step("w", pending_hook, "h")

    @workflow(name="flow", version=2)
    async def changed(step):
        await step.options(since=2).map("m", world.quick, range(3))
        await step("a", world.quick, "a")
        return await step("w", pending_hook, "h")

    state = (await run(flow)).state
    assert (await resume(changed, inject_hook(state, "h", "ok"))).result == Ok("ok")


async def test_two_maps_of_one_key_are_refused(world):
    async def flow(step):
        await step.map("m", world.quick, "a")
        await step.map("m", world.quick, "a")

    assert isinstance((await run(flow)).result.unwrap_err().cause, DuplicateStepKey)


@pytest.mark.parametrize("key", ["", 3, None, "\ud800"])
async def test_a_map_needs_a_key(key, world):
    async def flow(step):
        await step.map(key, world.quick, "a")

    assert isinstance((await run(flow)).result.unwrap_err().cause, StepMisuse)
    assert not world.ran


async def test_a_map_in_the_function_of_a_step_is_refused(world):
    async def flow(step):
        await step("outer", lambda: step.map("m", world.quick, "a"))

    assert isinstance((await run(flow)).result.unwrap_err().cause, StepMisuse)
    assert not world.ran


# --- cancelling -----------------------------------------------------------------------------------


async def test_a_map_that_the_workflow_cuts_off_is_cut_off_in_each_replay(world):
    async def item(i):
        return await (world.work(i) if i < 2 else world.stuck(i))

    async def flow(step):
        try:
            async with asyncio.timeout(0.01):
                await step.map("m", item, range(9), limit=3)
        except TimeoutError:
            await step("late", world.quick, "late")
        return await step("w", pending_hook, "h")

    state = (await run(flow)).state
    assert [state.steps[f"m/{i}"].kind_name for i in range(5)] == ["value", "value", "cut", "cut", "cut"]
    outcome = await resume(flow, inject_hook(state, "h", "ok"))
    assert outcome.result == Ok("ok")
    assert sorted(map(str, world.ran)) == ["0", "1", "2", "3", "4", "late"]


async def test_a_map_that_was_cut_off_between_two_items_begins_no_other_in_a_replay(world):
    async def flow(step):
        try:
            async with asyncio.timeout(0.01):
                await step.map("m", swallows, range(9), limit=1)
        except TimeoutError:
            await step("late", world.quick, "late")
        return await step("w", pending_hook, "h")

    async def swallows(i):
        try:
            await world.stuck(i)
        except asyncio.CancelledError:
            return i

    state = (await run(flow)).state
    assert kinds(state) == {"m/0": "value", "m/1": "cut", "late": "value"}
    assert (await resume(flow, inject_hook(state, "h", "ok"))).result == Ok("ok")
    assert world.ran == [0, "late"]


@pytest.mark.parametrize("waits", [False, True])
async def test_an_item_that_swallows_its_cancellation_lets_no_other_begin(world, waits):
    async def item(i):
        try:
            await world.stuck(i)
        except asyncio.CancelledError:
            return pending_hook(f"h{i}") if waits else i

    async def flow(step):
        try:
            async with asyncio.timeout(0.01):
                await step.map("m", item, range(9), limit=2)
        except TimeoutError:
            return "late"

    outcome = await asyncio.wait_for(run(flow), 10)
    assert world.ran == [0, 1]
    assert waits or outcome.result == Ok("late")


async def test_a_run_that_was_cancelled_begins_no_item(world):
    async def flow(step):
        await step("w", pending_hook, "h")
        return await step.map("m", world.quick, range(3))

    state = inject_hook((await run(flow)).state, "h", 1)
    assert (await resume(flow, cancel(state, "enough"))).result == Err(Cancelled("enough"))
    assert not world.ran


async def test_when_the_caller_cancels_nothing_goes_on(world):
    started = asyncio.Event()

    async def item(i):
        started.set()
        await world.stuck(i)

    async def flow(step):
        await step.map("m", item, range(9), limit=2)

    task = asyncio.ensure_future(run(flow))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert world.ran == [0, 1]


async def test_a_map_beside_a_branch_that_suspends_is_finished_first(world):
    async def flow(step):
        return await asyncio.gather(
            step("w", pending_hook, "h"), step.map("m", world.work, range(9), limit=2)
        )

    outcome = await run(flow)
    assert isinstance(outcome.result.error, PendingHook)
    assert sorted(world.ran) == list(range(9))
    outcome = await resume(flow, inject_hook(outcome.state, "h", "ok"))
    assert outcome.result == Ok(["ok", list(range(9))])
