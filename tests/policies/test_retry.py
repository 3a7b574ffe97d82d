"""Retry as data: a pure decision, a count that no crash starts over, delays that hold no process."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitpy import (
    Err,
    JournalError,
    Ok,
    PendingHook,
    PendingTimer,
    Result,
    Retry,
    StepTimeout,
    UnexpectedError,
    current_step,
    forget,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    run,
)

DOWN = ConnectionError("down")
AMOUNTS = st.floats(0, 1e9)
RETRIES = st.builds(
    Retry, attempts=st.integers(1, 50), delay=AMOUNTS, backoff=st.floats(0, 100), max_delay=AMOUNTS
)


@attrs.frozen
class Busy:
    desk: int


# --- the decision -------------------------------------------------------------------------------


@given(RETRIES, st.integers(1, 60), st.floats(0, 1))
def test_the_next_delay_is_the_same_for_the_same_and_never_longer_than_the_longest(retry, attempt, draw):
    delay = retry.next(attempt, DOWN, draw=draw)
    assert delay == retry.next(attempt, DOWN, draw=draw)
    assert (delay is None) == (attempt >= retry.attempts)
    assert delay is None or 0 <= delay <= retry.max_delay


@given(RETRIES.filter(lambda retry: retry.backoff >= 1))
def test_delays_only_grow_up_to_the_longest(retry):
    delays = [retry.next(attempt, DOWN) for attempt in range(1, retry.attempts)]
    assert delays == sorted(delays)
    assert not delays or delays[0] == min(retry.delay, retry.max_delay)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 9))
def test_jitter_spreads_a_delay_by_its_share_to_both_sides(jitter, draw, attempt):
    retry = Retry(attempts=10, delay=10, jitter=jitter)
    middle = Retry(attempts=10, delay=10).next(attempt, DOWN)
    delay = retry.next(attempt, DOWN, draw=draw)
    assert middle * (1 - jitter) - 1e-6 <= delay <= middle * (1 + jitter) + 1e-6
    assert retry.next(attempt, DOWN, draw=0.5) == pytest.approx(middle)


def test_a_power_that_no_float_holds_is_the_longest_delay():
    assert Retry(attempts=10**6, backoff=10).next(999_999, DOWN) == 300


@pytest.mark.parametrize(
    ("retry", "error", "again"),
    [
        (Retry(), DOWN, True),
        (Retry(), StepTimeout("a", 1), True),
        (Retry(), Busy(1), False),
        (Retry(on=Busy), Busy(1), True),
        (Retry(on=Busy), DOWN, False),
        (Retry(on=[Busy, OSError]), DOWN, True),
        (Retry(on=Busy | OSError), DOWN, True),
        (Retry(never=OSError), DOWN, False),
        (Retry(never=(OSError,)), ValueError(), True),
        (Retry(on=object, never=Busy), Busy(1), False),
    ],
)
def test_what_is_tried_again_is_said_by_classes(retry, error, again):
    assert (retry.next(1, error) is not None) == again


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0}, {"attempts": -1}, {"delay": -1}, {"delay": math.nan}, {"delay": math.inf},
        {"backoff": -0.5}, {"max_delay": timedelta(seconds=-1)}, {"jitter": 1.5}, {"jitter": -0.1},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retry(**wrong)


def test_what_is_no_class_is_refused_at_once():
    with pytest.raises(TypeError):
        Retry(on=(ConnectionError("down"),))


# --- attempts -----------------------------------------------------------------------------------


async def test_a_step_is_tried_again_until_it_gives_a_value(world):
    flaky = world.step("a", DOWN, DOWN, 7)

    async def flow(step):
        return await step.options(retry=Retry(attempts=5, delay=1, backoff=3))("a", flaky)

    assert (await world.run(flow)).result == Ok(7)
    assert world.log == ["a", "a", "a"]
    assert world.slept == [1, 3]
    assert [entry.kind_name for entry in world.stored] == ["note", "note", "value"]


async def test_an_attempt_knows_its_number_and_a_key_that_stays(world):
    def told() -> int:
        world.log.append(current_step())
        return 5 if len(world.log) == 3 else 1 // 0

    async def flow(step):
        await step.options(retry=Retry(delay=60)).scope("x")("a", told)

    await world.to_end(flow)
    assert [step.attempt for step in world.log] == [1, 2, 3]
    assert {step.idempotency_key for step in world.log} == {"run:x/a"}


@pytest.mark.parametrize(("retry", "calls"), [(Retry(delay=0), 1), (Retry(delay=0, on=Busy), 3)])
async def test_typed_errors_are_tried_again_only_when_they_are_named(world, retry, calls):
    def busy() -> Result[int, Busy]:
        world.log.append("a")
        return Err(Busy(1))

    async def flow(step):
        return repr(await step.options(retry=retry).attempt("a", busy))

    assert (await run(flow)).result == Ok("Err(error=Busy(desk=1))")
    assert len(world.log) == calls


async def test_attempts_that_all_raise_end_the_run_and_the_next_resume_begins_anew(world):
    flaky = world.step("a", DOWN, DOWN, DOWN, 7)

    async def flow(step):
        return await step.options(retry=Retry(attempts=2, delay=60))("a", flaky)

    outcome = await world.to_end(flow)
    assert outcome.result == Err(UnexpectedError("a", DOWN))
    assert (outcome.state.status, outcome.state.timers) == ("interrupted", ())
    outcome = await world.resume(flow, outcome.state)
    assert outcome.state.timers[0].attempts == 1
    assert (await world.on_time(flow, outcome)).result == Ok(7)


async def test_a_long_delay_holds_no_process(world):
    flaky = world.step("a", DOWN, 7)

    async def flow(step):
        return await step.options(retry=Retry(delay=60))("a", flaky)

    outcome = await world.run(flow)
    due = world.now + timedelta(seconds=60)
    assert outcome.result == Err(PendingTimer("a", due, 1))
    assert (outcome.state.status, next_wakeup(outcome.state)) == ("suspended", due)
    assert [(t.step_key, t.until, t.attempts) for t in outcome.state.timers] == [("a", due, 1)]
    early = await world.resume(flow, outcome.state)
    assert early.state == outcome.state
    assert world.log == ["a"]
    assert (await world.on_time(flow, outcome)).result == Ok(7)
    assert world.slept == []


@pytest.mark.parametrize(("hold", "slept"), [(60, [60]), (timedelta(minutes=1), [60]), (59, [])])
async def test_how_long_a_delay_may_be_to_be_waited_for_is_a_setting(world, hold, slept):
    flaky = world.step("a", DOWN, 7)

    async def flow(step):
        return await step.options(retry=Retry(delay=60))("a", flaky)

    await world.run(flow, hold=hold)
    assert world.slept == slept


async def test_a_jitter_is_drawn_from_the_entropy_of_the_runner(world):
    async def flow(step):
        await step.options(retry=Retry(attempts=2, delay=4, jitter=0.5))("a", world.step("a", DOWN))

    await world.run(flow, entropy=bytes)
    await world.run(flow, entropy=lambda n: b"\xff" * n)
    assert world.slept == [2, pytest.approx(6)]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("moment", range(7))
async def test_a_crash_at_any_entry_does_not_start_the_count_over(world, crashed, moment, stored):
    flaky = world.step("a", DOWN)

    async def flow(step):
        await step("before", lambda: 1)
        got = await step.options(retry=Retry(attempts=4, delay=1, on=(OSError, Busy))).attempt("a", last)
        return got.unwrap_err().desk

    def last() -> Result[int, Busy]:
        return Err(Busy(4)) if current_step().attempt == 4 else flaky()

    state = await crashed(flow, world, moment, stored=stored)
    noted = state.timers[0].attempts if state.timers else 0
    world.log.clear()
    outcome = await world.resume(flow, state)
    assert outcome.result == Ok(4)
    done = "a" in state.steps
    assert len(world.log) == (0 if done else 3 - noted)


# --- what is never tried again ------------------------------------------------------------------

ALWAYS = Retry(attempts=5, delay=0, on=object)


async def test_a_wait_is_no_failure_to_try_again(world):
    async def flow(step):
        return await step.options(retry=ALWAYS)("w", waits)

    def waits():
        world.log.append("asked")
        return pending_hook("h", int)

    outcome = await world.run(flow)
    assert isinstance(outcome.result.unwrap_err(), PendingHook)
    assert world.log == ["asked"]
    assert (await world.resume(flow, inject_hook(outcome.state, "h", 5))).result == Ok(5)
    assert world.stored[0].kind_name == "answer"


async def test_a_timeout_of_a_hook_is_no_failure_to_try_again(world):
    async def flow(step):
        await step.options(retry=ALWAYS).attempt("w", pending_hook, "h", timeout=60)

    assert (await world.to_end(flow)).state.steps["w"].kind_name == "timeout"


async def test_mistakes_of_the_code_are_not_repeated(world):
    async def nested(step):
        await step.options(retry=ALWAYS)("a", world.step("a"), step)

    async def unjournaled(step):
        await step.options(retry=ALWAYS)("a", world.step("a", object()))

    async def raised(step):
        await step.options(retry=ALWAYS)("a", world.step("a", JournalError("a", "$", "b", "c")))

    async def inside(step):
        async def calls_step():
            world.log.append("a")
            await step("b", lambda: 1)

        await step.options(retry=ALWAYS)("a", calls_step)

    for flow in (unjournaled, raised, inside):
        world.log.clear()
        error = (await world.run(flow)).result.unwrap_err()
        assert isinstance(error, UnexpectedError), error
        assert world.log == ["a"]
    assert (await world.run(nested)).result == Ok(None)


async def test_a_cancellation_is_not_tried_again(world):
    async def flow(step):
        try:
            async with asyncio.timeout(0.001):
                await step.options(retry=ALWAYS)("a", slow)
        except TimeoutError:
            return await step("b", lambda: "cut")

    async def slow():
        world.log.append("a")
        await asyncio.Event().wait()

    assert (await world.run(flow)).result == Ok("cut")
    assert world.log == ["a"]


# --- with others --------------------------------------------------------------------------------


async def test_a_hook_and_a_retry_of_parallel_branches_are_pending_together(world):
    flaky = world.step("a", DOWN, 7)

    async def flow(step):
        return await asyncio.gather(
            step.options(retry=Retry(delay=60))("a", flaky), step("w", pending_hook, "h", int)
        )

    outcome = await world.run(flow)
    assert isinstance(outcome.result.unwrap_err(), PendingHook)
    assert get_pending_hooks(outcome.state) == ["h"]
    assert outcome.state.timers[0].step_key == "a"
    answered = inject_hook(outcome.state, "h", 5, now=world.now)
    assert next_wakeup(answered) == world.now
    outcome = await world.resume(flow, answered)
    assert outcome.result == Err(PendingTimer("a", outcome.state.timers[0].until, 1))
    assert (await world.on_time(flow, outcome)).result == Ok([7, 5])


async def test_the_hook_may_be_answered_last(world):
    flaky = world.step("a", DOWN, 7)

    async def flow(step):
        return await asyncio.gather(
            step.options(retry=Retry(delay=60))("a", flaky), step("w", pending_hook, "h", int)
        )

    outcome = await world.on_time(flow, await world.run(flow))
    assert outcome.state.timers == ()
    assert (await world.resume(flow, inject_hook(outcome.state, "h", 5))).result == Ok([7, 5])
    assert world.log == ["a", "a"]


@pytest.mark.parametrize("delay", [0, 1, 60])
async def test_a_branch_that_is_tried_again_does_not_outlive_the_failure_of_another(world, delay):
    async def flow(step):
        await asyncio.gather(
            step.options(retry=Retry(delay=delay))("a", world.step("a", DOWN)),
            step("b", lambda: Err("no")),
        )

    outcome = await world.run(flow)
    assert outcome.result == Err("no")
    assert outcome.state.timers == ()


async def test_forgetting_a_step_that_is_tried_again_begins_its_attempts_anew(world):
    async def flow(step):
        await step("first", world.step("first"))
        await step.options(retry=Retry(attempts=3, delay=60))("a", world.step("a", DOWN))

    outcome = await world.on_time(flow, await world.run(flow))
    assert outcome.state.timers[0].attempts == 2
    anew = await world.resume(flow, forget(outcome.state, "a"))
    assert anew.state.timers[0].attempts == 1
    kept = forget(outcome.state, "first")
    assert kept.timers == outcome.state.timers


async def test_a_store_that_fails_at_a_note_ends_the_leg(world):
    def full(entry):
        raise OSError("no space")

    async def flow(step):
        await step.options(retry=Retry(delay=0))("a", world.step("a", DOWN))

    outcome = await world.run(flow, checkpoint=full)
    assert str(outcome.result.unwrap_err().cause) == "no space"
    assert outcome.state.timers[0].attempts == 1


@pytest.mark.parametrize("broken", ["clock", "entropy", "sleep"])
async def test_a_setting_that_raises_ends_the_leg_with_what_it_raised(world, broken):
    def breaks(*_):
        raise LookupError(broken)

    async def flow(step):
        try:
            await step.options(retry=Retry(delay=1))("a", world.step("a", DOWN))
        except LookupError:
            return "caught"

    error = (await run_with(flow, **{broken: breaks})).result.unwrap_err()
    assert (error.key, str(error.cause)) == ("a", broken)


async def run_with(flow, **settings):
    from awaitpy import Runner

    return await Runner(run_id="r", **settings).run(flow)
