"""A run that stops and goes on after any step ends like one that never stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from awaitpy import (
    Entry,
    Err,
    Outcome,
    PendingHook,
    ResumeState,
    Runner,
    append_entries,
    get_pending_hooks,
    inject_hook,
    resume,
)


def answer_first(state: ResumeState) -> ResumeState:
    """Answer the first wait of a state that has been in another process."""
    state = through_json(through_bytes(state))
    hook_id = get_pending_hooks(state)[0]
    record = next(r for r in state.pending if r.hook_id == hook_id)
    return inject_hook(state, hook_id, f"for {record.step_key}")


def through_bytes(state: ResumeState) -> ResumeState:
    back = ResumeState.from_bytes(state.to_bytes())
    assert back == state
    return back


def through_json(state: ResumeState) -> ResumeState:
    back = ResumeState.from_json(state.to_json())
    assert back == state
    return back


def waits(outcome: Outcome) -> bool:
    return isinstance(outcome.result, Err) and isinstance(outcome.result.error, PendingHook)


async def straight(shape) -> tuple[Outcome, list[Entry]]:
    """Run to the end, and give all entries that were journaled on the way too."""
    stored: list[Entry] = []
    runner = Runner(checkpoint=stored.append)
    outcome = await runner.resume(shape, runner.start(shape))
    while waits(outcome):
        outcome = await runner.resume(shape, answer_first(outcome.state))
    assert outcome.state.status in {"completed", "failed"}
    # A step that is cut off while its entry is being stored has two.
    assert {e.key for e in stored if e.kind_name not in {"note", "child"}} == set(outcome.state.steps)
    return outcome, stored


async def test_a_stop_after_every_step_changes_nothing(shape, ran):
    wanted, _ = await straight(shape)
    effects = Counter(ran)
    ran.clear()

    class Stop(Exception):
        pass

    def stop(_):
        raise Stop

    runner = Runner(checkpoint=stop)
    state = runner.start(shape)
    for _ in range(100):
        outcome = await runner.resume(shape, through_json(through_bytes(state)))
        state = outcome.state
        if waits(outcome):
            state = answer_first(state)
        elif state.status != "interrupted":
            break
        else:
            assert isinstance(outcome.result.error.cause, Stop)
    assert outcome.result == wanted.result
    assert set(outcome.state.steps) == set(wanted.state.steps)
    assert Counter(ran) == effects


@pytest.mark.parametrize("how", ["raises", "dies before", "dies after", "cancels"])
async def test_a_crash_at_any_entry_changes_nothing(shape, ran, how):
    wanted, stored = await straight(shape)
    effects = Counter(ran)
    for moment in range(len(stored)):
        ran.clear()
        outcome = await _with_a_crash(shape, moment, how)
        assert outcome.result == wanted.result, moment
        assert set(outcome.state.steps) == set(wanted.state.steps), moment
        twice = Counter(ran) - effects
        assert effects - Counter(ran) == Counter()
        if how == "raises":
            assert not twice
        assert max(twice.values(), default=0) <= 1


async def _with_a_crash(shape, moment: int, how: str) -> Outcome:
    """Run to the end with one crash, at the entry of this number."""
    crash = Crash(moment, how)
    state = Runner().start(shape)
    for _ in range(100):
        legs = Runner(checkpoint=crash.checkpoint)
        crash.stored.clear()
        crash.dead = False
        crash.task = asyncio.ensure_future(legs.resume(shape, state))
        outcome = None
        with contextlib.suppress(asyncio.CancelledError):
            outcome = await crash.task
        if outcome is None or crash.dead:
            state = append_entries(through_bytes(state), *crash.stored)
        elif waits(outcome):
            state = answer_first(outcome.state)
        elif outcome.state.status == "interrupted":
            state = through_bytes(outcome.state)
        else:
            return outcome
    raise AssertionError("the run never ended")


class Crash:
    """A store that fails once, in one of several ways, at the entry of a given number."""

    task: asyncio.Task[Outcome]

    def __init__(self, moment: int, how: str) -> None:
        self.left, self.how = moment, how
        self.stored = []
        self.dead = False

    async def checkpoint(self, entry) -> None:
        await asyncio.sleep(0)
        now, self.left = self.left == 0, self.left - 1
        if self.dead or (now and self.how == "dies before"):
            self.dead = True
            raise ConnectionError("the process is gone")
        self.stored.append(entry)
        if now and self.how == "dies after":
            self.dead = True
            raise ConnectionError("the process is gone")
        if now and self.how == "raises":
            raise ConnectionError("the store said no")
        if now and self.how == "cancels":
            self.task.cancel()
        await asyncio.sleep(0)


async def test_a_replay_of_any_state_runs_nothing_and_gives_the_same(shape, ran):
    outcome = await Runner().run(shape)
    while True:
        effects = list(ran)
        for _ in range(2):
            replayed = await resume(shape, through_bytes(outcome.state))
            assert replayed.result == outcome.result
            assert replayed.state == outcome.state
        assert ran == effects
        if not waits(outcome):
            break
        outcome = await resume(shape, answer_first(outcome.state))
