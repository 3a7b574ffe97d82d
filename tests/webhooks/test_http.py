"""From what became of a delivery to what its sender is told."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from awaitpy import (
    Err,
    Ok,
    Result,
    create_hook,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
)
from awaitpy._http import TABLE, HookAnswer, answer
from awaitpy._request import MalformedBody
from awaitpy.errors import (
    Cancelled,
    HookAlreadyResolved,
    HookError,
    HookExpired,
    HookRejected,
    HookTimeout,
    InvalidPayload,
    MethodNotAllowed,
    PayloadMisfit,
    PendingHook,
    PendingTimer,
    RunFinished,
    StateError,
    StepInterrupted,
    StepTimeout,
    UndoFailed,
    UnexpectedError,
    UnknownHook,
    VersionMismatch,
    WorkflowDrift,
)
from awaitpy.webhooks import HookTokenRefused, SignatureRefused

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "guides" / "http-status.md"
SECRET = "hunter2"


class TooMany(HookError):
    """A refusal of the user's own."""

    status = 429


ERRORS = [
    (StepTimeout("k", 1.0), 200, "failed"),
    (StepInterrupted("k", 1), 200, "failed"),
    (Cancelled(SECRET), 200, "failed"),
    (UndoFailed(SECRET, ()), 200, "failed"),
    (PendingHook("h", "hook:h"), 202, "suspended"),
    (PendingTimer("k", NOON), 202, "suspended"),
    (InvalidPayload("h", "$.status", "expected str"), 400, "invalid-payload"),
    (PayloadMisfit("h", "hook:h", "$.status", "expected str"), 400, "invalid-payload"),
    (MalformedBody("JSON", "it is empty"), 400, "invalid-payload"),
    (SignatureRefused("missing", "webhook-id", "is missing"), 401, "bad-signature"),
    (HookRejected("h", "hook:h", SECRET, 403), 403, "forbidden"),
    (UnknownHook("h", "r"), 404, "unknown"),
    (HookTokenRefused(), 404, "unknown"),
    (MethodNotAllowed("h", "GET", ("POST", "PUT")), 405, "method-not-allowed"),
    (HookAlreadyResolved("h"), 409, "resolved"),
    (RunFinished("h", "r", "completed"), 409, "resolved"),
    (HookExpired("h", NOON), 410, "expired"),
    (HookTimeout("h", "hook:h", NOON), 410, "expired"),
    (HookRejected("h", "hook:h", SECRET), 422, "refused"),
    (TooMany("h", SECRET), 429, "refused"),
    (UnexpectedError("k", ValueError(SECRET)), 500, "unexpected"),
    (WorkflowDrift(None, SECRET), 500, "unexpected"),
    (VersionMismatch("w", 2, 1), 500, "unexpected"),
    (StateError(SECRET), 500, "unexpected"),
    (ValueError(SECRET), 500, "unexpected"),
]


@pytest.mark.parametrize(("error", "status", "name"), ERRORS, ids=lambda part: type(part).__name__)
def test_each_error_has_its_status_and_its_name(error, status, name):
    told = answer(error)
    assert (told.status, told.body["status"]) == (status, name)
    assert json.loads(told.content) == told.body
    assert SECRET not in str(told.body)
    assert ("detail" in told.body) == (status >= 400)


def test_a_misfit_is_told_with_its_place():
    for error in (
        InvalidPayload("h", "$.status", "expected str"),
        PayloadMisfit("h", "hook:h", "$.status", "expected str"),
    ):
        detail = answer(error).body["detail"]
        assert detail == "the payload does not fit: at $.status expected str"
    assert answer(MalformedBody("JSON", "it is empty")).body["detail"].endswith("it is empty.")


def test_another_method_is_told_which_ones_are_taken():
    assert answer(MethodNotAllowed("h", "GET", ("POST", "PUT"))).headers == {"allow": "POST, PUT"}


def test_the_table_of_the_guide_is_the_table_of_the_code():
    lines = re.findall(r"^\| (\d{3}) \| (.+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert lines == [(str(row.status), row.name, row.meaning) for row in TABLE]


def test_every_status_of_the_table_is_one_that_something_answers():
    told = {answer(error).status for error, *_ in ERRORS} | {200}
    assert told - {429} == {row.status for row in TABLE}


@attrs.frozen
class Declined:
    reason: str


def decline() -> Result[None, Declined]:
    return Err(Declined(SECRET))


async def two_hooks(step) -> str:
    first = await step("first", create_hook)
    decision = await step(first.step_key, pending_hook, first.hook_id, str)
    if decision == "decline":
        await step("decline", decline)
    if decision == "crash":
        await step("crash", lambda: 1 / 0)
    if decision == "later":
        await step.sleep("a-day", 24 * 3600)
    second = await step("second", create_hook)
    return await step(second.step_key, pending_hook, second.hook_id, str)


async def after(*values):
    outcome = await run(two_hooks)
    for value in values:
        (hook_id,) = get_pending_hooks(outcome.state)
        outcome = await resume(two_hooks, inject_hook(outcome.state, hook_id, value))
    return outcome


@pytest.mark.parametrize(
    ("values", "status", "name"),
    [
        (("go", "on"), 200, "completed"),
        (("decline",), 200, "failed"),
        (("go",), 202, "suspended"),
        (("later",), 202, "suspended"),
        ((5,), 400, "invalid-payload"),
        (("crash",), 500, "unexpected"),
    ],
)
def test_an_outcome_is_told_by_how_the_run_ended(values, status, name):
    told = answer(asyncio.run(after(*values)))
    assert (told.status, told.body["status"]) == (status, name)
    assert SECRET not in str(told.body)


def test_the_user_decides_what_more_the_sender_is_told():
    outcome = asyncio.run(after("go", "on"))
    assert outcome.result == Ok("on")
    assert answer(outcome, body={"value": "on"}).body == {"value": "on"}
    assert answer(outcome).body == {"status": "completed"}


def test_a_duplicate_is_a_success():
    assert HookAnswer.duplicate() == HookAnswer(200, {"status": "duplicate"}, {})


@pytest.mark.parametrize("given", [Ok(1), Err(PendingHook("h")), None], ids=repr)
def test_the_result_around_an_outcome_is_told_to_be_none(given):
    """It would be answered with 500, whatever it holds."""
    with pytest.raises(
        TypeError, match=r"answer\(\) is given an outcome, .*, not (Ok|Err|NoneType): match"
    ):
        answer(given)
