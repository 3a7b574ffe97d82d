"""Older states under newer code: the verbs of migrations, their composition, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest

from awaitpy import (
    DuplicateStepKey,
    Entry,
    Err,
    JournalError,
    MigrationFailed,
    MigrationGap,
    Ok,
    PendingHook,
    Result,
    ResumeState,
    Runner,
    StateError,
    StepMisuse,
    UnexpectedError,
    UnknownStep,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
    append_entries,
    change_argument,
    change_payload,
    create_hook,
    drop_step,
    first_of,
    forget,
    get_pending_hooks,
    inject_hook,
    make_converter,
    migrate,
    pending_hook,
    rename_scope,
    rename_step,
    resume,
    run,
    workflow,
)
from awaitpy._wire import RACE

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class Money:
    amount: Decimal
    currency: str


@attrs.frozen
class Cash:
    total: int


@attrs.frozen
class Card:
    number: str


def flow_of(calls, *keys: str, **how: Any) -> Any:
    """A workflow of these steps in turn; those that begin with `wait` wait for a hook of their name."""

    async def flow(step):
        got = []
        for key in keys:
            waits = key.rpartition("/")[2].startswith("wait")
            got.append(await (step(key, pending_hook, key) if waits else step(key, calls, key, key)))
        return got

    return workflow(name="flow", **how)(flow)


@pytest.fixture
async def parked(calls, answered) -> ResumeState:
    """A run of version 1 that has `a`, `b` and an answered wait, and waits at `wait`."""
    flow = flow_of(calls, "a", "b", "wait-1", "wait")
    state = (await resume(flow, answered((await run(flow)).state, **{"wait-1": 1}))).state
    calls.clear()
    return state


# --- rename ---------------------------------------------------------------------------------------


async def test_a_renamed_step_keeps_its_place_and_does_not_run_again(parked, calls, again, answered):
    state = rename_step(parked, "a", "first")
    assert list(state.steps) == ["first", "b", "wait-1"]
    assert list(parked.steps) == ["a", "b", "wait-1"]
    assert state.revision == parked.revision + 1
    outcome = await resume(flow_of(calls, "first", "b", "wait-1", "wait"), again(answered(state, wait=2)))
    assert outcome.result == Ok(["a", "b", 1, 2])
    assert calls == []


async def test_an_open_wait_that_is_renamed_keeps_its_deadline_and_its_delivery(calls):
    async def flow(step):
        return await step(key, pending_hook, "h", timeout=timedelta(hours=1))

    key = "old"
    state = (await Runner(clock=lambda: NOON).run(flow)).state
    state = rename_step(inject_hook(state, "h", "yes", now=NOON), "old", "new")
    assert (state.pending[0].step_key, state.pending[0].deadline) == ("new", NOON + timedelta(hours=1))
    key = "new"
    late = Runner(clock=lambda: NOON + timedelta(hours=2))
    assert (await late.resume(flow, state)).result == Ok("yes")


async def test_the_hook_that_a_renamed_wait_closed_and_the_forgotten_follow(parked, calls, answered):
    state = rename_step(forget(parked, "b"), "wait-1", "wait-one")
    assert state.closed["wait-1"] == ("answered", "wait-one")
    assert "wait-1" in forget(state, "wait-one").hooks
    state = rename_step(state, "b", "second")
    assert state.forgotten == ("second",)
    assert rename_step(state, "second", "b").forgotten == ("b",)


async def test_a_rename_there_and_back_gives_the_content_again(parked):
    for key in ("a", "wait-1", "wait"):
        back = rename_step(rename_step(parked, key, "z"), "z", key)
        assert (back.steps, back.pending, back.closed) == (parked.steps, parked.pending, parked.closed)
    same = rename_step(parked, "a", "a")
    assert same.steps == parked.steps


async def test_a_scope_is_renamed_with_all_that_is_under_it(calls, again):
    keys = ["ship/a", "ship/sub/b", "shipping", "ship/wait"]
    state = (await run(flow_of(calls, *keys))).state
    state = rename_scope(state, "ship", "delivery")
    assert list(state.steps) == ["delivery/a", "delivery/sub/b", "shipping"]
    assert state.pending[0].step_key == "delivery/wait"
    with pytest.raises(DuplicateStepKey, match="renamed to 'delivery/a'"):
        rename_scope(rename_step(state, "shipping", "x/a"), "x", "delivery")
    assert next(iter(rename_scope(state, "delivery", "delivery/sub").steps)) == "delivery/sub/a"
    with pytest.raises(UnknownStep):
        rename_scope(state, "ship", "y")
    assert rename_scope(state, "ship", "y", missing_ok=True) is state


@pytest.mark.parametrize("new", ["b", "wait-1", "wait"])
async def test_a_key_that_the_run_has_is_not_given_to_a_second_step(parked, new):
    with pytest.raises(DuplicateStepKey) as caught:
        rename_step(parked, "a", new)
    assert str(caught.value) == (
        f"Step 'a' can't be renamed to {new!r}: run {parked.run_id!r} has a step of that key. Rename or "
        "drop that one first, or choose another key."
    )


@pytest.mark.parametrize("new", ["", "\ud800"])
async def test_a_name_that_is_no_key_is_refused(parked, new):
    with pytest.raises(StepMisuse, match="non-empty str of Unicode"):
        rename_step(parked, "a", new)


async def test_a_sleep_under_way_is_renamed_with_its_time_and_dropped(calls):
    async def flow(step):
        await step.sleep(key, timedelta(hours=1))
        return "awake"

    key = "nap"
    state = (await Runner(clock=lambda: NOON).run(flow)).state
    renamed = rename_step(state, "nap", "siesta")
    assert [(t.step_key, t.until) for t in renamed.timers] == [("siesta", NOON + timedelta(hours=1))]
    key = "siesta"
    later = Runner(clock=lambda: NOON + timedelta(hours=1))
    assert (await later.resume(flow, renamed)).result == Ok("awake")
    assert drop_step(renamed, "siesta").timers == ()
    with pytest.raises(UnknownStep):
        change_payload(renamed, "siesta", str)


async def test_the_plan_of_an_undo_follows_the_names_of_its_steps(calls, again):
    def fails() -> Result[None, str]:
        return Err("no")

    async def flow(step):
        for key in keys:
            await step.options(undo=lambda _, key=key: calls.append(f"undo {key}"))(key, calls, key)
        await step("fails", fails)

    def stop(entry: Any) -> None:
        if entry.key == "undo:b":
            raise ConnectionError

    keys = ["a", "b"]
    state = (await Runner(checkpoint=stop).run(flow)).state
    assert (state.status, state.undoing) == ("interrupted", ("b", "a"))
    state = again(rename_step(rename_step(state, "a", "x"), "b", "y"))
    assert state.undoing == ("y", "x")
    keys = ["x", "y"]
    assert (await resume(flow, state)).result == Err("no")
    assert calls == ["a", "b", "undo b", "undo x"]


async def test_a_race_names_the_renamed_steps_of_its_losers(parked):
    race = Entry("race", RACE, msgspec.Raw(msgspec.msgpack.encode(["won", ["a", "b"], []])))
    state = rename_step(append_entries(parked, race), "b", "z")
    assert msgspec.msgpack.decode(state.steps["race"].payload) == ["won", ["a", "z"], []]
    damaged = append_entries(parked, race).to_json().replace('"won"', "1")
    with pytest.raises(StateError, match="The entry 'race' is damaged"):
        rename_step(ResumeState.from_json(damaged), "b", "z")


# --- a step that the run has not come to ----------------------------------------------------------

VERBS = [
    lambda state, **how: rename_step(state, "later", "x", **how),
    lambda state, **how: change_payload(state, "later", str, **how),
    lambda state, **how: drop_step(state, "later", **how),
]


@pytest.mark.parametrize("verb", VERBS)
async def test_a_step_that_the_run_has_not_come_to_is_told_with_the_tolerant_way(parked, verb):
    with pytest.raises(UnknownStep) as caught:
        verb(parked)
    assert str(caught.value) == (
        f"Run {parked.run_id!r} has no journaled step 'later'; see state.steps for its keys. If not every "
        "run has come to it, say missing_ok=True, or ask first: if 'later' in state.steps."
    )
    assert verb(parked, missing_ok=True) is parked


# --- payloads -------------------------------------------------------------------------------------


async def values_of(flow: Any, state: ResumeState) -> Any:
    return (await resume(flow, state)).result.unwrap()


async def test_a_payload_of_plain_data_is_changed_and_restored(parked, calls, answered):
    state = change_payload(parked, "a", lambda old: {"was": old})
    state = change_payload(state, "wait-1", lambda old: old + 41)
    outcome = await resume(flow_of(calls, "a", "b", "wait-1", "wait"), answered(state, wait=2))
    assert outcome.result == Ok([{"was": "a"}, "b", 42, 2])
    assert parked.steps["a"].payload != state.steps["a"].payload
    assert calls == []


async def typed(tp: Any, value: Any) -> ResumeState:
    """A parked run whose step `a` gave this value of this type."""

    async def flow(step):
        await step.options(returns=tp)("a", lambda: value)
        await step("wait", pending_hook, "h")

    return (await run(workflow(name="typed")(flow))).state


async def read(tp: Any, state: ResumeState) -> Any:
    """What the step `a` of that run gives as another type."""

    async def flow(step):
        got = await step.options(returns=tp)("a", lambda: None)
        await step("wait", pending_hook, "h")
        return got

    return await values_of(workflow(name="typed")(flow), inject_hook(state, "h", 1))


@pytest.mark.parametrize(
    ("before", "value", "fn", "how", "after", "wanted"),
    [
        (int, 3, lambda n: Money(Decimal(n), "EUR"), {"returns": Money}, Money, Money(Decimal(3), "EUR")),
        (Cash, Cash(3), lambda d: {"total": d["total"] * 100}, {}, Cash, Cash(300)),
        (Cash, Cash(3), lambda c: Cash(c.total * 100), {"takes": Cash}, Cash, Cash(300)),
        (Cash, Cash(3), lambda c: c.total, {"takes": Cash, "returns": int}, int, 3),
        (Cash | Card, Cash(3), lambda d: {"total": d["total"] + 1}, {}, Cash | Card, Cash(4)),
        (Cash | Card, Cash(3), lambda d: Card(str(d["total"])), {"returns": Cash | Card}, Cash | Card,
         Card("3")),
        (Cash | Card, Cash(3), lambda c: Card(str(c.total)), {"takes": Cash | Card}, Cash | Card,
         Card("3")),
        (Cash | Card, Card("3"), lambda d: d["number"], {"returns": str}, str, "3"),
        (set[int], {1, 2}, sorted, {"returns": list[int]}, list[int], [1, 2]),
        (datetime, NOON, lambda at: at, {}, datetime, NOON),
    ],
)  # fmt: skip
async def test_a_typed_payload_is_changed_and_restored(before, value, fn, how, after, wanted):
    state = change_payload(await typed(before, value), "a", fn, **how)
    got = await read(after, ResumeState.from_json(state.to_json()))
    assert got == wanted
    assert type(got) is type(wanted)


async def test_a_payload_of_the_converter_is_changed_as_plain_data_and_as_its_type():
    class Celsius:
        def __init__(self, degrees: float) -> None:
            self.degrees = degrees

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Celsius) and self.degrees == other.degrees

        __hash__ = None

    converter = make_converter()
    converter.register_unstructure_hook(Celsius, lambda c: c.degrees)
    converter.register_structure_hook(Celsius, lambda data, _: Celsius(data))
    runner = Runner(converter=converter)

    async def flow(step):
        got = await step.options(returns=Celsius)("a", lambda: Celsius(20.0))
        await step("wait", pending_hook, "h")
        return got

    state = inject_hook((await runner.run(flow)).state, "h", 1)
    plain = change_payload(state, "a", lambda degrees: degrees + 1)
    assert (await runner.resume(flow, plain)).result == Ok(Celsius(21.0))
    of_type = change_payload(
        state, "a", lambda c: Celsius(c.degrees + 2), takes=Celsius, converter=converter
    )
    assert (await runner.resume(flow, of_type)).result == Ok(Celsius(22.0))


@pytest.mark.parametrize("how", [{}, {"takes": Result[int, Cash], "returns": Result[int, Card]}])
async def test_the_error_of_a_failed_step_is_changed_as_the_error_it_is(how):
    def pay() -> Result[int, Cash]:
        return Err(Cash(3))

    def pay_by_card() -> Result[int, Card]:
        raise AssertionError

    async def flow(step):
        paid = await step.attempt("pay", pay if old else pay_by_card)
        await step("wait", pending_hook, "h")
        return paid.unwrap_err()

    old = True
    state = inject_hook((await run(flow)).state, "h", 1)
    old = False
    fn = (lambda cash: Card(str(cash.total))) if how else (lambda data: {"number": str(data["total"])})
    assert await values_of(flow, change_payload(state, "pay", fn, **how)) == Card("3")


async def test_a_delivery_that_was_not_taken_yet_is_changed_too(calls):
    async def flow(step):
        await asyncio.gather(*(step(f"wait-{n}", pending_hook, n) for n in ("third", "other")))

    async def waiting(step):
        return await step("wait", first_of, pending_hook("h1", Cash), pending_hook("h2", Cash))

    state = inject_hook((await run(waiting)).state, "h2", {"sum": 3})
    plain = change_payload(state, "wait", lambda d: {"total": d["sum"]})
    assert (await values_of(waiting, plain)).value == Cash(3)
    named = change_payload(state, "wait", lambda d: Cash(d["sum"]), returns=Cash)
    assert (await values_of(waiting, named)).value == Cash(3)
    back = change_payload(named, "wait", lambda cash: cash.total, takes=Cash, returns=int)
    assert bytes(back.hooks["h2"].deliveries[0].value) == b"\x03"
    parked = (await run(flow)).state
    assert change_payload(parked, "wait-other", str).pending == parked.pending
    assert get_pending_hooks(parked) == ["third", "other"]


def cyclic(_: Any) -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep(_: Any) -> list[Any]:
    value: list[Any] = []
    for _ in range(150):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("fn", "how", "problem"),
    [
        (lambda _: {"a": [1, (2,)]}, {}, "at $['a'][1] a tuple would come back as a list."),
        (lambda _: Cash(1), {}, "at $ a Cash would come back as a dict."),
        (lambda _: object(), {}, "Encoding objects of type object is unsupported."),
        (lambda _: 2**70, {}, "at $"),
        (cyclic, {}, "at $"),
        (deep, {}, "the value is nested too deep"),
        (lambda _: Cash(1), {"returns": Card}, "at $ Object missing required field `number`."),
    ],
)
async def test_what_the_journal_can_not_restore_is_refused_with_its_place(parked, fn, how, problem):
    for key in ("a", "wait-1"):
        with pytest.raises(JournalError) as caught:
            change_payload(parked, key, fn, **how)
        text = str(caught.value)
        assert text.startswith(f"The migration of step {key!r} gave a value that can't be journaled: at $")
        assert problem in text
        assert text.endswith(
            "Nothing was journaled for it. Name the type that the migration gives by returns=..., or give "
            "plain data."
        )


async def test_a_delivery_can_not_be_of_a_type_that_only_a_converter_carries(parked):
    with pytest.raises(JournalError, match="a list needs a converter"):
        change_payload(parked, "wait-1", lambda _: [Cash(1)], returns=list[Cash | Card])


@pytest.mark.parametrize("key", ["a", "wait-1"])
async def test_a_journaled_value_that_is_not_of_the_type_to_take_is_told(parked, key):
    with pytest.raises(StateError) as caught:
        change_payload(parked, key, lambda cash: cash, takes=Cash)
    got = "str" if key == "a" else "int"
    assert str(caught.value) == (
        f"The value of step {key!r} can't be read at $: Expected `object`, got `{got}`. Name the type "
        "that it has by takes=..., or take plain data."
    )


async def test_a_step_without_a_payload_has_none_to_change(calls):
    async def flow(step):
        hook = await step("hook", create_hook)
        await step("wait", pending_hook, hook.hook_id)

    state = (await run(flow)).state
    with pytest.raises(StepMisuse, match="'hook' has no payload to change: the journal has a hook for it"):
        change_payload(state, "hook", str)


async def test_what_the_function_raises_comes_out(parked):
    with pytest.raises(ZeroDivisionError):
        change_payload(parked, "a", lambda _: 1 // 0)


async def test_an_argument_is_changed_by_place_or_by_name(again):
    async def old(step, total: int, *, note: str) -> Any:
        return await step("wait", pending_hook, "h")

    async def new(step, total: Money, *, note: list[str]) -> Any:
        return [total, note, await step("wait", pending_hook, "h")]

    before = (await run(workflow(name="f")(old), 3, note="x")).state
    state = change_argument(before, 0, lambda n: Money(Decimal(n), "EUR"), returns=Money)
    state = change_argument(state, "note", lambda text: [text])
    assert state.revision == before.revision + 2
    outcome = await resume(workflow(name="f")(new), inject_hook(again(state), "h", 1))
    assert outcome.result == Ok([Money(Decimal(3), "EUR"), ["x"], 1])
    for which in (1, "total"):
        with pytest.raises(StateError, match=f"was started without an argument {which!r}"):
            change_argument(before, which, str)


# --- drop -----------------------------------------------------------------------------------------


async def test_a_dropped_step_is_gone_and_not_noted_as_forgotten(parked, calls, answered):
    state = drop_step(forget(parked, "a"), "a")
    state = drop_step(state, "b")
    assert (list(state.steps), state.forgotten) == (["wait-1"], ())
    outcome = await resume(flow_of(calls, "wait-1", "wait"), answered(state, wait=2))
    assert outcome.result == Ok([1, 2])
    assert calls == []


async def test_the_hook_of_a_dropped_answer_stays_closed(parked):
    state = drop_step(parked, "wait-1")
    assert state.closed == parked.closed
    assert get_pending_hooks(state) == ["wait"]


async def test_a_dropped_open_wait_is_no_longer_waited_for(parked, calls):
    state = drop_step(parked, "wait")
    assert (state.pending, get_pending_hooks(state)) == ((), [])
    assert (await resume(flow_of(calls, "a", "b", "wait-1"), state)).result == Ok(["a", "b", 1])


async def test_a_hook_whose_creation_is_dropped_is_unknown_unless_it_is_waited_for():
    async def flow(step):
        for name in ("one", "two", "three"):
            await step(f"make-{name}", create_hook, new_id=lambda name=name: name)
        await step("wait-three", pending_hook, "three")
        await step("wait", pending_hook, "two")

    state = inject_hook((await run(flow)).state, "three", 1)
    state = (await resume(flow, state)).state
    for name in ("one", "two", "three"):
        state = drop_step(state, f"make-{name}")
    assert list(state.hooks) == ["two"]
    assert list(state.closed) == ["three"]


# --- versions -------------------------------------------------------------------------------------


def renames(*pairs: tuple[str, str]) -> dict[int, Any]:
    """Migrations from version 1 on, each of which renames a step."""
    return {
        n: lambda state, old=old, new=new: rename_step(state, old, new, missing_ok=True)
        for n, (old, new) in enumerate(pairs, 1)
    }


async def test_migrations_are_composed_over_several_versions(parked, calls, again, answered):
    new = flow_of(
        calls, "a3", "b", "wait-1", "wait", version=3, migrations=renames(("a", "a2"), ("a2", "a3"))
    )
    moved = await resume(new, again(parked))
    assert isinstance(moved.result.error, PendingHook)
    assert (moved.state.version, moved.state.begun) == (3, 1)
    assert list(moved.state.steps) == ["a3", "b", "wait-1"]
    assert (parked.version, parked.begun) == (1, None)
    done = await resume(new, answered(moved.state, wait=2))
    assert done.result == Ok(["a", "b", 1, 2])
    assert calls == []
    second = rename_step(parked, "a", "a2")
    second = ResumeState.from_json(second.to_json().replace('"version": 1', '"version": 2'))
    assert (await resume(new, answered(second, wait=2))).result == done.result


async def test_a_migrated_state_is_not_migrated_again(parked, calls, again):
    migrations = {1: lambda state: change_payload(state, "a", lambda old: old * 2)}
    new = flow_of(calls, "a", "b", "wait-1", "wait", version=2, migrations=migrations)
    state = (await resume(new, parked)).state
    for _ in range(2):
        assert (await resume(new, again(state))).state == state
        assert migrate(new, again(state)) == state
    assert b"aaaa" not in state.to_bytes()


async def test_since_is_still_compared_with_the_version_under_which_the_run_began(parked, calls, answered):
    def code(since: int) -> Any:
        async def flow(step):
            await step.options(since=since)("new", calls, "new")
            for key in ("a2", "b"):
                await step(key, calls, key)
            await step("wait-1", pending_hook, "wait-1")
            return await step("wait", pending_hook, "wait")

        return workflow(name="flow", version=2, migrations=renames(("a", "a2")))(flow)

    state = migrate(code(2), parked)
    assert ResumeState.from_bytes(state.to_bytes()).begun == 1
    assert isinstance((await resume(code(1), state)).result.error, WorkflowDrift)
    assert (await resume(code(2), answered(state, wait=2))).result == Ok(2)
    assert calls == ["new"]


async def test_begun_stays_that_of_the_start_over_later_migrations(parked, calls):
    two = flow_of(calls, "a", "b", "wait-1", "wait", version=2, migrations={1: lambda state: state})
    three = flow_of(
        calls, "a", "b", "wait-1", "wait", version=3, migrations=dict.fromkeys((1, 2), lambda state: state)
    )
    assert migrate(three, migrate(two, parked)).begun == 1


async def test_a_gap_is_refused(parked, calls, again):
    three = flow_of(calls, "a", "b", "wait-1", "wait", version=3, migrations={2: lambda state: state})
    outcome = await resume(three, again(parked))
    assert outcome.result == Err(MigrationGap("flow", 1, 3, (1,)))
    assert outcome.state.status == "interrupted"
    assert (outcome.state.version, outcome.state.steps) == (1, parked.steps)
    with pytest.raises(MigrationFailed) as caught:
        migrate(three, parked)
    assert caught.value.error == outcome.result.error
    assert str(caught.value) == str(outcome.result.error)
    assert str(caught.value) == (
        "The state of 'flow' has version 1, this code is version 3, and no migration leads from version 1 "
        "to 2. Register it with @workflow(migrations={1: ...}); for a version that changed no step of "
        "older runs, lambda state: state. Nothing was run or changed."
    )


async def test_a_gap_of_any_width_is_told_in_little_time(parked, calls):
    three = flow_of(calls, "a", version=3, migrations={2: lambda state: state})
    ancient = ResumeState.from_json(parked.to_json().replace('"version": 1', f'"version": {-(2**62)}'))
    error = (await resume(three, ancient)).result.error
    assert len(error.missing) == 10
    assert f"(nor from {-(2**62) + 1}, " in str(error)


async def test_without_migrations_older_states_are_taken_as_they_are(parked, calls):
    newer = flow_of(calls, "a", "b", "wait-1", "wait", version=3)
    assert migrate(newer, parked) is parked
    assert (await resume(newer, parked)).state == parked


async def test_a_finished_run_is_given_by_any_version_without_migration(parked, calls, answered):
    old = flow_of(calls, "a", "b", "wait-1", "wait")
    finished = (await resume(old, answered(parked, wait=2))).state
    new = flow_of(calls, "x", version=3, migrations={2: lambda state: 1 // 0})
    assert (await resume(new, finished)).result == Ok(["a", "b", 1, 2])
    assert migrate(new, finished) is finished


async def test_a_migration_that_raises_interrupts_the_run_and_changes_nothing(parked, calls, again):
    migrations = renames(("a", "a2")) | {2: lambda state: int("two")}
    new = flow_of(calls, "a2", version=3, migrations=migrations)
    outcome = await resume(new, again(parked))
    assert isinstance(outcome.result.error, UnexpectedError)
    assert isinstance(outcome.result.error.cause, MigrationFailed)
    assert isinstance(outcome.result.error.cause.__cause__, ValueError)
    assert str(outcome.result.error) == (
        "The migration of 'flow' from version 2 to 3 raised ValueError: invalid literal for int() with "
        "base 10: 'two'. Nothing was run, and the state is as it was."
    )
    assert (outcome.state.status, outcome.state.version) == ("interrupted", 1)
    assert outcome.state.steps == parked.steps
    assert calls == []
    with pytest.raises(MigrationFailed):
        migrate(new, parked)


@pytest.mark.parametrize("given", ["nothing", "another run"])
async def test_a_migration_that_gives_no_state_of_its_run_is_told(parked, calls, given):
    other = (await run(flow_of(calls, "wait"))).state
    made = {"nothing": None, "another run": other}[given]
    new = flow_of(calls, "a", version=2, migrations={1: lambda state: made})
    what = {"nothing": "NoneType", "another run": "the state of another run"}[given]
    error = (await resume(new, parked)).result.error
    assert str(error) == (
        f"The migration of 'flow' from version 1 to 2 gave {what}. Return the state that the last verb "
        "gave. Nothing was run."
    )


async def test_drift_after_a_migration_leaves_the_state_of_the_older_version(parked, calls, answered):
    """So that the migration can be mended: once saved, a migrated state is never migrated again."""
    keys = ["a2", "b2", "wait-1", "wait"]
    wrong = flow_of(calls, *keys, version=2, migrations=renames(("a", "a2")))
    outcome = await resume(wrong, parked)
    assert isinstance(outcome.result.error, WorkflowDrift)
    assert (outcome.state.version, outcome.state.status) == (1, "interrupted")
    assert outcome.state.steps == parked.steps

    def mended(state: ResumeState) -> ResumeState:
        return rename_step(rename_step(state, "a", "a2"), "b", "b2")

    right = flow_of(calls, *keys, version=2, migrations={1: mended})
    assert (await resume(right, answered(outcome.state, wait=2))).result == Ok(["a", "b", 1, 2])
    assert calls == []


async def test_a_leg_that_journaled_something_keeps_the_migrated_state(parked, calls, answered):
    async def flow(step):
        for key in ("a2", "b"):
            await step(key, calls, key)
        await step("wait-1", pending_hook, "wait-1")
        await step("wait", pending_hook, "wait")
        await step("breaks", lambda: 1 // 0)

    new = workflow(name="flow", version=2, migrations=renames(("a", "a2")))(flow)
    outcome = await resume(new, answered(parked, wait=2))
    assert isinstance(outcome.result.error, UnexpectedError)
    assert (outcome.state.version, list(outcome.state.steps)) == (2, ["a2", "b", "wait-1", "wait"])


async def test_a_run_with_a_checkpoint_is_migrated_and_saved_first(parked, calls, answered):
    """Else a crash would leave new entries beside the old state, which would be migrated with them."""
    new = flow_of(calls, "a2", "b", "wait-1", "wait", "c", version=2, migrations=renames(("a", "a2")))
    kept: list[Any] = []
    runner = Runner(checkpoint=kept.append)
    refused = await runner.resume(new, answered(parked, wait=2))
    assert str(refused.result.error) == (
        f"Run {parked.run_id!r} is of version 1 and has to be migrated before a run with a checkpoint: a "
        "crash would leave new entries beside the old state, which would be migrated again with them. "
        "Save migrate(workflow, state) first, and resume that. Nothing was run."
    )
    assert (calls, kept, refused.state.version) == ([], [], 1)
    saved = migrate(new, answered(parked, wait=2))
    done = await runner.resume(new, saved)
    assert done.result == Ok(["a", "b", 1, 2, "c"])
    assert (await runner.resume(new, append_entries(saved, *kept))).result == done.result
    assert calls == ["c"]


@workflow(name="other", version=2, migrations={1: lambda state: state})
async def only_step(step) -> None: ...


async def test_a_state_of_another_workflow_or_a_newer_version_is_not_migrated(parked, calls):
    newer = ResumeState.from_json(parked.to_json().replace('"version": 1', '"version": 3'))
    new = flow_of(calls, "a", version=2, migrations={1: lambda state: state})
    with pytest.raises(MigrationFailed) as caught:
        migrate(new, newer)
    assert caught.value.error == VersionMismatch("flow", 3, 2)
    with pytest.raises(MigrationFailed) as caught:
        migrate(only_step, parked)
    assert caught.value.error == WorkflowMismatch("flow", "other")


async def test_the_version_of_a_runner_is_the_one_to_come_to(parked, calls):
    new = flow_of(calls, "a2", "b", "wait-1", "wait", version=2, migrations=renames(("a", "a2")))
    assert (await Runner(version=2).resume(new, parked)).state.version == 2
    assert (await Runner(version=3).resume(new, parked)).result == Err(MigrationGap("flow", 1, 3, (2,)))


def test_a_migration_that_leads_beyond_the_version_is_refused_where_it_is_registered():
    with pytest.raises(
        ValueError, match=r"migrations\[2\] leads to version 3, and the workflow is version 2"
    ):
        workflow(name="flow", version=2, migrations={1: lambda state: state, 2: lambda state: state})
