"""Law 5: what happens to the branches beside one that waits, or ends the run."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from awaitpy import (
    Err,
    Ok,
    PendingHook,
    get_pending_hooks,
    pending_hook,
    resume,
    run,
)


def alive() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def parallel(kind, *branches):
    """Run coroutines in parallel, in one of the ways that asyncio has."""
    if kind == "gather":
        return list(await asyncio.gather(*branches))
    if kind == "group":
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(b) for b in branches]
        return [task.result() for task in tasks]
    tasks = [asyncio.ensure_future(b) for b in branches]
    if kind == "wait":
        await asyncio.wait(tasks)
    return [await task for task in tasks]


KINDS = ["gather", "group", "wait", "tasks"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_slow_sibling_of_a_hook_is_awaited_and_journaled(calls, answered, kind):
    release = asyncio.Event()

    async def flow(step):
        return await parallel(
            kind, step("wait", pending_hook, "h"), step("slow", calls.after, release, "slow", 2)
        )

    under_way = asyncio.ensure_future(run(flow))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not under_way.done()
    release.set()
    outcome = await under_way
    assert isinstance(outcome.result.error, PendingHook)
    assert list(outcome.state.steps) == ["slow"]
    assert alive() == set()
    assert (await resume(flow, answered(outcome.state, h=1))).result == Ok([1, 2])
    assert calls == ["slow begins", "slow ends"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_sibling_goes_on_to_its_own_wait_before_the_run_suspends(calls, kind):
    release = asyncio.Event()

    async def long_way(step):
        await step("one", calls.after, release, "one")
        await step("two", calls, "two")
        return await step("w2", pending_hook, "second")

    async def flow(step):
        return await parallel(kind, step("w1", pending_hook, "first"), long_way(step))

    under_way = asyncio.ensure_future(run(flow))
    await asyncio.sleep(0.002)
    release.set()
    outcome = await under_way
    assert get_pending_hooks(outcome.state) == ["first", "second"]
    assert list(outcome.state.steps) == ["one", "two"]


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
@pytest.mark.parametrize("kind", KINDS)
async def test_hooks_that_wait_together_are_answered_in_any_order(answered, kind, order):
    async def flow(step):
        return await parallel(kind, *(step(f"w{n}", pending_hook, n) for n in "abc"))

    outcome = await run(flow)
    waiting = ["a", "b", "c"]
    for name in order:
        assert get_pending_hooks(outcome.state) == waiting
        assert outcome.result.error.hook_id == waiting[0]
        waiting.remove(name)
        outcome = await resume(flow, answered(outcome.state, **{name: name.upper()}))
    assert outcome.result == Ok(["A", "B", "C"])


async def test_hooks_that_wait_together_may_be_answered_at_once(answered):
    async def flow(step):
        return await asyncio.gather(*(step(f"w{n}", pending_hook, n) for n in "abc"))

    state = answered((await run(flow)).state, c=3, a=1, b=2)
    assert get_pending_hooks(state) == []
    assert (await resume(flow, state)).result == Ok([1, 2, 3])


@pytest.mark.parametrize("depth", [1, 5, 15, 40])
@pytest.mark.parametrize("kind", ["gather", "group"])
async def test_hooks_wait_together_however_deep_their_branches_are_nested(kind, depth):
    async def nest(step, left):
        if not left:
            return await step("deep", pending_hook, "deep")
        return (await parallel(kind, nest(step, left - 1)))[0]

    async def flow(step):
        await parallel(kind, step("top", pending_hook, "top"), nest(step, depth))

    assert get_pending_hooks((await run(flow)).state) == ["top", "deep"]


async def test_the_order_of_waiting_is_kept_over_resumes(answered):
    async def chain(step, name):
        await step(f"{name}1", pending_hook, f"{name}1")
        await step(f"{name}2", pending_hook, f"{name}2")

    async def flow(step):
        await asyncio.gather(chain(step, "a"), chain(step, "b"), chain(step, "c"))

    outcome = await run(flow)
    assert get_pending_hooks(outcome.state) == ["a1", "b1", "c1"]
    outcome = await resume(flow, answered(outcome.state, a1=1))
    assert get_pending_hooks(outcome.state) == ["b1", "c1", "a2"]
    outcome = await resume(flow, answered(outcome.state, c1=1))
    assert get_pending_hooks(outcome.state) == ["b1", "a2", "c2"]
    since = [record.since for record in outcome.state.pending]
    assert since == sorted(since)


async def test_a_sibling_step_is_journaled_when_the_body_of_another_branch_raises(calls, again):
    release = asyncio.Event()
    broken = True

    async def fragile(step):
        await step("quick", calls, "quick")
        if broken:
            raise ValueError("a bug in the body")

    async def flow(step):
        await asyncio.gather(step("slow", calls.after, release, "slow"), fragile(step))
        return "done"

    under_way = asyncio.ensure_future(run(flow))
    await asyncio.sleep(0.002)
    release.set()
    outcome = await under_way
    assert isinstance(outcome.result.error.cause, ValueError)
    assert set(outcome.state.steps) == {"slow", "quick"}
    broken = False
    assert (await resume(flow, again(outcome.state))).result == Ok("done")
    assert sorted(calls) == ["quick", "slow begins", "slow ends"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["typed", "raised"])
async def test_a_sibling_step_is_journaled_when_another_step_fails(calls, kind, how):
    release = asyncio.Event()

    def failing():
        if how == "typed":
            return Err("no")
        raise OSError("no")

    async def flow(step):
        return await parallel(kind, step("slow", calls.after, release, "slow"), step("failing", failing))

    under_way = asyncio.ensure_future(run(flow))
    await asyncio.sleep(0.002)
    assert not under_way.done()
    release.set()
    outcome = await under_way
    assert outcome.state.status == ("failed" if how == "typed" else "interrupted")
    assert "slow" in outcome.state.steps
    assert calls == ["slow begins", "slow ends"]
    assert alive() == set()


async def test_no_new_step_begins_after_another_has_failed(calls):
    release = asyncio.Event()

    async def long_way(step):
        await step("one", calls.after, release, "one")
        await step("two", calls, "two")

    async def flow(step):
        await asyncio.gather(long_way(step), step("failing", lambda: Err("no")))

    under_way = asyncio.ensure_future(run(flow))
    await asyncio.sleep(0.002)
    release.set()
    assert (await under_way).result == Err("no")
    assert calls == ["one begins", "one ends"]


async def test_a_branch_waiting_for_a_semaphore_is_not_awaited_for_ever(answered):
    async def flow(step):
        gate = asyncio.Semaphore(2)

        async def one(n):
            async with gate:
                return await step(f"w{n}", pending_hook, f"h{n}")

        return await asyncio.gather(*(one(n) for n in range(4)))

    outcome = await run(flow)
    assert get_pending_hooks(outcome.state) == ["h0", "h1"]
    outcome = await resume(flow, answered(outcome.state, h1=1))
    assert get_pending_hooks(outcome.state) == ["h0", "h2"]
    outcome = await resume(flow, answered(outcome.state, h0=0, h2=2))
    assert get_pending_hooks(outcome.state) == ["h3"]
    assert (await resume(flow, answered(outcome.state, h3=3))).result == Ok([0, 1, 2, 3])


async def test_a_step_that_waits_for_another_branch_does_not_block_the_run(calls):
    """Steps may meet in memory (a queue, an event) as long as they run in one leg."""

    async def flow(step):
        arrived = asyncio.Event()

        async def sender():
            await step("prepare", calls, "prepare")
            await step("send", arrived.set)

        return await asyncio.gather(step("receive", calls.after, arrived, "receive"), sender())

    assert (await run(flow)).state.status == "completed"
    assert calls == ["receive begins", "prepare", "receive ends"]
