"""Children in races: one that loses is cut off, waits no more, and is undone with its parent."""

from __future__ import annotations

import asyncio

import pytest

from awaitpy import (
    Cancelled,
    Err,
    Ok,
    ResumeState,
    RunFinished,
    Runner,
    append_entries,
    cancel,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
)


def again(state: ResumeState) -> ResumeState:
    return ResumeState.from_bytes(state.to_bytes())


@pytest.fixture
def racing(calls, reserving):
    """A race between a child that reserves and waits for hook `a`, and a wait for `gate`."""

    async def outer(step) -> list[str]:
        async def quick(mine) -> str:
            return await mine("w", pending_hook, "gate", str)

        async def slow(mine) -> str:
            return await mine.child("c", reserving, "a")

        won = await step.race("r", {"child": slow, "quick": quick})
        ended = await step("w", pending_hook, "end", str)
        if ended == "bad":
            return await step("bad", lambda: Err("bad"))
        return [won.name, won.value, ended]

    return outer


async def test_a_child_that_loses_waits_no_more_and_takes_no_delivery(racing, calls):
    state = (await run(racing)).state
    assert sorted(get_pending_hooks(state)) == ["gate", "h-a"]
    state = (await resume(racing, inject_hook(state, "gate", "x"))).state
    assert get_pending_hooks(state) == ["end"]
    assert state.steps["r/child/c"].kind_name == "cut"
    with pytest.raises(RunFinished):
        inject_hook(state, "h-a", "late")
    before = list(calls)
    outcome = await resume(racing, inject_hook(again(state), "end", "y"))
    assert outcome.result == Ok(["quick", "x", "y"])
    assert calls == before


async def test_a_child_that_wins_gives_its_value(racing):
    state = (await run(racing)).state
    state = (await resume(racing, inject_hook(state, "h-a", "x"))).state
    assert get_pending_hooks(state) == ["end"]
    outcome = await resume(racing, inject_hook(again(state), "end", "y"))
    assert outcome.result.unwrap()[0] == "child"


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_a_child_that_lost_is_undone_with_its_parent_whatever_entry_a_crash_comes_after(
    racing, calls, how
):
    state = (await run(racing)).state
    state = (await resume(racing, inject_hook(state, "gate", "x"))).state
    state = cancel(state, "why") if how == "is cancelled" else inject_hook(state, "end", "bad")
    stored = []
    calls.clear()
    wanted = (await Runner(checkpoint=stored.append).resume(racing, state)).result
    assert wanted == (Err(Cancelled("why")) if how == "is cancelled" else Err("bad"))
    undone = list(calls)
    assert undone
    for moment in range(len(stored) + 1):
        calls.clear()
        outcome = await resume(racing, again(append_entries(state, *stored[:moment])))
        assert outcome.result == wanted
        assert undone[len(undone) - len(calls) :] == calls
    assert calls == []


async def test_a_crash_at_any_entry_of_a_race_with_a_child_ends_as_without(racing, calls):
    state = inject_hook((await run(racing)).state, "gate", "x")
    stored = []
    await Runner(checkpoint=stored.append).resume(racing, state)
    assert [entry.kind_name for entry in stored] == ["answer", "cut", "race"]
    before = list(calls)
    for moment in range(len(stored) + 1):
        crashed = again(append_entries(state, *stored[:moment]))
        suspended = (await resume(racing, crashed)).state
        assert get_pending_hooks(suspended) == ["end"]
        outcome = await resume(racing, inject_hook(again(suspended), "end", "y"))
        assert outcome.result == Ok(["quick", "x", "y"])
    assert calls == before


async def test_a_child_may_race_within_itself(calls):
    async def inner(step) -> str:
        async def lane(mine, name: str) -> str:
            return await mine("w", pending_hook, name, str)

        won = await step.race("r", {n: lambda s, n=n: lane(s, n) for n in ("a", "b")})
        return won.value + await step("last", calls, "last", "!")

    async def outer(step) -> list[str]:
        return await asyncio.gather(step.child("c", inner), step("w", pending_hook, "own", str))

    state = (await run(outer)).state
    state = (await resume(outer, inject_hook(state, "b", "x"))).state
    assert get_pending_hooks(state) == ["own"]
    assert (await resume(outer, inject_hook(again(state), "own", "y"))).result == Ok(["x!", "y"])
    assert calls == ["last"]


async def test_a_child_whose_start_is_being_stored_when_its_parent_ends_runs_nothing(calls):
    ended = asyncio.Event()

    async def store(entry) -> None:
        if entry.kind_name == "child":
            ended.set()
            for _ in range(5):
                await asyncio.sleep(0)

    async def fails() -> None:
        await ended.wait()
        raise ConnectionError("down")

    async def inner(step) -> str:
        return await step("a", calls, "a", "A")

    async def outer(step) -> list[str]:
        return await asyncio.gather(step.child("c", inner), step("bad", fails))

    outcome = await Runner(checkpoint=store).run(outer)
    assert isinstance(outcome.result.unwrap_err().cause, ConnectionError)
    assert calls == []
    assert outcome.state.children["c"].status == "running"
