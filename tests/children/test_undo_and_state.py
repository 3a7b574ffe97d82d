"""Children and undo, cancellation, `forget`, `rewind`, nesting and damaged bytes."""

from __future__ import annotations

import asyncio
import inspect

import msgspec
import pytest

from awaitpy import (
    Cancelled,
    Entry,
    Err,
    NotUndone,
    Ok,
    PendingHook,
    PendingTimer,
    Result,
    ResumeState,
    Retry,
    Runner,
    StateError,
    Step,
    StepMisuse,
    UndoFailed,
    UnknownStep,
    WorkflowDrift,
    append_entries,
    cancel,
    forget,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    resume,
    rewind,
    run,
)


def again(state: ResumeState) -> ResumeState:
    assert ResumeState.from_json(state.to_json()) == state
    return ResumeState.from_bytes(state.to_bytes())


def bad() -> Result[None, str]:
    return Err("bad")


# --- undo -----------------------------------------------------------------------------------------


async def test_a_child_that_fails_undoes_its_own_steps_in_its_own_leg(calls):
    async def inner(step: Step[str]) -> None:
        await step.options(undo=calls.undo("a"))("a", calls, "a")
        await step("bad", bad)

    async def outer(step):
        error = (await step.attempt_child("c", inner)).unwrap_err()
        await step("after", calls, "after")
        return error

    assert (await run(outer)).result == Ok("bad")
    assert calls == ["a", "undo a", "after"]


async def test_a_child_that_has_ended_is_undone_as_one_step_if_that_is_said(calls):
    async def inner(step, name: str) -> str:
        await step.options(undo=calls.undo(f"step of {name}"))("a", calls, name)
        return name

    async def outer(step: Step[str]):
        await step.options(undo=calls.undo("first"))("first", calls, "first")
        await step.options(undo=lambda value: calls(f"undo child {value}")).child("c", inner, "x")
        await step.child("d", inner, "y")
        await step("bad", bad)

    outcome = await run(outer)
    assert outcome.result == Err("bad")
    assert calls == ["first", "x", "y", "undo child x", "undo first"]


async def test_a_child_under_way_is_undone_when_its_parent_fails(calls, reserving):
    async def fails(step):
        await step("gate", pending_hook, "gate")
        await step("bad", bad)

    async def outer(step: Step[str | PendingHook]):
        await step.options(undo=calls.undo("own"))("own", calls, "own")
        await asyncio.gather(step.child("a", reserving, "a"), step.child("b", reserving, "b"), fails(step))

    state = (await run(outer)).state
    outcome = await resume(outer, inject_hook(again(state), "gate", 1))
    assert outcome.result == Err("bad")
    assert calls == ["own", "a", "b", "undo b", "undo a", "undo own"]
    assert [c.status for c in again(outcome.state).children.values()] == ["failed", "failed"]
    assert get_pending_hooks(outcome.state) == []
    calls.clear()
    assert (await resume(outer, again(outcome.state))).result == Err("bad")
    assert calls == []


async def test_cancelling_a_run_cancels_its_children_under_way(calls, reserving):
    async def outer(step):
        await step.options(undo=calls.undo("own"))("own", calls, "own")
        return await asyncio.gather(*(step.child(n, reserving, n) for n in "abc"))

    state = (await run(outer)).state
    state = (await resume(outer, inject_hook(again(state), "h-b", "done"))).state
    outcome = await resume(outer, cancel(again(state), "no more"))
    assert outcome.result == Err(Cancelled("no more"))
    assert calls == ["own", "a", "b", "c", "undo c", "undo a", "undo own"]
    assert "b" in outcome.state.steps
    done = await resume(outer, again(outcome.state))
    assert done.result == outcome.result


async def test_undoing_a_child_that_is_put_off_goes_on_in_a_later_leg(calls):
    now = [0.0]
    fails = [True]

    def undo(_):
        calls("undo")
        if fails:
            raise ConnectionError("later")

    async def inner(step):
        await step.options(undo=undo, retry=Retry(attempts=3, delay=60))("a", calls, "a")
        await step("w", pending_hook, "h")

    async def outer(step):
        await step.options(undo=calls.undo("own"))("own", calls, "own")
        await step.child("c", inner)

    runner = Runner(clock=lambda: now[0])
    state = cancel((await runner.run(outer)).state, "no")
    first = await runner.resume(outer, again(state))
    assert isinstance(first.result.unwrap_err(), PendingTimer)
    assert first.result.unwrap_err().step_key == "c/undo:a"
    assert next_wakeup(again(first.state)).timestamp() == 60
    assert get_pending_hooks(first.state) == []
    assert calls == ["own", "a", "undo"]
    now[0] = 61.0
    fails.clear()
    second = await runner.resume(outer, again(first.state))
    assert second.result == Err(Cancelled("no"))
    assert calls == ["own", "a", "undo", "undo", "undo own"]


async def test_a_crash_at_any_entry_of_undoing_undoes_each_once(calls, reserving):
    async def fails(step):
        await step("gate", pending_hook, "gate")
        await step("bad", bad)

    async def outer(step: Step[str | PendingHook]):
        await step.options(undo=calls.undo("own"))("own", calls, "own")
        await asyncio.gather(step.child("a", reserving, "a"), fails(step))

    state = inject_hook((await run(outer)).state, "gate", 1)
    stored = []
    await Runner(checkpoint=stored.append).resume(outer, state)
    for moment in range(len(stored) + 1):
        calls.clear()
        outcome = await resume(outer, again(append_entries(state, *stored[:moment])))
        assert outcome.result == Err("bad")
        done = [e.key for e in stored[:moment]]
        inner = sum(e.kind_name == "child" for e in stored[:moment])
        assert calls == [
            *([] if inner > 1 else ["undo a"]),
            *([] if "undo:own" in done else ["undo own"]),
        ]


async def test_what_a_child_could_not_undo_is_reported(calls):
    def breaks(_):
        raise ValueError("gone")

    async def inner(step: Step[str | PendingHook]) -> None:
        await step.options(undo=breaks)("a", calls, "a")
        if await step("w", pending_hook, "h"):
            await step("bad", bad)

    async def outer(step):
        await step.child("c", inner)

    async def tries(step):
        error = (await step.attempt_child("c", inner)).unwrap_err()
        return [type(error).__name__, error.error, await step("end", pending_hook, "end")]

    state = (await run(outer)).state
    failures = (NotUndone("a", "ValueError: gone"),)
    failed = await resume(outer, inject_hook(state, "h", 1))
    assert failed.result == Err(UndoFailed("bad", failures))
    cancelled = (await resume(outer, cancel(state, "no"))).result.unwrap_err()
    assert cancelled.error == Cancelled("no")
    assert [f.step_key for f in cancelled.failures] == ["c"]
    assert cancelled.failures[0].reason == "c/a: ValueError: gone"
    kept = await resume(tries, inject_hook((await run(tries)).state, "h", 1))
    third = await resume(tries, inject_hook(again(kept.state), "end", 3))
    assert third.result == Ok(["UndoFailed", "bad", 3])


async def test_a_child_that_the_code_no_longer_asks_for_is_reported_as_not_undone(calls, reserving):
    here = [True]

    async def outer(step):
        if here:
            await step.child("c", reserving, "a")
        await step("w", pending_hook, "other")

    state = (await run(outer)).state
    here.clear()
    outcome = await resume(outer, cancel(state))
    error = outcome.result.unwrap_err()
    assert error.failures == (NotUndone("c", "the code no longer says how"),)


async def test_a_parent_that_fails_no_more_while_it_is_undone_is_told(calls, reserving):
    fails = [True]

    async def maybe(step):
        if fails:
            await step("bad", bad)

    async def outer(step: Step[str | PendingHook]):
        await asyncio.gather(step.child("c", reserving, "a"), maybe(step))

    class Stop(Exception):
        pass

    def stop(entry):
        if entry.key == "undo:":
            raise Stop

    outcome = await Runner(checkpoint=stop).run(outer)
    assert isinstance(outcome.result.unwrap_err().cause, Stop)
    fails.clear()
    told = await resume(outer, forget_entry(outcome.state, "bad"))
    assert told.result == Err(WorkflowDrift("c", "undo:", ("undo:",)))


def forget_entry(state: ResumeState, key: str) -> ResumeState:
    """Take an entry out by hand, which `forget` refuses in a run that is being undone."""
    return msgspec.structs.replace(state, entries={k: e for k, e in state.entries.items() if k != key})


# --- the caller, and nothing behind the back --------------------------------------------------------


async def test_cancelling_the_caller_ends_all_tasks_of_a_child_and_journals_none_of_it(calls):
    async def long(name):
        calls(f"{name} begins")
        await asyncio.sleep(60)

    async def inner(step):
        await step("first", calls, "first")
        await asyncio.gather(step("x", long, "x"), step("y", long, "y"))

    async def outer(step):
        await asyncio.gather(step.child("c", inner), step("z", long, "z"))

    stored = []
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(Runner(checkpoint=stored.append).run(outer))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert sorted(calls) == ["first", "x begins", "y begins", "z begins"]
    assert [e.kind_name for e in stored] == ["child", "child"]


async def test_a_child_that_is_cut_off_while_its_start_is_stored_is_cut_off_again(calls, reserving):
    async def outer(step):
        try:
            async with asyncio.timeout(0.001):
                await step.child("c", reserving, "a")
        except TimeoutError:
            return [await step("fallback", calls, "fallback"), await step("w", pending_hook, "end")]

    async def store(entry):
        await asyncio.sleep(0.01 if entry.kind_name == "child" else 0)

    state = (await Runner(checkpoint=store).run(outer)).state
    assert [(k, e.kind_name) for k, e in state.steps.items()] == [("c", "cut"), ("fallback", "value")]
    done = await resume(outer, inject_hook(again(state), "end", 1))
    assert done.result == Ok([None, 1])
    assert calls == ["fallback"]


async def test_a_child_that_the_parent_left_is_ended_with_it(calls):
    async def slowly(name):
        await asyncio.sleep(0.01)
        calls(name)

    async def inner(step):
        await step("a", slowly, "a")
        await step("b", slowly, "b")

    async def outer(step):
        task = asyncio.ensure_future(step.child("c", inner))
        await step("own", asyncio.sleep, 0.001)
        return task.done()

    before = asyncio.all_tasks()
    outcome = await run(outer)
    assert outcome.result == Ok(value=False)
    assert asyncio.all_tasks() == before
    assert calls == ["a"]
    assert list(outcome.state.children["c"].steps) == ["a"]
    assert outcome.state.children["c"].status == "running"


async def test_a_child_that_awaits_no_step_does_not_hold_the_parent():
    async def inner(step):
        await step("a", lambda: 1)
        await asyncio.sleep(60)

    async def outer(step):
        await asyncio.gather(step.child("c", inner), step("w", pending_hook, "h"))

    outcome = await run(outer)
    assert outcome.result == Err(PendingHook("h", "w"))
    assert list(outcome.state.children["c"].steps) == ["a"]


async def test_a_failing_sibling_lets_the_step_of_a_child_end_and_starts_no_other(calls):
    async def slowly(name):
        for _ in range(30):
            await asyncio.sleep(0)
        calls(name)

    async def inner(step):
        await asyncio.gather(step("a", slowly, "a"), step("b", slowly, "b"))
        await step("c", slowly, "c")

    async def raises():
        await asyncio.sleep(0)
        raise ValueError("no")

    async def outer(step):
        await asyncio.gather(step.child("in", inner), step("bad", raises))

    outcome = await run(outer)
    assert outcome.result.unwrap_err().key == "bad"
    assert calls == ["a", "b"]
    assert list(outcome.state.children["in"].steps) == ["a", "b"]
    assert (await run(outer)).state.children["in"].status == "running"


async def test_two_runs_at_once_do_not_end_each_others_tasks():
    async def leaves(step):
        task = asyncio.ensure_future(asyncio.sleep(60))
        await step("a", asyncio.sleep, 0.001)
        return task.done()

    async def works(step):
        return await step("b", asyncio.sleep, 0.02, "done")

    async def outer(step):
        return await asyncio.gather(step.child("one", leaves), step("two", asyncio.sleep, 0.02, "two"))

    other = asyncio.ensure_future(run(works))
    assert (await run(leaves)).result == Ok(value=False)
    assert (await run(outer)).result == Ok([False, "two"])
    assert (await other).result == Ok("done")


async def test_a_run_whose_branch_goes_on_after_its_end_keeps_its_result():
    async def branch(step):
        await step("a", asyncio.sleep, 0.01)
        await step("b", asyncio.sleep, 0.01)

    async def outer(step):
        task = asyncio.ensure_future(branch(step))
        await step("x", asyncio.sleep, 0.001)
        return task.done()

    outcome = await run(outer)
    assert outcome.result == Ok(value=False)
    assert list(outcome.state.steps) == ["x", "a"]


# --- forget and rewind ------------------------------------------------------------------------------


async def test_forgetting_a_child_begins_it_anew(calls, reserving):
    async def outer(step):
        return [await step.child("c", reserving, "a"), await step("w", pending_hook, "end")]

    state = (await run(outer)).state
    fresh = forget(state, "c")
    assert fresh.children == {}
    assert (await resume(outer, again(fresh))).result == Err(PendingHook("h-a", "c/w"))
    assert calls == ["a", "a"]
    ended = (await resume(outer, inject_hook(state, "h-a", "x"))).state
    for back in (forget(ended, "c"), rewind(ended, "c")):
        assert back.children == {}
        assert (await resume(outer, again(back))).result == Err(PendingHook("h-a", "c/w"))


async def test_forgetting_a_step_of_a_child_runs_it_again_and_then_the_parent_goes_on(calls, reserving):
    async def outer(step):
        return [await step.child("c", reserving, "a"), await step("w", pending_hook, "end")]

    state = (await run(outer)).state
    assert (await resume(outer, forget(state, "c/reserve"))).result == Err(PendingHook("h-a", "c/w"))
    assert calls == ["a", "a"]
    ended = (await resume(outer, inject_hook(state, "h-a", "x"))).state
    back = forget(ended, "c/w")
    assert back.forgotten == ("c",)
    waits = await resume(outer, again(back))
    assert waits.result == Err(PendingHook("h-a", "c/w"))
    assert calls == ["a", "a"]
    done = await resume(outer, inject_hook(waits.state, "h-a", "y"))
    assert (await resume(outer, inject_hook(done.state, "end", 1))).result == Ok(["y", 1])
    rewound = rewind(ended, "c/reserve")
    assert rewound.children["c"].steps == {}
    for key in ("d/x", "nothing", "c/nothing"):
        with pytest.raises(UnknownStep):
            forget(state, key)
        with pytest.raises(UnknownStep):
            rewind(state, key)


async def test_rewinding_drops_the_children_that_have_not_ended(calls, reserving):
    async def outer(step):
        await step("own", calls, "own")
        await step("two", calls, "two")
        return await step.child("c", reserving, "a")

    state = (await run(outer)).state
    assert rewind(state, "two").children == {}
    cancelled = (await resume(outer, cancel(state))).state
    for key in ("c", "c/reserve"):
        with pytest.raises(StepMisuse):
            forget(cancelled, key)
    back = rewind(cancelled, "own")
    assert (await resume(outer, back)).result == Err(PendingHook("h-a", "c/w"))


# --- nesting and damaged bytes ----------------------------------------------------------------------


async def endless(step, depth: int = 0):
    return await step.child("next", endless, depth + 1)


async def nested(step: Step[PendingHook], depth: int) -> object:
    if depth == 0:
        return await step("w", pending_hook, "h")
    return await step.child("n", nested, depth - 1)


async def test_workflows_without_an_end_get_a_clear_error():
    outcome = await run(endless)
    error = outcome.result.unwrap_err()
    assert isinstance(error.cause, StepMisuse)
    assert "deeper than 16" in str(error)
    again(outcome.state)


async def test_children_may_be_nested_deep_and_hold_deep_values():
    deep: object = 1
    for _ in range(90):
        deep = [deep]
    outcome = await run(nested, 16)
    assert outcome.state.pending[0].step_key == "n/" * 16 + "w"
    state = again(inject_hook(again(outcome.state), "h", deep))
    done = await resume(nested, state)
    assert done.result == Ok(deep)
    again(done.state)


@pytest.mark.parametrize("depth", [17, 60, 400, 5000])
def test_bytes_that_nest_runs_too_deep_are_no_state(depth):
    def wire(more):
        fields = {"awaitpy": 1, "run_id": "r", "workflow": "w", "version": 1, "revision": 0}
        return {**fields, "status": "running", "entries": [], **more}

    head, _, tail = msgspec.msgpack.encode(wire({"more": {"children": {"c": 0}}})).rpartition(b"\x00")
    data = msgspec.msgpack.encode(wire({}))
    for _ in range(depth):
        data = head + data + tail
    with pytest.raises(StateError):
        ResumeState.from_bytes(data)
    if depth < 100:
        text = msgspec.json.encode(msgspec.msgpack.decode(data))
        with pytest.raises(StateError):
            ResumeState.from_json(text)


def _damaged() -> list[bytes]:
    encode = msgspec.msgpack.encode
    wire = {"awaitpy": 2, "run_id": "r", "workflow": "w", "version": 1, "revision": 0, "status": "running"}
    return [b"\xc1", b"", encode({}), encode({"entry": ["a", 0, 1]}), encode({"state": wire}), encode([1])]


@pytest.mark.parametrize("payload", _damaged())
def test_a_damaged_entry_of_a_child_is_a_state_error(payload):
    async def flow(step):
        return 1

    entry = Entry("c", 11, msgspec.Raw(payload))
    assert entry.kind_name == "child"
    with pytest.raises(StateError):
        append_entries(Runner().start(flow), entry)


async def test_a_damaged_error_of_a_child_is_told(calls):
    async def inner(step: Step[PendingHook]) -> None:
        await step("w", pending_hook, "h", timeout=0)

    async def outer(step):
        await step.attempt_child("c", inner)
        return await step("end", pending_hook, "end")

    state = (await run(outer)).state
    entry = state.entries["c"]
    assert entry.form == 3
    for payload in (["awaitpy.HookTimeout", 1, 5], ["awaitpy.Nothing", 1, 5], 7):
        raw = msgspec.Raw(msgspec.msgpack.encode(payload))
        changed = msgspec.structs.replace(entry, payload=raw)
        damaged = msgspec.structs.replace(state, entries={"c": changed})
        assert "'c'" in str((await resume(outer, damaged)).result.unwrap_err())


def test_the_names_of_children_have_docstrings():
    assert inspect.getdoc(Step.child)
    assert inspect.getdoc(Step.attempt_child)


async def test_a_run_whose_undo_was_put_off_fails_as_it_did_before(calls):
    now = [0.0]

    def undo(_):
        calls("undo")
        if now[0] == 0:
            raise ConnectionError("later")

    async def inner(step):
        await step.options(undo=undo, retry=Retry(attempts=3, delay=60))("a", calls, "a")
        await step("w", pending_hook, "h")

    async def fails(step):
        await step("gate", pending_hook, "gate")
        await step("bad", bad)

    async def outer(step: Step[str | PendingHook]):
        await asyncio.gather(step.child("c", inner), fails(step))

    runner = Runner(clock=lambda: now[0])
    state = inject_hook((await runner.run(outer)).state, "gate", 1)
    first = await runner.resume(outer, again(state))
    assert isinstance(first.result.unwrap_err(), PendingTimer)
    now[0] = 61.0
    assert (await runner.resume(outer, again(first.state))).result == Err("bad")
    assert calls == ["a", "undo", "undo"]


async def test_a_child_may_be_cancelled_alone(calls, reserving):
    async def outer(step):
        error = (await step.attempt_child("c", reserving, "a")).unwrap_err()
        return [str(error), await step("end", pending_hook, "end")]

    state = (await run(outer)).state
    child = cancel(state.children["c"], "alone")
    alone = msgspec.structs.replace(state, children={"c": child})
    second = await resume(outer, again(alone))
    assert calls == ["a", "undo a"]
    third = await resume(outer, inject_hook(again(second.state), "end", 1))
    assert third.result == Ok([str(Cancelled("alone")), 1])
