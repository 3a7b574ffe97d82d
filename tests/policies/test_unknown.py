"""What a step's function can learn of itself, and what is known of an attempt that a crash cut off."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from awaitpy import (
    CurrentStep,
    Err,
    Ok,
    Retry,
    StepInterrupted,
    StepMisuse,
    append_entries,
    create_hook,
    current_step,
    forget,
    inject_hook,
    pending_hook,
    resume,
    run,
)

DOWN = ConnectionError("down")


# --- current_step -------------------------------------------------------------------------------


async def test_a_function_learns_its_run_its_full_key_and_its_attempt(world):
    async def flow(step):
        mine = step.scope("x")
        return [
            await mine("sync", lambda: world.log.append(current_step())),
            await mine("async", later),
            await mine("thread", asyncio.to_thread, in_thread),
        ]

    async def later() -> None:
        await asyncio.sleep(0)
        world.log.append(current_step())

    def in_thread() -> None:
        world.log.append(current_step())

    await world.run(flow)
    assert world.log == [CurrentStep("run", f"x/{key}", 1) for key in ("sync", "async", "thread")]
    assert world.log[0].idempotency_key == "run:x/sync"


async def test_parallel_steps_know_themselves(world):
    async def told(n: int) -> str:
        await asyncio.sleep(0)
        return current_step().key

    async def flow(step):
        return await asyncio.gather(*(step(f"s{n}", told, n) for n in range(5)))

    assert (await world.run(flow)).result == Ok([f"s{n}" for n in range(5)])


async def test_outside_of_a_steps_function_there_is_no_step(world):
    async def flow(step):
        await step("a", lambda: 1)
        current_step()

    assert isinstance((await world.run(flow)).result.unwrap_err().cause, StepMisuse)
    with pytest.raises(StepMisuse, match="outside"):
        current_step()


async def test_a_run_within_a_step_has_steps_of_its_own(world):
    async def inner(step):
        try:
            current_step()
        except StepMisuse:
            return await step("b", lambda: current_step().key)

    async def outer() -> list[str]:
        return [(await run(inner)).result.unwrap(), current_step().key]

    async def flow(step):
        return await step("a", outer)

    assert (await world.run(flow)).result == Ok(["b", "a"])


async def test_the_key_for_a_provider_is_the_same_after_a_crash(world):
    def pays() -> int:
        world.log.append(current_step().idempotency_key)
        if len(world.log) == 1:
            raise DOWN
        return 5

    async def flow(step):
        return await step("pay", pays)

    state = (await world.run(flow)).state
    assert (await world.resume(flow, state)).result == Ok(5)
    assert world.log == ["run:pay"] * 2


# --- on_unknown ---------------------------------------------------------------------------------


def charging(world, fn, **policy):
    async def flow(step):
        return repr(await step.options(**policy).attempt("pay", fn))

    return flow


async def killed(world, flow):
    """Give the state after a process died while a step was under way."""
    begun = world.runner().start(flow)
    task = asyncio.ensure_future(world.resume(flow, begun))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return append_entries(begun, *world.stored)


def stuck_once(world):
    async def pays() -> int:
        world.log.append(current_step().attempt)
        if len(world.log) == 1:
            await asyncio.Event().wait()
        return 5

    return pays


async def test_that_an_attempt_begins_is_journaled_before_it_does(world):
    def pays() -> int:
        world.log.append([entry.kind_name for entry in world.stored])
        return 5

    await world.run(charging(world, pays, on_unknown="run"))
    assert world.log == [["note"]]
    assert [entry.kind_name for entry in world.stored] == ["note", "value"]


async def test_without_the_option_nothing_is_noted(world):
    state = await killed(world, charging(world, stuck_once(world)))
    assert world.stored == []
    assert state.underway == {}


async def test_an_attempt_whose_end_is_unknown_may_run_again_as_the_next_one(world):
    flow = charging(world, stuck_once(world), on_unknown="run")
    state = await killed(world, flow)
    outcome = await world.resume(flow, state)
    assert outcome.result == Ok("Ok(value=5)")
    assert world.log == [1, 2]
    assert outcome.state.underway == {}


async def test_or_it_ends_with_a_typed_error_and_is_not_run_again(world, kinds):
    flow = charging(world, stuck_once(world), on_unknown="fail")
    state = await killed(world, flow)
    outcome = await world.resume(flow, state)
    assert outcome.result == Ok("Err(error=StepInterrupted(step_key='pay', attempt=1))")
    assert kinds(outcome.state) == {"pay": "policy"}
    assert world.log == [1]
    assert (await world.resume(flow, outcome.state)).result == outcome.result


async def test_without_attempt_it_ends_the_run(world):
    async def flow(step):
        await step.options(on_unknown="fail")("pay", stuck_once(world))

    state = await killed(world, flow)
    outcome = await world.resume(flow, state)
    assert outcome.result == Err(StepInterrupted("pay", 1))
    assert outcome.state.status == "failed"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_forgetting_the_step_runs_it_again(world, when):
    flow = charging(world, stuck_once(world), on_unknown="fail")
    state = await killed(world, flow)
    if when == "after":
        state = (await world.resume(flow, state)).state
    outcome = await world.resume(flow, forget(state, "pay"))
    assert outcome.result == Ok("Ok(value=5)")


@pytest.mark.parametrize("end", [DOWN, Err("no"), object()])
async def test_an_end_that_is_known_leaves_no_note(world, end):
    flow = charging(world, world.step("pay", end, 5), on_unknown="fail")
    outcome = await world.run(flow)
    assert outcome.state.underway == {}
    again = append_entries(world.runner().start(flow), *world.stored)
    assert again.underway == {}
    if outcome.state.status == "interrupted":
        assert (await world.resume(flow, again)).result == Ok("Ok(value=5)")


async def test_a_wait_leaves_no_note(world):
    def asks():
        world.log.append("asked")
        return pending_hook("h", int)

    flow = charging(world, asks, on_unknown="fail")
    outcome = await world.run(flow)
    assert outcome.state.underway == {}
    assert [entry.kind_name for entry in world.stored] == ["note", "note"]
    done = await world.resume(flow, inject_hook(outcome.state, "h", 5))
    assert done.result == Ok("Ok(value=5)")


async def test_what_does_nothing_outside_is_not_noted(world):
    async def flow(step):
        mine = step.options(on_unknown="fail")
        hook = await mine("hook", create_hook)
        await mine.sleep("nap", 1)
        await mine.now("now")
        await mine.uuid("id")
        await mine.random("number")
        await mine("w", pending_hook, hook.hook_id)

    await world.run(flow)
    assert [(entry.key, entry.kind_name) for entry in world.stored if entry.kind_name == "note"] == [
        ("nap", "note")
    ]


async def test_a_note_that_was_not_stored_is_an_attempt_that_did_not_begin(world):
    def full(entry):
        raise OSError("no space")

    flow = charging(world, world.step("pay", 5), on_unknown="run")
    outcome = await world.run(flow, checkpoint=full)
    assert str(outcome.result.unwrap_err().cause) == "no space"
    assert world.log == []


@pytest.mark.parametrize("moment", range(6))
async def test_a_store_that_fails_anywhere_holds_nothing_up(world, moment):
    """Where a note is taken back, too: the leg ends, and the next one goes on."""

    def checkpoint(entry):
        world.stored.append(entry)
        if len(world.stored) == moment:
            raise OSError("no space")

    flow = charging(
        world, world.step("pay", DOWN, DOWN, 5), on_unknown="run", retry=Retry(attempts=2, delay=0)
    )
    state = world.runner().start(flow)
    for _ in range(4):
        outcome = await world.resume(flow, state, checkpoint=checkpoint)
        state = outcome.state
    assert outcome.result == Ok("Ok(value=5)")


async def test_attempts_and_crashes_are_counted_together(world):
    flow = charging(world, stuck_once(world), on_unknown="run", retry=Retry(attempts=2, delay=0))
    state = await killed(world, flow)
    assert (await world.resume(flow, state)).result == Ok("Ok(value=5)")
    assert world.log == [1, 2]


@pytest.mark.parametrize("root", [True, False])
async def test_no_attempt_begins_when_the_leg_ended_while_it_was_noted(world, root):
    async def checkpoint(entry):
        world.stored.append(entry)
        for _ in range(10 if entry.kind_name == "note" else 0):
            await asyncio.sleep(0)

    async def flow(step):
        pay = step.options(on_unknown="fail")("pay", world.step("pay"))
        bad = step("bad", world.step("bad", DOWN))
        if not root:
            await asyncio.gather(pay, bad)
        task = asyncio.ensure_future(bad)
        await pay
        await task

    outcome = await world.run(flow, checkpoint=checkpoint)
    assert outcome.result.unwrap_err().key == "bad"
    assert world.log == ["bad"]
    assert outcome.state.underway == {}
    assert append_entries(world.runner().start(flow), *world.stored).underway == {}


async def test_no_attempt_begins_while_a_leg_that_has_ended_awaits_another_step(world):
    async def checkpoint(entry):
        await asyncio.sleep(0)
        world.stored.append(entry)

    async def slow() -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def flow(step):
        await asyncio.gather(
            step("slow", slow),
            step.options(on_unknown="fail")("pay", world.step("pay")),
            step("bad", world.step("bad", DOWN)),
        )

    outcome = await world.run(flow, checkpoint=checkpoint)
    assert outcome.result.unwrap_err().key == "bad"
    assert world.log == ["bad"]
    assert outcome.state.underway == {}
    assert list(outcome.state.steps) == ["slow"]


async def test_a_workflow_may_cut_a_step_off_while_its_attempt_is_noted(world, kinds):
    async def checkpoint(entry):
        await asyncio.sleep(0.01 if entry.kind_name == "note" else 0)
        world.stored.append(entry)

    async def flow(step):
        try:
            async with asyncio.timeout(0.001):
                await step.options(on_unknown="fail")("pay", world.step("pay"))
        except TimeoutError:
            return await step("instead", lambda: "instead")

    outcome = await world.run(flow, checkpoint=checkpoint)
    assert outcome.result == Ok("instead")
    assert world.log == []
    assert kinds(append_entries(world.runner().start(flow), *world.stored)) == {
        "pay": "cut", "instead": "value",
    }  # fmt: skip


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"retries": 3}, TypeError, "no retries=; it takes on_unknown, retry, returns"),
        ({"settles": True}, TypeError, "no settles="),
        ({"on_unknown": "die"}, ValueError, "'run' or 'fail', not 'die'"),
    ],
)
async def test_what_is_no_option_is_told(options, kind, words):
    async def flow(step):
        step.options(**options)

    cause = (await run(flow)).result.unwrap_err().cause
    assert isinstance(cause, kind)
    assert words in str(cause)


async def test_what_is_not_named_stays_as_it_is(world):
    async def flow(step):
        mine = step.options(retry=Retry(delay=0)).options(timeout=60).scope("x").options(undo=print)
        return await mine("a", world.step("a", DOWN, 5))

    assert (await world.run(flow)).result == Ok(5)


async def test_a_typed_error_of_a_policy_is_given_by_a_finished_run(world):
    async def flow(step):
        await step.options(timeout=0.001)("a", asyncio.sleep, 60)

    outcome = await world.run(flow)
    assert inspect.isawaitable(task := resume(flow, outcome.state))
    assert (await task).result == outcome.result
