"""Durable time: it passes between processes, is asked once, and never moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from awaitpy import (
    Err,
    Ok,
    PendingHook,
    PendingTimer,
    Retry,
    Runner,
    UnexpectedError,
    append_entries,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    pending_timer,
    run,
)

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("duration", [3600, 3600.0, HOUR])
async def test_a_long_sleep_suspends_the_run_until_its_time(world, kinds, duration):
    async def flow(step):
        await step.sleep("night", duration)
        return "morning"

    begun = world.now
    outcome = await world.run(flow)
    assert outcome.result == Err(PendingTimer("night", begun + HOUR))
    assert [(t.step_key, t.until, t.attempts) for t in outcome.state.timers] == [("night", begun + HOUR, 0)]
    assert outcome.state.steps == {}
    outcome = await world.on_time(flow, outcome)
    assert outcome.result == Ok("morning")
    assert kinds(outcome.state) == {"night": "elapsed"}
    assert outcome.state.timers == ()
    assert world.slept == []


async def test_a_short_sleep_is_slept_where_the_run_is(world, kinds):
    async def flow(step):
        await step.sleep("a", 5)
        await step.sleep("b", timedelta(seconds=10))

    outcome = await world.run(flow)
    assert outcome.result == Ok(None)
    assert world.slept == [5, 10]
    assert kinds(outcome.state) == {"a": "elapsed", "b": "elapsed"}


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5))])
async def test_a_sleep_until_a_time_knows_its_zone(world, zone):
    until = (world.now + HOUR).astimezone(zone)

    async def flow(step):
        await step.sleep_until("night", until)

    outcome = await world.run(flow)
    timer = outcome.state.timers[0]
    assert (timer.until, timer.until.tzinfo) == (until, UTC)
    assert (await world.on_time(flow, outcome)).result == Ok(None)


@pytest.mark.parametrize("past", [-5, 0])
async def test_a_time_that_has_passed_is_over_at_once(world, past):
    async def flow(step):
        await step.sleep("a", past)
        await step.sleep_until("b", world.now + timedelta(seconds=past))

    assert (await world.run(flow)).result == Ok(None)
    assert world.slept == []


async def test_a_state_that_is_resumed_early_or_often_keeps_its_time(world):
    async def flow(step):
        await step.sleep("night", HOUR)

    outcome = await world.run(flow)
    due = next_wakeup(outcome.state)
    for seconds in (1, 60, 3000):
        world.pass_(seconds)
        again = await world.resume(flow, outcome.state)
        assert again.state == outcome.state
        assert next_wakeup(again.state) == due


async def test_what_is_left_of_a_sleep_is_slept_when_it_is_short(world):
    async def flow(step):
        await step.sleep("night", HOUR)

    outcome = await world.run(flow)
    world.pass_(3595)
    assert (await world.resume(flow, outcome.state)).result == Ok(None)
    assert world.slept == [5]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("moment", range(3))
async def test_a_crash_after_a_sleep_was_noted_does_not_move_its_end(world, crashed, moment, stored):
    async def flow(step):
        await step("a", lambda: 1)
        await step.sleep("nap", 5)

    begun = world.now
    state = await crashed(flow, world, moment, stored=stored)
    armed = any(timer.until == begun + timedelta(seconds=5) for timer in state.timers)
    elapsed = "nap" in state.steps
    assert armed == (moment == 1 and stored) or (moment == 2 and not stored)
    world.now = begun + timedelta(seconds=3)
    world.slept.clear()
    assert (await world.resume(flow, state)).result == Ok(None)
    assert world.slept == ([] if elapsed else [2] if armed else [5])


async def test_notes_of_a_store_make_the_state_again(world):
    async def flow(step):
        await step.sleep("night", HOUR)

    begun = world.runner().start(flow)
    outcome = await world.resume(flow, begun)
    again = append_entries(begun, *world.stored)
    assert again.timers == outcome.state.timers
    assert next_wakeup(again) == next_wakeup(outcome.state)


async def test_a_sleep_of_a_policy_keeps_its_time_too(world):
    async def flow(step):
        mine = step.options(on_unknown="fail", retry=Retry(on=object), timeout=5)
        await mine.sleep("night", HOUR)
        return await mine("own", own)

    def own():
        world.log.append("own")
        return pending_timer(HOUR)

    begun = world.now
    outcome = await world.on_time(flow, await world.run(flow))
    assert next_wakeup(outcome.state) == begun + 2 * HOUR
    assert (await world.resume(flow, outcome.state)).state == outcome.state
    assert (await world.on_time(flow, outcome)).result == Ok(None)
    assert world.log == ["own"], "a function that sleeps is called once"


# --- with others --------------------------------------------------------------------------------


async def test_of_several_timers_the_first_is_told_and_all_are_pending(world):
    async def flow(step):
        await asyncio.gather(step.sleep("long", 2 * HOUR), step.sleep("short", HOUR))

    outcome = await world.run(flow)
    assert outcome.result == Err(PendingTimer("short", world.now + HOUR))
    assert [timer.step_key for timer in outcome.state.timers] == ["long", "short"]
    outcome = await world.on_time(flow, outcome)
    assert outcome.result == Err(PendingTimer("long", world.now + HOUR))
    assert [timer.step_key for timer in outcome.state.timers] == ["long"]
    assert (await world.on_time(flow, outcome)).result == Ok(None)


async def test_a_hook_is_told_before_a_timer(world):
    async def flow(step):
        return await asyncio.gather(step.sleep("night", HOUR), step("w", pending_hook, "h", int))

    outcome = await world.run(flow)
    assert isinstance(outcome.result.unwrap_err(), PendingHook)
    assert next_wakeup(outcome.state) == world.now + HOUR
    outcome = await world.on_time(flow, outcome)
    assert get_pending_hooks(outcome.state) == ["h"]
    assert (await world.resume(flow, inject_hook(outcome.state, "h", 5))).result == Ok([None, 5])


async def test_what_was_delivered_before_a_time_was_over_comes_first(world):
    async def flow(step):
        first = []

        async def note(name, waited):
            await waited
            first.append(name)

        await asyncio.gather(
            note("time", step.sleep("night", HOUR)), note("hook", step("w", pending_hook, "h", int))
        )
        return first

    outcome = await world.run(flow)
    state = inject_hook(outcome.state, "h", 5, now=world.now)
    world.pass_(7200)
    done = await world.resume(flow, state)
    assert done.result == Ok(["hook", "time"])
    assert list(done.state.steps) == ["w", "night"]


async def test_no_branch_is_kept_from_failing_by_one_that_sleeps(world):
    async def flow(step):
        await asyncio.gather(step.sleep("night", HOUR), step("bad", lambda: Err("no")))

    outcome = await world.run(flow)
    assert outcome.result == Err("no")
    assert outcome.state.timers == ()


async def test_a_timeout_of_the_workflow_cuts_a_short_sleep(kinds):
    async def flow(step):
        try:
            async with asyncio.timeout(0.001):
                await step.sleep("nap", 5)
        except TimeoutError:
            return await step("woken", lambda: "woken")

    runner = Runner()
    outcome = await runner.run(flow)
    assert outcome.result == Ok("woken")
    assert kinds(outcome.state) == {"nap": "cut", "woken": "value"}
    assert outcome.state.timers == ()


async def test_the_waiting_of_a_timer_can_be_seen(world):
    seen = []

    async def flow(step):
        await step.sleep("night", HOUR)

    await world.run(flow, on_event=seen.append)
    assert ("timer.waiting", "night", world.now + HOUR) in [(e.name, e.key, e.detail) for e in seen]
    assert seen[-1].name == "run.suspended"
    assert seen[-1].detail is None


# --- what may only be made once -----------------------------------------------------------------


async def test_time_ids_and_numbers_are_the_same_in_every_replay(world):
    seen = []

    async def flow(step):
        seen.append([await step.now("now"), await step.uuid("id"), await step.random("number")])
        await step.sleep("night", HOUR)

    outcome = await world.run(flow)
    begun = world.now
    world.pass_(3600)
    await world.resume(flow, outcome.state)
    first, second = seen
    assert first == second
    assert [type(one) for one in first] == [datetime, UUID, float]
    assert (first[0], first[0].tzinfo) == (begun, UTC)
    assert first[1].version == 4
    assert 0 <= first[2] < 1


@pytest.mark.parametrize(("byte", "number"), [(0, 0.0), (255, 1 - 2**-53), (128, 0.501960784313725)])
async def test_random_numbers_come_from_the_entropy_of_the_runner(byte, number):
    async def flow(step):
        return [await step.random("r"), str(await step.uuid("u"))]

    got, made = (await Runner(entropy=lambda n: bytes([byte]) * n).run(flow)).result.unwrap()
    assert got == pytest.approx(number)
    assert got < 1
    assert made[14] == "4"


async def test_two_of_them_differ():
    async def flow(step):
        return [str(await step.uuid(k)) for k in "ab"] + [str(await step.random(k)) for k in "cd"]

    assert len(set((await run(flow)).result.unwrap())) == 4


# --- misuse -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda step: step.sleep_until("a", datetime(2030, 1, 1)), "zone"),  # noqa: DTZ001  on purpose
        (lambda step: step.sleep("a", float("nan")), "NaN"),
        (lambda step: step.sleep("a", 1e300), ""),
        (lambda step: step("a", pending_timer), "one of the two"),
        (lambda step: step("a", pending_timer, 1, until=datetime.now(UTC)), "one of the two"),
        (lambda step: step.sleep("a", timedelta.max), ""),
    ],
)
async def test_a_time_that_is_none_ends_the_leg_with_what_is_wrong(call, word):
    async def flow(step):
        await call(step)

    error = (await run(flow)).result.unwrap_err()
    assert isinstance(error, UnexpectedError)
    assert error.key == "a"
    assert word in str(error.cause)


async def test_a_sleep_that_is_swallowed_is_told_by_its_step(world):
    async def flow(step):
        try:
            await step.sleep("night", HOUR)
        except BaseException:  # noqa: BLE001  what it is about
            return "slept"

    error = (await world.run(flow)).result.unwrap_err()
    assert "'night'" in str(error)


async def test_a_store_that_fails_at_a_sleep_ends_the_leg(world):
    def full(entry):
        raise OSError("no space")

    async def flow(step):
        await step.sleep("nap", 5)

    outcome = await world.run(flow, checkpoint=full)
    assert str(outcome.result.unwrap_err().cause) == "no space"
