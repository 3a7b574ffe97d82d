"""asyncio within a workflow behaves as its documentation says, with steps in it, fresh and replayed."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar

import pytest

from awaitpy import (
    Ok,
    PendingHook,
    Runner,
    append_entries,
    get_pending_hooks,
    pending_hook,
    resume,
    run,
)


async def never():
    await asyncio.Event().wait()


def timed(kind):
    """Run a coroutine under a timeout, in one of the ways that asyncio has."""

    async def in_block(coroutine):
        async with asyncio.timeout(0.005):
            return await coroutine

    async def waited_for(coroutine):
        return await asyncio.wait_for(coroutine, 0.005)

    async def in_branch(coroutine):
        (got,) = await asyncio.gather(in_block(coroutine))
        return got

    async def around_branches(coroutine):
        async with asyncio.timeout(0.005):
            async with asyncio.TaskGroup() as group:
                task = group.create_task(coroutine)
            return task.result()

    return {"block": in_block, "wait_for": waited_for, "branch": in_branch}.get(kind, around_branches)


TIMED = ["block", "wait_for", "branch", "group"]


@pytest.mark.parametrize("kind", TIMED)
async def test_a_step_cut_by_the_workflows_own_timeout_takes_the_fallback_on_replay_too(
    calls, answered, kind
):
    fast = False

    async def slow():
        calls("slow")
        if not fast:
            await never()
        return "slow"

    async def flow(step):
        try:
            got = await timed(kind)(step("slow", slow))
        except TimeoutError:
            got = await step("fallback", calls, "fallback", "fallback")
        return [got, await step("wait", pending_hook, "h")]

    suspended = await run(flow)
    assert calls == ["slow", "fallback"]
    fast = True
    done = await resume(flow, answered(suspended.state, h=1))
    assert done.result == Ok(["fallback", 1])
    assert calls == ["slow", "fallback"]


@pytest.mark.parametrize("kind", TIMED)
@pytest.mark.parametrize("then", ["waits", "fails", "returns"])
async def test_a_cut_step_is_kept_even_when_no_step_comes_after_it(calls, again, kind, then):
    fast = False

    async def slow():
        calls("slow")
        if not fast:
            await never()

    async def flow(step):
        with contextlib.suppress(TimeoutError):
            await timed(kind)(step("slow", slow))
            return {("no", "type"): "the slow way"}
        if then == "waits":
            await step("w", pending_hook, "h")
        elif then == "fails":
            await step("f", lambda: 1 / 0)
        return {("no", "type"): "the other way"}

    outcome = await run(flow)
    fast = True
    replayed = await resume(flow, again(outcome.state))
    assert calls == ["slow"]
    assert type(replayed.result) is type(outcome.result)
    if then == "returns":
        assert replayed.result == outcome.result
    elif then == "waits":
        assert get_pending_hooks(replayed.state) == ["h"]


async def test_a_timeout_that_strikes_while_the_entry_is_stored_is_replayed_as_it_went(answered):
    stored = []

    async def checkpoint(entry):
        if entry.key == "a":
            await asyncio.sleep(0.01)
        stored.append(entry)

    async def flow(step):
        try:
            async with asyncio.timeout(0.005):
                got = await step("a", lambda: "in time")
        except TimeoutError:
            got = await step("fallback", lambda: "fallback")
        return [got, await step("wait", pending_hook, "h")]

    runner = Runner(checkpoint=checkpoint)
    begun = runner.start(flow)
    suspended = await runner.resume(flow, begun)
    assert isinstance(suspended.result.error, PendingHook)
    went = await resume(flow, answered(suspended.state, h=1))
    for state in [suspended.state, append_entries(begun, *stored)]:
        again = await resume(flow, state)
        assert isinstance(again.result.error, PendingHook), again.result
        assert (await resume(flow, answered(again.state, h=1))).result == went.result


async def test_a_step_in_time_is_not_cut(answered):
    async def flow(step):
        async with asyncio.timeout(5):
            got = await step("a", lambda: 1)
        return [got, await step("wait", pending_hook, "h")]

    suspended = await run(flow)
    assert (await resume(flow, answered(suspended.state, h=2))).result == Ok([1, 2])


async def test_the_loser_of_a_race_that_is_cancelled_stays_cancelled(calls, answered):
    async def flow(step):
        tasks = [
            asyncio.ensure_future(step("slow", calls.after, asyncio.Event(), "slow")),
            asyncio.ensure_future(step("fast", calls, "fast", "fast")),
        ]
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.wait(rest)
        (winner,) = done
        used = await step(f"use-{winner.result()}", calls, "use", "used")
        return [used, await step("wait", pending_hook, "h")]

    suspended = await run(flow)
    calls.clear()
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok(["used", 1])
    assert calls == []


async def test_a_wait_that_loses_to_a_step_and_is_cancelled_is_no_longer_pending(calls, answered):
    async def flow(step):
        tasks = [
            asyncio.ensure_future(step("hook", pending_hook, "h")),
            asyncio.ensure_future(step("fast", calls, "fast", "fast")),
        ]
        _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await step("between", calls, "between")
        return await step("wait", pending_hook, "other")

    suspended = await run(flow)
    assert get_pending_hooks(suspended.state) == ["other"]
    assert (await resume(flow, answered(suspended.state, other=1))).result == Ok(1)
    assert calls == ["fast", "between"]


async def test_an_answered_wait_wins_over_a_slow_step(calls, answered):
    release = asyncio.Event()

    async def flow(step):
        tasks = {
            asyncio.ensure_future(step("hook", pending_hook, "h")),
            asyncio.ensure_future(step("slow", calls.after, release, "slow")),
        }
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        return [task.result() for task in done]

    first = await asyncio.gather(run(flow), _soon(release))
    assert first[0].result == Ok([None])  # the sibling is awaited, and then the run went on


async def _soon(event):
    await asyncio.sleep(0.002)
    event.set()


async def test_a_group_whose_body_raises_cancels_its_steps_as_documented(calls):
    def bug():
        raise ValueError("enough")

    async def flow(step):
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(step("slow", calls.after, asyncio.Event(), "slow"))
                await asyncio.sleep(0.001)
                bug()
        except* ValueError:
            await step("fallback", calls, "fallback")
        return await step("wait", pending_hook, "h")

    suspended = await run(flow)
    assert isinstance(suspended.result.error, PendingHook)
    assert calls == ["slow begins", "fallback"]
    assert isinstance((await resume(flow, suspended.state)).result.error, PendingHook)
    assert calls == ["slow begins", "fallback"]


async def test_gather_keeps_the_order_of_its_arguments(answered):
    async def later(value, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return value

    async def flow(step):
        got = await asyncio.gather(*(step(f"s{i}", later, i, 5 - i) for i in range(5)))
        await step("wait", pending_hook, "h")
        return got

    suspended = await run(flow)
    assert list(suspended.state.steps) == ["s4", "s3", "s2", "s1", "s0"]
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok([0, 1, 2, 3, 4])


async def test_a_shielded_step_is_not_left_behind(calls, answered):
    release = asyncio.Event()

    async def flow(step):
        flow.inner = asyncio.ensure_future(step("kept", calls.after, release, "kept", 1))
        try:
            async with asyncio.timeout(0.003):
                await asyncio.shield(flow.inner)
        except TimeoutError:
            release.set()
        return [await flow.inner, await step("wait", pending_hook, "h")]

    suspended = await run(flow)
    assert isinstance(suspended.result.error, PendingHook)
    assert flow.inner.done()
    assert list(suspended.state.steps) == ["kept"]
    assert (await resume(flow, answered(suspended.state, h=2))).result == Ok([1, 2])


async def test_steps_under_a_semaphore_never_run_more_at_once_than_it_lets(calls, answered):
    at_once, most = 0, 0

    async def work(n):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        return n

    async def flow(step):
        gate = asyncio.Semaphore(3)

        async def one(n):
            async with gate:
                return await step(f"s{n}", work, n)

        got = await asyncio.gather(*(one(n) for n in range(10)))
        return [*got, await step("wait", pending_hook, "h")]

    suspended = await run(flow)
    assert most == 3
    done = await resume(flow, answered(suspended.state, h=10))
    assert done.result == Ok(list(range(11)))


async def test_an_async_generator_of_steps_is_closed_at_a_suspension(calls, answered):
    async def pages(step):
        try:
            for i in range(3):
                yield await step(f"page-{i}", calls, f"page-{i}", i)
        finally:
            calls("closed")

    async def flow(step):
        got = []
        async with contextlib.aclosing(pages(step)) as all_pages:
            async for page in all_pages:
                answer = await step(f"wait-{page}", pending_hook, f"h{page}")
                got += [answer]
        return got

    outcome = await run(flow)
    for i in range(3):
        assert calls[-1] == "closed"
        outcome = await resume(flow, answered(outcome.state, **{f"h{i}": i}))
    assert outcome.result == Ok([0, 1, 2])
    assert [c for c in calls if c != "closed"] == ["page-0", "page-1", "page-2"]


async def test_the_context_of_a_step_is_that_of_the_workflow():
    tenant: ContextVar[str] = ContextVar("tenant", default="none")

    async def flow(step):
        tenant.set("acme")
        return [await step("a", tenant.get), *await asyncio.gather(step("b", tenant.get))]

    assert (await run(flow)).result == Ok(["acme", "acme"])
