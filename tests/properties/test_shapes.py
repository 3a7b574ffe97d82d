"""A run that stops and goes on after any step ends like one that never stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from awaitpy import (
    Cancelled,
    Entry,
    Err,
    Outcome,
    ResumeState,
    append_entries,
    cancel,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
)


async def straight(shape, world) -> tuple[Outcome, list[Entry]]:
    """Run to the end, and give all that was told to the store on the way too."""
    stored: list[Entry] = []
    runner = world.runner(checkpoint=stored.append)
    outcome = await runner.resume(shape, runner.start(shape))
    while world.waits(outcome):
        outcome = await runner.resume(shape, world.answer_first(outcome.state))
    assert outcome.state.status in {"completed", "failed"}
    # A step that is cut off while its entry is being stored has two.
    entries = {entry.key for entry in stored if entry.kind_name not in {"note", "child"}}
    assert entries == set(outcome.state.steps)
    return outcome, stored


async def test_a_stop_after_every_step_changes_nothing(shape, ran, world):
    wanted, _ = await straight(shape, world)
    effects = Counter(ran)
    ran.clear()

    class Stop(Exception):
        pass

    told = set()

    def stop(entry):
        note = (entry.key, bytes(entry.payload))
        if entry.kind_name != "note" or note not in told:
            told.add(note)  # a note is told again in the next leg, which would never end
            raise Stop

    runner = world.runner(checkpoint=stop)
    state = runner.start(shape)
    for _ in range(100):
        outcome = await runner.resume(shape, world.through_json(world.through_bytes(state)))
        state = outcome.state
        if world.waits(outcome):
            state = world.answer_first(state)
        elif state.status != "interrupted":
            break
        else:
            assert isinstance(outcome.result.error.cause, Stop)
    assert outcome.result == wanted.result
    assert set(outcome.state.steps) == set(wanted.state.steps)
    assert Counter(ran) == effects


@pytest.mark.parametrize("how", ["raises", "dies before", "dies after", "cancels"])
async def test_a_crash_at_any_entry_changes_nothing(shape, ran, how, world):
    wanted, stored = await straight(shape, world)
    effects = Counter(ran)
    for moment in range(len(stored)):
        ran.clear()
        outcome = await _with_a_crash(shape, moment, how, world)
        assert outcome.result == wanted.result, moment
        assert set(outcome.state.steps) == set(wanted.state.steps), moment
        twice = Counter(ran) - effects
        assert effects - Counter(ran) == Counter()
        if how == "raises":
            assert not twice
        assert max(twice.values(), default=0) <= 1


async def _with_a_crash(shape, moment: int, how: str, world) -> Outcome:
    """Run to the end with one crash, at the entry of this number."""
    crash = Crash(moment, how)
    state = world.runner().start(shape)
    for _ in range(100):
        legs = world.runner(checkpoint=crash.checkpoint)
        crash.stored.clear()
        crash.dead = False
        crash.task = asyncio.ensure_future(legs.resume(shape, state))
        outcome = None
        with contextlib.suppress(asyncio.CancelledError):
            outcome = await crash.task
        if outcome is None or crash.dead:
            state = append_entries(world.through_bytes(state), *crash.stored)
        elif world.waits(outcome):
            state = world.answer_first(outcome.state)
        elif outcome.state.status == "interrupted":
            state = world.through_bytes(outcome.state)
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


async def test_a_replay_of_any_state_runs_nothing_and_gives_the_same(shape, ran, world):
    outcome = await world.runner().run(shape)
    while True:
        effects = list(ran)
        for _ in range(2):
            replayed = await world.runner().resume(shape, world.through_bytes(outcome.state))
            assert replayed.result == outcome.result
            assert replayed.state == outcome.state
        assert ran == effects
        if not world.waits(outcome):
            break
        outcome = await world.runner().resume(shape, world.answer_first(outcome.state))


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_run_that_is_cancelled_at_any_wait_ends_so_and_undoes_what_it_did(
    shape, ran, world, crashes
):
    runner = world.runner()
    outcome = await runner.run(shape)
    while world.waits(outcome):
        ended = await _cancelled(shape, outcome.state, world, crashes=crashes)
        open_ones = [key for key, child in outcome.state.children.items() if child.end is None]
        undone = {key for key in outcome.state.steps if f"undo:{key}" in ended.state.steps}
        done = [key for key in outcome.state.steps if key in undone.difference(open_ones)]
        assert ended.state.undoing == (*reversed(open_ones), *reversed(done))
        assert ended.state.pending == ended.state.timers == ()
        assert (await runner.resume(shape, world.through_bytes(ended.state))).state == ended.state
        ran.clear()
        outcome = await runner.resume(shape, world.answer_first(outcome.state))


async def _cancelled(shape, state: ResumeState, world, *, crashes: bool) -> Outcome:
    """Cancel a run and go on until it has ended; with crashes, after each entry."""
    state = cancel(world.through_json(state), "why")
    stored = []

    def dies(entry):
        stored.append(entry)
        raise ConnectionError("the process is gone")

    for _ in range(100):
        stored.clear()
        runner = world.runner(checkpoint=dies if crashes else None)
        outcome = await runner.resume(shape, world.through_bytes(state))
        state = append_entries(state, *stored) if crashes and stored else outcome.state
        if outcome.result == Err(Cancelled("why")):
            return outcome
        if world.waits(outcome):
            state = world.answer_first(state)
    raise AssertionError("the run never ended")


@pytest.mark.parametrize("prefers", ["hooks", "time", "the last", "early"])
async def test_the_order_in_which_hooks_are_answered_and_time_passes_changes_no_effect(
    shape, ran, world, prefers
):
    await straight(shape, world)
    effects = Counter(ran)
    ran.clear()
    outcome = await world.runner().run(shape)
    while world.waits(outcome):
        state = world.through_bytes(outcome.state)
        hook_ids, due = get_pending_hooks(state), next_wakeup(state)
        if prefers == "early":  # resumed before anything happened: nothing may change
            assert (await world.runner().resume(shape, state)).state == state
        if hook_ids and not (prefers == "time" and due is not None):
            hook_id = hook_ids[-1 if prefers == "the last" else 0]
            state = inject_hook(state, hook_id, _answer(state, hook_id), now=world.clock.now)
        else:
            world.pass_time(state)
        outcome = await world.runner().resume(shape, state)
    fails_midway = shape.__name__ == "failed_beside_a_child"  # how far the child comes is up to the order
    assert fails_midway or sum(Counter(ran).values()) == sum(effects.values())


def _answer(state: ResumeState, hook_id: str) -> str:
    return f"for {next(r.step_key for r in state.pending if r.hook_id == hook_id)}"
