"""A run as lines of a log: one for each event, with names and never a value."""

from __future__ import annotations

import logging

import attrs
import pytest

from awaitpy import Err, Event, Result, ResumeState, Runner, Step, inject_hook, pending_hook
from awaitpy.events import Retried
from awaitpy.instrumentation import log_events

CARD = "4111-1111"


@attrs.frozen
class Declined:
    card: str


def charge(card: str) -> Result[str, Declined]:
    return Err(Declined(card))


async def pays(step, card: str):
    await step("look", lambda: card)
    await step.attempt("charge", charge, card)
    await step("wait", pending_hook, "h-1", metadata={"card": card})
    await step("book", lambda: int(card))


async def fails(step):
    return await step("charge", charge, CARD)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, "awaitpy")
    caplog.set_level(logging.DEBUG, "shop.runs")
    return caplog


async def paid(observer) -> None:
    """Two legs of a run: the first suspends, a step of the second raises."""
    runner = Runner(on_event=observer, run_id="run-1")
    state = (await runner.run(pays, CARD)).state
    state = inject_hook(ResumeState.from_bytes(state.to_bytes()), "h-1", CARD)
    assert (await runner.resume(pays, state)).state.status == "interrupted"


async def test_each_event_is_one_line(log):
    await paid(log_events())
    assert [(record.levelname, record.getMessage()) for record in log.records] == [
        ("INFO", "run.started of 'pays' run 'run-1'"),
        ("INFO", "step.started 'look' of 'pays' run 'run-1'"),
        ("INFO", "step.completed 'look' of 'pays' run 'run-1'"),
        ("INFO", "step.started 'charge' of 'pays' run 'run-1'"),
        ("WARNING", "step.failed 'charge' of 'pays' run 'run-1': Declined"),
        ("INFO", "step.started 'wait' of 'pays' run 'run-1'"),
        ("INFO", "step.waiting 'wait' of 'pays' run 'run-1'"),
        ("INFO", "hook.waiting 'wait' of 'pays' run 'run-1'"),
        ("INFO", "run.suspended of 'pays' run 'run-1'"),
        ("INFO", "run.started of 'pays' run 'run-1'"),
        ("DEBUG", "step.replayed 'look' of 'pays' run 'run-1'"),
        ("DEBUG", "step.replayed 'charge' of 'pays' run 'run-1'"),
        ("INFO", "step.started 'wait' of 'pays' run 'run-1'"),
        ("INFO", "step.waiting 'wait' of 'pays' run 'run-1'"),
        ("INFO", "hook.answered 'wait' of 'pays' run 'run-1'"),
        ("INFO", "step.started 'book' of 'pays' run 'run-1'"),
        ("ERROR", "step.raised 'book' of 'pays' run 'run-1': ValueError"),
        ("ERROR", "run.interrupted of 'pays' run 'run-1': UnexpectedError(ValueError)"),
    ]
    assert {record.name for record in log.records} == {"awaitpy"}


async def test_no_record_holds_a_value(log):
    await paid(log_events())
    await Runner(on_event=log_events()).run(fails)
    assert len(log.records) > 18
    for record in log.records:
        assert CARD not in repr(vars(record))


async def test_records_have_fields_for_machines(log):
    await paid(log_events())
    fields = ["event", "workflow", "run_id", "revision", "step_key", "error_type"]
    seen = [[getattr(record, name) for name in fields] for record in log.records]
    assert seen[0] == ["run.started", "pays", "run-1", 0, None, None]
    assert seen[4] == ["step.failed", "pays", "run-1", 0, "charge", "Declined"]
    assert seen[-1] == ["run.interrupted", "pays", "run-1", 2, None, "UnexpectedError(ValueError)"]


async def test_a_run_that_fails_is_a_warning_with_the_class_of_its_error(log):
    await Runner(on_event=log_events()).run(fails)
    assert log.records[-1].levelno == logging.WARNING
    assert log.records[-1].error_type == "Declined"


def test_a_retry_tells_which_attempt_and_how_long_it_waits(log):
    again = Retried(2, 1.5, ConnectionError(CARD))
    log_events()(Event("step.retried", "run-1", "charge", again, "pays"))
    (record,) = log.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "step.retried 'charge' of 'pays' run 'run-1' after attempt 2, in 1.5 s: ConnectionError"
    )


async def test_levels_and_the_logger_can_be_chosen_and_an_event_left_out(log):
    mine = logging.getLogger("shop.runs")
    levels = {"step.started": 0, "step.completed": logging.DEBUG, "run.started": logging.CRITICAL}
    await Runner(on_event=log_events(mine, levels=levels)).run(lambda step: step("a", lambda: 1))
    assert [(record.name, record.levelname, record.event) for record in log.records] == [
        ("shop.runs", "CRITICAL", "run.started"),
        ("shop.runs", "DEBUG", "step.completed"),
        ("shop.runs", "INFO", "run.completed"),
    ]


async def test_what_the_logger_does_not_want_is_not_made(caplog):
    caplog.set_level(logging.ERROR, "awaitpy")
    await paid(log_events())
    assert {record.levelname for record in caplog.records} == {"ERROR"}


async def test_no_key_begins_a_line_of_its_own(log):
    await Runner(on_event=log_events()).run(lambda step: step("a\nrun.completed", lambda: 1))
    assert not any("\n" in record.getMessage() for record in log.records)


async def test_a_log_that_was_not_made_is_told_in_the_log(caplog):
    await Runner(on_event=log_events).run(quiet)
    assert "Runner(on_event=log_events())" in caplog.text


async def quiet(step: Step[None]) -> None: ...
