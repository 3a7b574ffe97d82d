"""Law 7: cancellation is the caller's."""

# ruff: noqa: BLE001  what a workflow that catches everything may catch is the point

from __future__ import annotations

import asyncio
import contextlib

import pytest

from awaitpy import (
    Err,
    Ok,
    Result,
    Runner,
    append_entries,
    inject_hook,
    pending_hook,
    pending_timer,
    resume,
    run,
)


async def turns(n: int = 20) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


async def test_cancelling_the_caller_raises_out_of_run(calls):
    async def flow(step):
        await step("a", calls, "a")
        try:
            await step("long", calls.after, asyncio.Event(), "long")
        except Exception:
            calls("caught")
        finally:
            calls("finally")

    stored = []
    task = asyncio.ensure_future(Runner(checkpoint=stored.append).run(flow))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert calls == ["a", "long begins", "finally"]
    assert [e.key for e in stored] == ["a"]


@pytest.mark.parametrize("kind", ["gather", "group", "background"])
async def test_no_branch_survives_the_callers_cancellation(calls, kind):
    async def flow(step):
        branches = [step(n, calls.after, asyncio.Event(), n) for n in "abc"]
        if kind == "gather":
            await asyncio.gather(*branches)
        elif kind == "group":
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch)
        else:
            flow.tasks = [asyncio.ensure_future(branch) for branch in branches]
            await asyncio.Event().wait()

    task = asyncio.ensure_future(run(flow))
    await turns()
    assert calls == ["a begins", "b begins", "c begins"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def flow_of_all(step):
    """A workflow with all kinds of moments in which to be cancelled."""
    release = asyncio.Event()

    async def slow(n):
        await asyncio.sleep(0)
        return n

    async def held():
        await release.wait()
        return "held"

    async def branch():
        got = await step("b1", slow, 1)
        release.set()
        return [got, await step("b2", slow, 2)]

    first = await step("first", slow, 0)
    both = await asyncio.gather(branch(), step("held", held))
    await asyncio.gather(step("w1", pending_hook, "h1"), step("last", slow, 3))
    return [first, both]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_cancellation_at_any_moment_leaves_a_journal_that_goes_on(kind):
    """However far the run came: what was given to `checkpoint` is whole, and nothing is left alive."""
    ended = 0
    for moment in range(200):
        stored, halves = [], []

        async def checkpoint(entry, stored=stored, halves=halves):
            halves.append(entry)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            stored.append(entry)

        runner = Runner(checkpoint=checkpoint if kind == "async" else stored.append)
        begun = runner.start(flow_of_all)
        task = asyncio.ensure_future(runner.resume(flow_of_all, begun))
        await turns(moment)
        if task.done():
            ended = moment
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len({e.key for e in stored}) == len(stored)
        assert [e.key for e in halves] in ([e.key for e in stored], [])
        state = append_entries(begun, *stored)
        ran: list[str] = []
        goes_on = await Runner(checkpoint=lambda e, ran=ran: ran.append(e.key)).resume(flow_of_all, state)
        assert goes_on.state.status == "suspended"
        assert sorted([*state.steps, *ran]) == ["b1", "b2", "first", "held", "last"]
    assert ended > 20


async def test_a_caller_that_cancels_while_an_entry_is_stored_gets_it_stored_whole(calls):
    begun, release, stored = asyncio.Event(), asyncio.Event(), []

    async def checkpoint(entry):
        begun.set()
        await release.wait()
        stored.append(entry.key)

    async def flow(step):
        await step("a", calls, "a")
        await step("b", calls, "b")

    task = asyncio.ensure_future(Runner(checkpoint=checkpoint).run(flow))
    await begun.wait()
    task.cancel()
    await turns()
    assert not task.done()
    task.cancel()
    await turns()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (stored, calls) == (["a"], ["a"])


async def test_a_caller_that_cancels_while_a_suspension_waits_for_a_sibling_is_obeyed(calls):
    async def flow(step):
        await asyncio.gather(
            step("w", pending_hook, "h"), step("slow", calls.after, asyncio.Event(), "slow")
        )

    task = asyncio.ensure_future(run(flow))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == ["slow begins"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("kind", ["gather", "group"])
async def test_a_timeout_of_the_caller_is_a_timeout(calls, kind):
    async def flow(step):
        branches = [
            step("w", pending_hook, "h"),
            step("slow", calls.after, asyncio.Event(), "slow"),
        ]
        if kind == "gather":
            await asyncio.gather(*branches)
        else:
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await run(flow)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_caller_that_cancels_while_an_ended_run_waits_for_a_step_leaves_nothing_running(calls):
    left = []

    async def flow(step):
        left.append(asyncio.ensure_future(step("long", calls.after, asyncio.Event(), "long")))
        await turns(1)
        raise ValueError

    task = asyncio.ensure_future(run(flow))
    await turns()
    assert calls == ["long begins"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("kind", ["gather", "group", "root"])
async def test_a_suspension_in_a_timeout_of_the_caller_leaves_no_cancellation_behind(kind):
    async def flow(step):
        if kind == "gather":
            await asyncio.gather(*(step(n, pending_hook, n) for n in "ab"))
        elif kind == "group":
            async with asyncio.TaskGroup() as group:
                for n in "ab":
                    group.create_task(step(n, pending_hook, n))
        else:
            await step("a", pending_hook, "a")

    async with asyncio.timeout(5):
        outcome = await run(flow)
        await asyncio.sleep(0)
    assert outcome.state.status == "suspended"
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(run(flow)) for _ in range(2)]
    assert [t.result().state.status for t in both] == ["suspended"] * 2
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_timeout_of_the_caller_counts_while_left_tasks_are_ended():
    async def stubborn(limit):
        try:
            await asyncio.Event().wait()
        finally:
            limit.reschedule(asyncio.get_running_loop().time())
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)

    async def flow(step):
        flow.task = asyncio.ensure_future(stubborn(limit))
        try:
            await asyncio.gather(step("a", pending_hook, "a"), step("b", pending_hook, "b"))
        except asyncio.CancelledError:
            raise OSError("cleanup failed") from None

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:
            await run(flow)
    assert flow.task.done()


async def test_a_cancelled_leg_can_be_run_again_from_the_state_it_began_with(calls, again):
    release = asyncio.Event()

    async def flow(step):
        await step("a", calls, "a")
        return await step("long", calls.after, release, "long", 1)

    begun = Runner().start(flow)
    task = asyncio.ensure_future(resume(flow, begun))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    assert (await resume(flow, again(begun))).result == Ok(1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["sync", "async", "body"])
async def test_the_end_of_the_program_is_not_an_error_of_the_run(error, where):
    def stop():
        raise error

    async def stop_later():
        await asyncio.sleep(0)
        raise error

    async def flow(step):
        if where == "body":
            stop()
        await step("a", stop if where == "sync" else stop_later)

    with pytest.raises(error):
        await run(flow)


async def test_a_task_of_the_workflow_that_was_cancelled_is_an_error_of_the_body(calls, again):
    async def flow(step):
        await step("a", calls, "a")
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    outcome = await run(flow)
    assert outcome.result.error.key is None
    assert isinstance(outcome.result.error.cause, asyncio.CancelledError)
    assert outcome.state.status == "interrupted"
    assert list(outcome.state.steps) == ["a"]
    await resume(flow, again(outcome.state))
    assert calls == ["a"]


async def test_a_run_outside_of_any_task_is_refused():
    """In a callback of the loop there is nobody whom a cancellation could reach."""

    async def flow(step):
        return 1

    refused = asyncio.get_running_loop().create_future()

    def callback():
        coroutine = run(flow)
        try:
            coroutine.send(None)
        except RuntimeError as error:
            refused.set_result(str(error))

    asyncio.get_running_loop().call_soon(callback)
    assert "asyncio task" in await refused


async def test_entries_keep_their_order_when_only_some_checkpoints_are_awaited():
    """A store may write some entries behind the back of the run, and let the run wait for others."""
    given, release = [], asyncio.Event()

    async def slowly(entry):
        await release.wait()
        given.append(entry.key)

    def checkpoint(entry):
        return slowly(entry) if entry.key == "b" else given.append(entry.key)

    async def flow(step):
        await asyncio.gather(*(step(key, lambda: None) for key in "abcd"))

    task = asyncio.ensure_future(Runner(checkpoint=checkpoint).run(flow))
    await turns()
    assert given == ["a"]
    release.set()
    await task
    assert given == ["a", "b", "c", "d"]


@pytest.mark.parametrize("error", [OSError("the disk is full"), asyncio.CancelledError()], ids=repr)
async def test_a_checkpoint_that_fails_after_the_caller_has_cancelled_is_no_ones_error(error):
    begun, release = asyncio.Event(), asyncio.Event()

    async def checkpoint(entry):
        begun.set()
        await release.wait()
        raise error

    async def flow(step):
        await step("a", lambda: None)

    task = asyncio.ensure_future(Runner(checkpoint=checkpoint).run(flow))
    await begun.wait()
    task.cancel()
    await turns()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task


class Tidy:
    def __init__(self, calls):
        self.calls = calls

    async def up(self, step):
        await step("dust", self.calls, "dust")


async def leased(step, work, calls):
    """A workflow that gives back what it has taken, whatever happens."""
    await step("take", calls, "take")
    try:
        return await step("work", work)
    finally:
        await step("release", calls, "release")
        await step.race("first", {"sweep": lambda s: s("s", calls, "sweep")})
        await step.child("tidy", Tidy(calls).up)


def stores(kind):
    """Give a checkpoint of this kind, and the list of entries that it stores."""
    stored = []

    async def store(entry):
        await asyncio.sleep(0)
        stored.append(entry)

    return (stored.append if kind == "sync" else store), stored


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("parallel", [False, True])
async def test_what_cleans_up_after_the_callers_cancellation_runs_again_in_its_place(calls, kind, parallel):
    async def flow(step):
        if not parallel:
            return await leased(step, lambda: calls.after(release, "work", "done"), calls)
        both = leased(step, lambda: calls.after(release, "work", "done"), calls)
        return (await asyncio.gather(both, step("beside", calls, "beside")))[0]

    release = asyncio.Event()
    checkpoint, stored = stores(kind)
    runner = Runner(checkpoint=checkpoint)
    begun = runner.start(flow)
    task = asyncio.ensure_future(runner.resume(flow, begun))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls[-3:] == ["release", "sweep", "dust"]
    assert {e.key for e in stored} == ({"take", "beside"} if parallel else {"take"})
    release.set()
    calls.clear()
    outcome = await runner.resume(flow, append_entries(begun, *stored))
    assert outcome.result == Ok("done")
    assert list(calls) == ["work begins", "work ends", "release", "sweep", "dust"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_cleans_up_after_a_timeout_of_the_workflow_is_journaled_behind_what_it_cut(calls, kind):
    async def flow(step):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await leased(step, lambda: calls.after(asyncio.Event(), "work"), calls)
        await step("end", calls, "end")
        return await step("wait", pending_hook, "h")

    checkpoint, stored = stores(kind)
    runner = Runner(checkpoint=checkpoint)
    begun = runner.start(flow)
    outcome = await runner.resume(flow, begun)
    assert [e.key for e in stored] == [
        "take",
        "work",
        "release",
        "first/sweep/s",
        "first",
        *["tidy"] * 3,
        "end",
    ]
    assert list(outcome.state.steps) == list(dict.fromkeys(e.key for e in stored))
    tidied = append_entries(begun, *stored).children["tidy"]
    assert tidied.steps == outcome.state.children["tidy"].steps
    calls.clear()
    again = await resume(flow, append_entries(begun, *stored))
    assert (await resume(flow, inject_hook(again.state, "h", 1))).result == Ok(1)
    assert calls == []


@pytest.mark.parametrize("end", ["value", "error", "wait", "nap"])
async def test_a_run_that_goes_on_after_the_callers_cancellation_has_all_that_it_did_stored(calls, end):
    ends = {"value": Ok("end"), "error": Err("end"), "wait": pending_hook("h"), "nap": pending_timer(9999)}
    statuses = {"value": "completed", "error": "failed", "wait": "suspended", "nap": "suspended"}

    async def flow(step):
        with contextlib.suppress(asyncio.CancelledError):
            await leased(step, lambda: calls.after(asyncio.Event(), "work"), calls)
        return await step.options(returns=Result[str, str])("end", lambda: ends[end])

    stored = []
    runner = Runner(checkpoint=stored.append)
    begun = runner.start(flow)
    task = asyncio.ensure_future(runner.resume(flow, begun))
    await turns()
    task.cancel()
    outcome = await task
    assert outcome.state.status == statuses[end]
    assert [note.step_key for note in outcome.state.timers] == (["end"] if end == "nap" else [])
    assert append_entries(begun, *stored).timers == outcome.state.timers
    keys = dict.fromkeys(e.key for e in stored if e.kind_name != "note")
    assert list(keys) == list(outcome.state.steps)
    assert list(outcome.state.steps)[:5] == ["take", "release", "first/sweep/s", "first", "tidy"]


async def test_a_store_that_fails_while_it_is_given_what_cleaned_up_interrupts_the_run(calls):
    async def flow(step):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await leased(step, lambda: calls.after(asyncio.Event(), "work"), calls)
        return await step("end", calls, "end")

    def full(entry):
        if entry.key == "release":
            raise OSError("the disk is full")

    error = (await Runner(checkpoint=full).run(flow)).result.unwrap_err()
    assert (error.key, str(error.cause)) == ("release", "the disk is full")
    assert "end" not in calls


async def test_what_cleans_up_in_a_run_that_nobody_stores_is_in_its_state(calls):
    async def flow(step):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await leased(step, lambda: calls.after(asyncio.Event(), "work"), calls)
        return await step("wait", pending_hook, "h")

    state = (await run(flow)).state
    assert set(state.steps) == {"take", "work", "release", "first/sweep/s", "first", "tidy"}
    calls.clear()
    assert (await resume(flow, inject_hook(state, "h", 1))).result == Ok(1)
    assert calls == []


async def test_a_caller_that_cancels_while_the_last_cut_is_stored_is_obeyed(calls):
    storing, release = asyncio.Event(), asyncio.Event()
    stored = []

    async def store(entry):
        storing.set()
        await release.wait()
        stored.append(entry.kind_name)

    async def flow(step):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.001):
                await step("work", calls.after, asyncio.Event(), "work")

    task = asyncio.ensure_future(Runner(checkpoint=store).run(flow))
    await storing.wait()
    task.cancel()
    await turns()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored == ["cut"]
