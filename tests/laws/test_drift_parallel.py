"""Law 8 in parallel branches: unchanged code never drifts, whatever its timing."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from awaitpy import (
    Ok,
    Runner,
    WorkflowDrift,
    append_entries,
    get_pending_hooks,
    pending_hook,
    resume,
    run,
)


class Parallel:
    """Branches of several steps each, which take as many turns of the loop as a test says."""

    def __init__(self, calls, *, scoped: bool, turns: dict[str, int]) -> None:
        self.calls, self.scoped, self.turns = calls, scoped, turns
        self.renamed: dict[str, str] = {}

    async def work(self, name: str) -> str:
        for _ in range(self.turns[name[0]]):
            await asyncio.sleep(0)
        return self.calls(name, name)

    async def branch(self, step, name):
        mine = step.scope(name) if self.scoped else step
        for i in range(3):
            for _ in range(self.turns[name]):
                await asyncio.sleep(0)
            key = f"{name}{i}"
            await mine(self.renamed.get(key, key), self.work, key)

    async def flow(self, step):
        await step("first", self.calls, "first")
        await asyncio.gather(*(self.branch(step, n) for n in "abc"))
        await step("wait", pending_hook, "h")
        return await step("last", self.calls, "last", "last")


@pytest.mark.parametrize("scoped", [False, True])
@pytest.mark.parametrize("speeds", list(itertools.permutations([0, 3, 25])))
async def test_unchanged_parallel_code_never_drifts_whatever_its_timing(calls, again, scoped, speeds):
    """Crash after each entry; the resume takes the turns of the loop in quite another rhythm."""
    stored = []
    flow = Parallel(calls, scoped=scoped, turns=dict(zip("abc", speeds, strict=True)))
    begun = Runner().start(flow.flow)
    await Runner(checkpoint=stored.append).resume(flow.flow, begun)
    assert len(stored) == 10

    for kept in range(11):
        calls.clear()
        state = append_entries(begun, *stored[:kept])
        for other in ((0, 0, 0), speeds[::-1]):
            flow.turns = dict(zip("abc", other, strict=True))
            outcome = await resume(flow.flow, again(state))
            assert get_pending_hooks(outcome.state) == ["h"], outcome.result
            assert len(outcome.state.steps) == 10
        flow.turns = dict(zip("abc", speeds, strict=True))
        assert len(calls) == 2 * (10 - kept)


async def test_a_rename_inside_a_scope_of_a_branch_is_refused_before_harm(calls, again):
    flow = Parallel(calls, scoped=True, turns=dict.fromkeys("abc", 1))
    state = (await run(flow.flow)).state
    calls.clear()
    flow.renamed = {"b1": "b1-new"}
    outcome = await resume(flow.flow, again(state))
    assert isinstance(outcome.result.error, WorkflowDrift)
    assert outcome.result.error.journaled == "b/b1"
    assert outcome.result.error.asked == "b/b1-new"
    assert calls == []
    assert outcome.state.steps == state.steps


async def test_a_rename_in_a_branch_without_scope_is_refused_at_the_end_at_the_latest(calls, answered):
    flow = Parallel(calls, scoped=False, turns=dict.fromkeys("abc", 1))
    state = (await run(flow.flow)).state
    calls.clear()
    flow.renamed = {"b1": "b1-new"}
    outcome = await resume(flow.flow, answered(state, h=1))
    assert isinstance(outcome.result.error, WorkflowDrift)
    assert "b1" in outcome.result.error.unasked
    assert "last" not in calls
    assert outcome.state.status == "interrupted"


async def test_a_step_removed_from_a_scope_is_refused_before_the_next_of_it(calls, answered):
    async def branch(step, keys):
        for key in keys:
            await step(key, calls, key)
        await step("w", pending_hook, "h")
        await step("end", calls, "end")

    async def flow(step):
        await asyncio.gather(branch(step.scope("s"), keys), step("other", calls, "other"))

    keys = ["a", "b"]
    state = (await run(flow)).state
    calls.clear()
    keys = ["a"]
    outcome = await resume(flow, answered(state, h=1))
    assert isinstance(outcome.result.error, WorkflowDrift)
    assert calls == []


async def test_the_first_of_two_to_finish_is_the_first_on_replay_too(answered):
    """`wait` for the first, use it, then wait for the other: the replay takes the same way."""
    release = asyncio.Event()

    async def slow():
        await release.wait()
        return "slow"

    async def flow(step):
        tasks = [
            asyncio.ensure_future(step("slow", slow)),
            asyncio.ensure_future(step("fast", lambda: "fast")),
        ]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        first = max(task.result() for task in done)
        await step(f"use-{first}", release.set)
        await asyncio.gather(*tasks)
        await step("wait", pending_hook, "h")
        return first

    suspended = await run(flow)
    assert list(suspended.state.steps) == ["fast", "use-fast", "slow"]
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok("fast")


async def test_results_come_as_completed_on_replay_too(answered):
    release = asyncio.Event()

    async def slow():
        await release.wait()
        return "slow"

    async def flow(step):
        got = []
        for each in asyncio.as_completed([step("slow", slow), step("fast", lambda: "fast")]):
            got.append(await each)
            await step(f"use-{got[-1]}", release.set)
        await step("wait", pending_hook, "h")
        return got

    suspended = await run(flow)
    assert list(suspended.state.steps) == ["fast", "use-fast", "slow", "use-slow"]
    done = await resume(flow, answered(suspended.state, h=1))
    assert done.result == Ok(["fast", "slow"])


async def test_a_background_branch_that_comes_late_is_no_drift(calls, answered):
    """The root asks for something new while a branch has not yet asked for what the state has."""

    async def background(step):
        for i in range(3):
            for _ in range(4):
                await asyncio.sleep(0)
            await step(f"b{i}", calls, f"b{i}")

    async def flow(step):
        task = asyncio.ensure_future(background(step))
        await step("wait", pending_hook, "h")
        await step("new", calls, "new")
        await task
        return "done"

    suspended = await run(flow)
    assert list(suspended.state.steps) == ["b0", "b1", "b2"]
    assert (await resume(flow, answered(suspended.state, h=1))).result == Ok("done")
    assert calls == ["b0", "b1", "b2", "new"]


async def test_a_meeting_of_branches_is_no_deadlock_on_resume(calls, again):
    """A step under way waits for the root's next step, while another branch still has to come."""

    async def late(step):
        for _ in range(5):
            await asyncio.sleep(0)
        await step("late", calls, "late")

    async def flow(step):
        arrived = asyncio.Event()
        tasks = [
            asyncio.ensure_future(step("receive", calls.after, arrived, "receive")),
            asyncio.ensure_future(late(step)),
        ]
        for _ in range(skipped):
            await asyncio.sleep(0)
        await step("send", arrived.set)
        await asyncio.gather(*tasks)
        return "done"

    skipped = 20
    stored = []
    runner = Runner(checkpoint=stored.append)
    begun = runner.start(flow)
    await runner.resume(flow, begun)
    assert stored[0].key == "late"

    skipped = 0
    assert (await resume(flow, append_entries(again(begun), stored[0]))).result == Ok("done")
