"""States that were written once are read, told and resumed by every later version."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from awaitpy import (
    Cancelled,
    Err,
    HookAlreadyResolved,
    HookExpired,
    Ok,
    ResumeState,
    StateError,
    get_pending_hooks,
    next_wakeup,
    resume,
)

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE.parents[1] / "docs" / "state.schema.json").read_text("utf-8"))
FILES = sorted(HERE.glob("*.bin"))


def _make() -> Any:
    spec = importlib.util.spec_from_file_location("golden_make", HERE / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["golden_make"] = module
    spec.loader.exec_module(module)
    return module


make = _make()
MADE = {make.name_of(made): made for made in make.STATES}


def golden(name: str) -> ResumeState:
    return ResumeState.from_bytes((HERE / f"{name}.v1.bin").read_bytes())


def keys(name: str) -> dict[str, str]:
    return {key: entry.kind_name for key, entry in golden(name).steps.items()}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def files(request) -> tuple[bytes, str]:
    return request.param.read_bytes(), request.param.with_suffix(".json").read_text("utf-8")


def test_there_is_a_golden_state_of_every_kind():
    assert {file.stem for file in FILES} >= set(MADE)


def test_bytes_and_json_are_one_state_and_are_written_again_as_they_were(files):
    data, text = files
    state = ResumeState.from_bytes(data)
    assert state == ResumeState.from_json(text)
    assert state == ResumeState.from_json(state.to_json(indent=0))
    assert state.to_bytes() == data
    assert json.loads(state.to_json()) == json.loads(text)


def test_the_json_is_as_the_published_schema_says(files):
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(json.loads(files[1]))


@pytest.mark.parametrize("name", MADE)
async def test_the_code_of_today_still_writes_the_same_content(name):
    assert (await MADE[name]()).to_json() + "\n" == (HERE / f"{name}.json").read_text("utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        {"awaitpy": 2},
        {"status": "asleep"},
        {"surplus": 1},
        {"entries": [{"key": "a", "kind": "thing", "payload": 1}]},
        {"entries": [{"key": "a", "kind": "answer", "payload": 1}]},
        {"entries": [{"key": "a", "kind": "value", "payload": {"$bytes": 1}}]},
        {"entries": [{"key": "a", "kind": "value", "payload": {"$unknown": 1}}]},
        {"hooks": [{"hook_id": "h", "step_key": "w"}]},
        {"closed": {"h": ["answered"]}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_no_state(damage):
    tree = {**json.loads((HERE / "started.v1.json").read_text("utf-8")), **damage}
    assert list(Draft202012Validator(SCHEMA).iter_errors(tree))


async def test_a_run_that_has_not_begun_begins():
    outcome = await make.runner().resume(make.checkout, golden("started"))
    assert outcome.state.revision == 1
    assert outcome.state.to_json() == golden("suspended").to_json()


async def test_a_suspended_run_tells_what_it_waits_for_and_goes_on():
    state = golden("suspended")
    (record,) = state.pending
    assert (record.hook_id, record.step_key, record.methods) == ("pay", "hook:pay", ("POST",))
    assert record.metadata == {"order": "o-1"}
    assert record.since == make.START
    assert next_wakeup(state) == record.deadline
    assert keys("suspended") == {"create-order": "value", "payment-hook": "hook", "things": "value"}
    outcome = await make.runner(1).resume(make.checkout, make.inject(state, "pay", make.PAID, "evt-1"))
    assert outcome.result == Ok("o-1 sent")
    assert outcome.state.to_json() == golden("completed").to_json()


async def test_the_values_of_a_journal_are_as_they_were():
    seen: list[Any] = []

    @make.workflow(name="golden.checkout", version=2)
    async def look(step: Any, total: int, *, note: str) -> None:
        seen.append((total, note))
        seen.append(await step("create-order", make.create_order, total))
        seen.append(await step("payment-hook", make.create_hook))
        seen.append(await step("things", lambda: None))
        seen.append(await step("hook:pay", make.pending_hook, "pay", make.Payment))

    await resume(look, make.inject(golden("suspended"), "pay", make.PAID))
    things = make.plain_things()
    hook = make.create_hook(new_id=lambda: "pay")
    assert seen == [(4200, "gift"), make.ORDER, hook, things, make.Payment("o-1", "paid")]


async def test_a_delivery_that_was_stored_is_taken():
    state = golden("delivered")
    assert state.pending[0].deliveries == 1
    assert get_pending_hooks(state) == []
    assert make.inject(state, "pay", "other", "evt-1") == state
    assert (await make.runner(1).resume(make.checkout, state)).result == Ok("o-1 sent")


@pytest.mark.parametrize(
    ("name", "result"), [("completed", Ok("o-1 sent")), ("failed", Err(make.Declined("no funds")))]
)
async def test_a_finished_run_gives_its_result_again(name, result):
    state = golden(name)
    outcome = await resume(make.checkout, state)
    assert outcome.result == result
    assert outcome.state == state
    assert state.status == name
    with pytest.raises(HookAlreadyResolved):
        make.inject(state, "pay", "another")


async def test_a_forgotten_step_runs_again():
    state = golden("forgotten")
    assert (state.status, state.forgotten) == ("interrupted", ("fulfil",))
    outcome = await make.runner(1).resume(make.checkout, state)
    assert outcome.result == Ok("o-1 sent")
    assert outcome.state.forgotten == ()


async def test_buffered_deliveries_are_taken_in_order():
    state = golden("many")
    assert state.pending[0].deliveries == 2
    assert make.inject(state, "docs", "other", "d-1") == state
    assert (await make.runner(1).resume(make.documents, state)).result == Ok(["one", "two", "three"])


async def test_a_race_is_still_open_and_a_won_one_is_over():
    state = golden("race")
    assert get_pending_hooks(state) == ["email", "phone", "web"]
    outcome = await make.runner(1).resume(make.contact, make.inject(state, "web", "w"))
    assert outcome.result == Ok(make.Won("web", "w"))
    won = golden("race-won")
    assert (await resume(make.contact, won)).result == Ok(make.Won("phone", "+1"))
    with pytest.raises(HookAlreadyResolved):
        make.inject(won, "email", "late")


async def test_a_timeout_is_kept():
    state = golden("timed-out")
    assert keys("timed-out") == {"answer": "timeout"}
    with pytest.raises(HookExpired):
        make.inject(state, "answer", "late")
    assert (await make.runner(2).resume(make.reminder, make.inject(state, "second", "yes"))).result == Ok(
        "yes"
    )


async def test_what_the_converter_wrote_is_read():
    state = make.inject(golden("converted"), "leave", None)
    when = (await make.runner(1).resume(make.delivery, state)).result.unwrap()
    assert (when, when.hour, when.tzinfo) == (make.deliver_at(), 9, make.PARIS)


async def test_an_interrupted_run_is_tried_again():
    make.BROKEN[0] = False
    outcome = await make.runner().resume(make.shipping, golden("interrupted"))
    assert outcome.result == Ok("shipped")


async def test_a_step_that_was_cut_off_is_cut_off_again():
    state = golden("cut")
    assert keys("cut") == {"slow": "cut", "apologise": "value"}
    outcome = await make.runner().resume(make.hurry, make.inject(state, "answer", "yes"))
    assert outcome.result == Ok("yes")


async def test_a_migrated_run_goes_on_under_the_version_that_it_came_to():
    state = golden("migrated")
    assert (state.version, state.begun, state.pending[0].step_key) == (2, 1, "last-answer")
    assert state.pending[0].since == golden("timed-out").pending[0].since
    outcome = await make.runner(2).resume(make.renamed_reminder, make.inject(state, "second", "yes"))
    assert outcome.result == Ok("yes")


async def test_attempts_are_counted_on():
    state = golden("retried")
    assert state.timers[0].attempts == 2
    assert (await make.runner(3).resume(make.retrying, state)).result == Ok("charged")


async def test_a_sleep_ends_at_its_time():
    state = golden("slept")
    assert keys("slept") == {"nap": "elapsed", "slow": "policy"}
    assert next_wakeup(state).hour == 20
    state = make.inject(state, "h", "yes")
    assert (await make.runner(8).resume(make.sleeping, state)).result == Ok("morning")


async def test_an_undo_goes_on_and_a_finished_one_is_over():
    state = golden("undoing")
    assert (state.undoing, state.timers[0].step_key) == (("flight", "hotel"), "undo:flight")
    assert (await make.runner(2).resume(make.booking, state)).result == Err(make.Declined("no funds"))
    done = golden("undone")
    assert list(keys("undone")) == ["hotel", "flight", "pay", "undo:", "undo:flight", "undo:hotel"]
    assert (await resume(make.booking, done)).state == done


async def test_a_cancelled_run_ends():
    outcome = await make.runner(1).resume(make.checkout, golden("cancelled"))
    assert outcome.result == Err(Cancelled("the shop is closed"))


async def test_a_child_waits_and_goes_on_in_its_own_state():
    state = golden("child")
    (record,) = state.pending
    assert (record.hook_id, record.step_key) == ("arrival of book", "first/arrival")
    assert next_wakeup(state) == record.deadline
    assert state.children["first"].run_id == "golden-run/first"
    state = make.inject(state, "arrival of book", "here")
    assert (await make.runner(1).resume(make.parcels, state)).state == golden("child-ended")


async def test_a_child_that_ended_is_given_from_the_journal_of_its_parent():
    state = golden("child-ended")
    assert keys("child-ended") == {"first": "value"}
    assert [child.status for child in state.children.values()] == ["completed", "suspended"]
    state = make.inject(state, "arrival of pen", "there")
    assert (await make.runner(2).resume(make.parcels, state)).result == Ok(["here", "there"])


def test_missing_golden_states_are_written_and_others_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "HERE", tmp_path)
    monkeypatch.setattr(make, "STATES", [make.started, make.suspended])
    make.write(replace=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "started.v1.bin", "started.v1.json", "suspended.v1.bin", "suspended.v1.json",
    ]  # fmt: skip
    (tmp_path / "started.v1.bin").write_bytes(b"kept")
    make.write(replace=False)
    assert (tmp_path / "started.v1.bin").read_bytes() == b"kept"
    make.write(replace=True)
    assert ResumeState.from_bytes((tmp_path / "started.v1.bin").read_bytes()).status == "running"


def test_a_newer_format_is_said_to_be_newer(files):
    data, text = files
    tree = {**json.loads(text), "awaitpy": 2}
    for read, what in (
        (ResumeState.from_json, json.dumps(tree)),
        (ResumeState.from_bytes, data.replace(b"\xa7awaitpy\x01", b"\xa7awaitpy\x02")),
    ):
        with pytest.raises(StateError, match="format 2"):
            read(what)


async def test_a_state_knows_the_trace_of_its_last_leg_and_keeps_it():
    state = golden("traced")
    assert state.trace == make.Traced().traceparent(0)
    outcome = await make.runner(1).resume(make.reminder, state)
    assert outcome.state.trace == state.trace
    assert golden("suspended").trace == ""
