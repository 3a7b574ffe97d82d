"""A dry run says what the next resume does, of any workflow at any state, and does nothing itself."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from awaitpy import (
    Check,
    Err,
    Event,
    ResumeState,
    Runner,
    WorkflowDrift,
    append_entries,
    check,
    get_pending_hooks,
    inject_hook,
    migrate,
    pending_hook,
    rename_step,
    resume,
    workflow,
)


async def states_of(shape: Any, world: Any) -> list[tuple[datetime, ResumeState]]:
    """Give every state that a run of this shape may be stored as, and when.

    That is after each entry and note, after each delivery, and after each time that has passed.
    """
    found: list[tuple[datetime, ResumeState]] = []

    def keep(entry: Any) -> None:
        found.append((world.clock.now, append_entries(found[-1][1], entry)))

    runner = world.runner(checkpoint=keep)
    state = runner.start(shape)
    while True:
        found.append((world.clock.now, state))
        outcome = await runner.resume(shape, state)
        found.append((world.clock.now, outcome.state))
        if not world.waits(outcome):
            return found
        state = world.answer_first(outcome.state)


async def checked(shape: Any, state: ResumeState, runner: Runner | None = None) -> Check:
    """Check a state that came from its bytes, and see that it stays as it is."""
    state = ResumeState.from_bytes(state.to_bytes())
    before = state.to_bytes()
    found = await check(shape, state, runner=runner)
    assert state.to_bytes() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return found


def steps_of(state: ResumeState, prefix: str = "") -> set[str]:
    """Give the keys of all steps, those of children under the keys of these."""
    below = [steps_of(child, f"{prefix}{key}/") for key, child in state.children.items()]
    return {f"{prefix}{key}" for key in state.steps}.union(*below)


def under_way(state: ResumeState, prefix: str = "") -> set[str]:
    """Give the keys of the children that have begun: their own steps are what runs next."""
    below = [under_way(child, f"{prefix}{key}/") for key, child in state.children.items()]
    return {f"{prefix}{key}" for key in state.children}.union(*below)


# Each has a step whose untyped lambda waits: only a call of it could tell how its answer is read.
BLIND_IN = {"mapped_hooks", "collected_with_a_sibling"}


def stays(shape: Any, found: Check, state: ResumeState) -> bool:
    """Whether the dry run stayed at a wait that was answered, as it calls no function of the shape."""
    blind = any(key in state.steps for key in found.next)
    assert not blind or shape.__name__ in BLIND_IN
    return blind


async def test_unchanged_code_is_ok_at_every_state_and_nothing_runs(shape, ran, world):
    states = await states_of(shape, world)
    ran.clear()
    for world.clock.now, state in states:
        found = await checked(shape, state, world.runner())
        assert found.ok, str(found)
        assert found.unasked == () or stays(shape, found, state)
        assert set(found.replayed) <= steps_of(state)
    assert ran == []


async def test_what_would_run_next_is_what_the_next_resume_runs_first(shape, ran, world):
    states = await states_of(shape, world)
    for world.clock.now, state in states:
        found = await checked(shape, state, world.runner())
        if stays(shape, found, state):
            continue
        asked: list[str] = []
        run_id = state.run_id

        def note(event: Event, asked: list[str] = asked, run_id: str = run_id) -> None:
            if event.name in {"step.started", "hook.waiting", "timer.waiting"}:
                asked.append(f"{event.run_id[len(run_id) + 1 :]}/{event.key}".removeprefix("/"))

        outcome = await world.runner(on_event=note, hold=0).resume(shape, state)
        if outcome.state.status != "failed":  # a branch that fails keeps the others from what was next
            assert set(found.next) <= set(asked), state.steps
        asked = [key for key in asked if key not in found.answered and key not in under_way(state)]
        assert set(asked[:1]) <= set(found.next)
        assert bool(found.next) == bool(asked)
        if not found.next:
            assert outcome.state.status in {"completed", "failed"}


class Script:
    """A workflow whose steps are a list of keys; those that begin with `w` wait."""

    def __init__(self, keys: list[str]) -> None:
        self.keys, self.ran = keys, []

    async def flow(self, step: Any) -> None:
        for key in self.keys:
            if key.startswith("w"):
                await step(key, pending_hook, key)
            else:
                await step(key, self.ran.append, key)


KEYS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "w1", "w2", "w3"]), unique=True, max_size=8)


@settings(max_examples=150)
@given(KEYS, KEYS, st.integers(0, 3))
def test_of_changed_code_it_says_what_the_resume_says(before, after, deliveries):
    asyncio.run(_compare(Script(before), after, deliveries))


async def _compare(script: Script, after: list[str], deliveries: int) -> None:
    state = Runner().start(script.flow)
    for _ in range(deliveries + 1):
        state = (await resume(script.flow, state)).state
        for hook_id in get_pending_hooks(state)[:1]:
            state = inject_hook(state, hook_id, 1)
    script.keys = after
    script.ran.clear()
    found = await checked(script.flow, state)
    assert script.ran == []
    outcome = await resume(script.flow, state)
    error = outcome.result.error if isinstance(outcome.result, Err) else None
    assert found.problem == (error if isinstance(error, WorkflowDrift) else None)
    if found.ok:
        assert list(found.next) == (script.ran or [w.step_key for w in outcome.state.pending])[:1]
    else:
        assert found.problem.asked in {None, *found.next}
        assert set(found.unasked) == set(found.problem.unasked)


@settings(max_examples=60)
@given(st.lists(st.sampled_from("abcde"), unique=True, min_size=1), st.data())
def test_where_a_resume_of_parallel_branches_drifts_the_check_has_said_so(keys, data):
    renamed = data.draw(st.sampled_from(keys))
    asyncio.run(_compare_parallel(keys, renamed))


async def _compare_parallel(keys: list[str], renamed: str) -> None:
    names = {key: key for key in keys}

    async def flow(step: Any) -> None:
        async def branch(key: str) -> None:
            await step(names[key], str)
            await step(f"wait-{key}", pending_hook, key)

        await asyncio.gather(*(branch(key) for key in keys))

    state = (await Runner().run(flow)).state
    for key in keys:
        state = inject_hook(state, key, 1)
    names[renamed] = renamed + "2"
    found = await checked(flow, state)
    assert (await resume(flow, state)).result.error.unasked == (renamed,)
    assert isinstance(found.problem, WorkflowDrift)
    assert (found.unasked, found.problem.nearest) == ((renamed,), renamed)
    assert (await checked(_migrating(flow, renamed), state)).ok


def _migrating(flow: Any, renamed: str) -> Any:
    migrations = {1: lambda state: rename_step(state, renamed, renamed + "2")}

    @workflow(name=flow.__qualname__, version=2, migrations=migrations)
    async def today(step: Any) -> None:
        await flow(step)

    return today


@settings(max_examples=60)
@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1), st.randoms(use_true_random=False))
def test_renames_over_any_number_of_versions_end_as_if_the_keys_had_always_been_so(keys, chance):
    asyncio.run(_rename(keys, chance))


async def _rename(keys: list[str], chance: random.Random) -> None:
    script = Script([*keys, "w"])
    state = (await resume(script.flow, Runner().start(script.flow))).state
    names, migrations = list(keys), {}
    for version in range(1, chance.randint(1, 4) + 1):
        i = chance.randrange(len(names))
        old, names[i] = names[i], f"{names[i]}{version}"
        migrations[version] = lambda state, old=old, new=names[i]: rename_step(state, old, new)

    async def flow(step: Any) -> list[Any]:
        return [await step(key, script.ran.append, key) for key in names] + [
            await step("w", pending_hook, "w")
        ]

    script.ran.clear()
    today = workflow(name=state.workflow, version=len(migrations) + 1, migrations=migrations)(flow)
    assert (await checked(today, state)).replayed == tuple(names)
    migrated = migrate(today, state)
    assert (await resume(today, state)).state == migrated
    assert migrate(today, ResumeState.from_bytes(migrated.to_bytes())) == migrated
    done = await resume(today, inject_hook(migrated, "w", 1))
    assert done.result.unwrap() == [None] * len(keys) + [1]
    assert script.ran == []


class Renamed:
    """A step that asks for each key under another name: what is in a scope, a map or a race, by that."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self.step, name)
        return lambda key, *args, **kwargs: asked(f"{key}~", *args, **kwargs)

    def __call__(self, key: str, *args: Any, **kwargs: Any) -> Any:
        return self.step(f"{key}~", *args, **kwargs)

    def options(self, **policy: Any) -> Renamed:
        return Renamed(self.step.options(**policy))


def rename_all(state: ResumeState) -> ResumeState:
    waits = [hook.step_key for hook in state.hooks.values() if hook.step_key is not None]
    for key in dict.fromkeys([*state.steps, *waits, *state.underway, *state.children]):
        if not key.startswith("undo:"):  # the key of an undo goes with that of its step
            state = rename_step(state, key, another(key))
    return state


def another(key: str) -> str:
    """Give the new name of a key, or of that of its undo."""
    undo, name = ("undo:", key[5:]) if key.startswith("undo:") else ("", key)
    first, *rest = name.split("/")
    return undo + "/".join([f"{first}~" if first else "", *rest])


async def finish(shape: Any, state: ResumeState, world: Any) -> Any:
    """Go on from a state to the end of the run, with each hook answered alike."""
    while True:
        outcome = await world.runner().resume(shape, state)
        if not world.waits(outcome):
            return outcome
        state = world.answer_first(outcome.state, "an answer")


async def test_a_run_whose_keys_are_all_renamed_ends_as_it_would_have_from_any_state(shape, ran, world):
    @workflow(name=shape.__qualname__, version=2, migrations={1: rename_all})
    async def renamed(step: Any) -> Any:
        return await shape(Renamed(step))

    for now, state in await states_of(shape, world):
        if state.end is not None:
            continue
        ran.clear()
        world.clock.now = now
        wanted = await finish(shape, state, world)
        effects = sorted(ran)
        ran.clear()
        world.clock.now = now
        before = state.to_bytes()
        outcome = await finish(renamed, state, world)
        told = sorted(effect.replace("~", "") for effect in ran)  # a timeout names its step
        assert (outcome.result, told) == (wanted.result, effects)
        assert set(outcome.state.steps) == set(map(another, wanted.state.steps))
        assert len(outcome.state.closed) == len(wanted.state.closed)
        assert state.to_bytes() == before
