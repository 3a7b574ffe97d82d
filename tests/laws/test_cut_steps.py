"""A step that the workflow cut off is cut off in each replay, whatever is under way beside it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from awaitpy import (
    Cancelled,
    Err,
    Ok,
    Retry,
    Runner,
    append_entries,
    cancel,
    check,
    first_of,
    forget,
    get_pending_hooks,
    pending_hook,
    resume,
    run,
)


async def never():
    await asyncio.Event().wait()


async def late(step, then=lambda: "fallback"):
    """A branch that cuts a step off, takes its fallback, and waits."""
    try:
        async with asyncio.timeout(0.01):
            await step("cut", never)
    except TimeoutError:
        await step("fallback", then)
    return await step("late", pending_hook, "late")


def kinds(state):
    return {key: entry.kind_name for key, entry in state.steps.items()}


# --- beside other branches ----------------------------------------------------------------------


@pytest.mark.parametrize("how", ["plain", "scope", "child", "child of a child"])
async def test_what_a_branch_waits_for_behind_a_cut_step_stays_pending(answered, how):
    async def mother(step):
        return await step.child("late", late)

    async def behind(step):
        if how.startswith("child"):
            return await step.child("branch", late if how == "child" else mother)
        return await late(step)

    async def two_hooks(step):
        return [await step("a", pending_hook, "a"), await step("b", pending_hook, "b")]

    async def flow(step):
        step = step.scope("s") if how == "scope" else step
        return await asyncio.gather(behind(step), two_hooks(step))

    first = await run(flow)
    assert set(get_pending_hooks(first.state)) == {"late", "a"}
    assert (await check(flow, first.state)).ok
    assert (await resume(flow, first.state)).state == first.state
    second = await resume(flow, answered(first.state, a=1))
    assert set(get_pending_hooks(second.state)) == {"late", "b"}
    third = await resume(flow, answered(second.state, late=2))
    assert get_pending_hooks(third.state) == ["b"]
    assert (await resume(flow, answered(third.state, b=3))).result == Ok([2, [1, 3]])


@pytest.mark.parametrize("does", ["waits", "raises", "fails"])
async def test_a_branch_that_comes_late_while_a_cut_is_waited_for_is_heard(answered, does):
    async def other(step):
        await step("w", pending_hook, "w")
        await asyncio.sleep(0.003)
        if does == "raises":
            await step("raises", lambda: 1 / 0)
        elif does == "fails":
            await step("fails", lambda: Err("no"))
        await step("then", pending_hook, "then")

    async def flow(step):
        return await asyncio.gather(late(step), other(step), step("by", pending_hook, "by"))

    state = (await run(flow)).state
    outcome = await resume(flow, answered(state, w=1))
    assert outcome.state.status == {"waits": "suspended", "raises": "interrupted"}.get(does, "failed")
    if does == "waits":
        assert set(get_pending_hooks(outcome.state)) == {"by", "late", "then"}


@pytest.mark.parametrize("ends", ["fails", "is cancelled"])
async def test_what_was_done_behind_a_cut_step_is_undone(answered, ends):
    undone = []

    async def flow(step):
        async def fails():
            await step("gate", pending_hook, "gate")
            await step("bad", lambda: Err("bad"))

        await asyncio.gather(late(step.options(undo=undone.append)), fails())

    state = (await run(flow)).state
    state = cancel(state, "why") if ends == "is cancelled" else answered(state, gate=1)
    outcome = await resume(flow, state)
    assert outcome.result == Err(Cancelled("why") if ends == "is cancelled" else "bad")
    assert undone == ["fallback"]


async def test_a_run_that_is_undone_waits_for_the_failure_behind_a_cut_step(answered):
    async def fails():
        raise ConnectionError

    async def undo(_):
        if not mended:
            await fails()

    async def flow(step):
        async def second():
            await step.options(undo=undo, retry=Retry(attempts=2, delay=100))("booked", lambda: 1)
            await step("new", pending_hook, "new")

        async def first():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await step("cut", never)
            await step("bad", pending_hook, "bad")
            await step("no", lambda: Err("no"))

        await asyncio.gather(first(), second())

    mended = False
    state = answered((await run(flow)).state, bad=1)
    outcome = await resume(flow, state)
    assert outcome.state.undoing == ("booked",)
    mended = True
    later = Runner(clock=lambda: outcome.state.timers[0].until)
    assert (await later.resume(flow, outcome.state)).result == Err("no")


async def test_a_cut_step_is_not_waited_for_while_what_cut_it_off_was_forgotten_and_waits(answered):
    causes = [pending_hook("cause"), Ok(1)]

    async def flow(step):
        async def cuts():
            slow = asyncio.ensure_future(step("cut", never))
            await asyncio.sleep(0)
            await step("cause", causes.pop)
            slow.cancel()
            await asyncio.wait([slow])
            return await step("end", pending_hook, "end")

        return await asyncio.gather(cuts(), step("w", pending_hook, "w"))

    state = (await run(flow)).state
    assert kinds(state) == {"cause": "value", "cut": "cut"}
    outcome = await resume(flow, forget(state, "cause"))
    assert set(get_pending_hooks(outcome.state)) == {"cause", "w"}
    causes.append(pending_hook("cause"))
    outcome = await resume(flow, answered(outcome.state, cause=2))
    assert set(get_pending_hooks(outcome.state)) == {"end", "w"}


# --- while the store writes ---------------------------------------------------------------------


async def answer(step):
    return await step("a", pending_hook, "h")


async def first(step):
    return (await step("a", first_of, pending_hook("h"), pending_hook("other"))).value


async def expired(step):
    return await step.attempt("a", pending_hook, "h", timeout=0)


async def slept(step):
    return await step.sleep("a", 0.001)


async def put_to_sleep(step):
    return await step.sleep("a", 9)


async def won(step):
    hooks = {name: lambda s, n=name: s("w", pending_hook, n) for name in ("h", "o")}
    return (await step.race("a", hooks)).value


async def tried_again(step):
    return await step.options(retry=Retry(attempts=2, delay=0))("a", lambda: 1 / 0)


@pytest.mark.parametrize(
    "what", [answer, first, expired, slept, put_to_sleep, won, tried_again], ids=lambda flow: flow.__name__
)
async def test_a_timeout_that_strikes_while_the_store_writes_is_replayed_as_it_went(answered, what):
    """The entry is written, and yet the workflow went on without it."""
    stored, slow = [], False

    async def checkpoint(entry):
        if slow and entry.key == "a":
            await asyncio.sleep(0.05)
        stored.append(entry)

    async def flow(step):
        await step("begin", pending_hook, "begin")
        try:
            async with asyncio.timeout(0.03):
                got = await what(step)
        except TimeoutError:
            got = await step("fallback", lambda: "fallback")
        return [got, await step("end", pending_hook, "end")]

    runner = Runner(checkpoint=checkpoint)
    state = (await runner.run(flow)).state
    if what in {answer, first, won}:
        state = (await runner.resume(flow, answered(state, begin=1))).state
        before = answered(state, h=2)
    else:
        before = answered(state, begin=1)
    stored.clear()
    slow = True
    went = await runner.resume(flow, before)
    assert "fallback" in went.state.steps
    assert kinds(went.state)["a"] == "cut"
    for state in [went.state, append_entries(before, *stored)]:
        waits = (await resume(flow, state)).state
        ended = await resume(flow, answered(waits, end=3))
        assert ended.result == Ok(["fallback", 3])


async def test_a_run_goes_on_while_the_store_writes_that_a_step_sleeps_or_begins(answered):
    async def checkpoint(entry):
        if entry.kind_name == "note":
            await asyncio.sleep(0.01)

    async def flow(step):
        first = step.options(on_unknown="fail")
        return await asyncio.gather(
            step("w", pending_hook, "w"), step.sleep("nap", 0.001), first("begins", lambda: 1)
        )

    state = (await Runner(checkpoint=checkpoint).run(flow)).state
    assert set(state.steps) == {"nap", "begins"}
    assert (await resume(flow, answered(state, w=0))).result == Ok([0, None, 1])


# --- before a step begins -----------------------------------------------------------------------


async def test_a_step_that_is_cut_off_before_it_began_is_cut_off_in_each_replay(calls, answered):
    """In a scope it waits for what is journaled there, and may come behind a forgotten step."""

    async def slow():
        await asyncio.sleep(0.05)

    async def flow(step):
        outside, step = step, step.scope("s")

        async def journaled():
            await step("slow", slow)
            await step("after", int)

        async def new():
            await outside("go", pending_hook, "go")
            try:
                async with asyncio.timeout(0.01):
                    await step("new", calls, "new")
            except TimeoutError:
                await step("fallback", calls, "fallback")
            return await step("end", pending_hook, "end")

        return await asyncio.gather(journaled(), new())

    state = (await run(flow)).state
    assert list(state.steps) == ["s/slow", "s/after"]
    state = (await resume(flow, forget(answered(state, go=1), "s/slow"))).state
    assert kinds(state)["s/new"] == "cut"
    assert (await resume(flow, answered(state, end=1))).result == Ok([None, 1])
    assert calls == ["fallback"]


@pytest.mark.parametrize("how", ["step", "child"])
async def test_a_step_that_is_cut_off_while_the_store_writes_of_others_is_cut_off_in_each_replay(
    calls, answered, how
):
    async def checkpoint(entry):
        if entry.kind_name == "cut" and entry.key == "one":
            await asyncio.sleep(0.05)

    async def child(step):
        return await step("in it", calls, "third")

    async def flow(step):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.gather(step("one", never), step("two", never))
        try:
            async with asyncio.timeout(0.02):
                await (step("third", calls, "third") if how == "step" else step.child("third", child))
        except TimeoutError:
            await step("fallback", calls, "fallback")
        return await step("end", pending_hook, "end")

    state = (await Runner(checkpoint=checkpoint).run(flow)).state
    assert kinds(state) == {"one": "cut", "two": "cut", "third": "cut", "fallback": "value"}
    assert (await resume(flow, answered(state, end=1))).result == Ok(1)
    assert calls == ["fallback"]
