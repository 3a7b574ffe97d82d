"""From what became of a delivery to what its sender is told: one table, no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from awaitpy._request import MalformedBody
from awaitpy._runner import Outcome
from awaitpy.errors import (
    Cancelled,
    HookError,
    HookRejected,
    HookTimeout,
    InvalidPayload,
    MethodNotAllowed,
    PayloadMisfit,
    PendingHook,
    PendingTimer,
    RunError,
    StepInterrupted,
    StepTimeout,
    UndoFailed,
)
from awaitpy.result import Err, Ok
from awaitpy.webhooks import SignatureRefused


@attrs.frozen
class Row:
    """One line of the table: a status, its name in the body, and when it is answered."""

    status: int
    name: str
    meaning: str


COMPLETED = Row(200, "completed", "the run completed")
FAILED = Row(200, "failed", "the run ended with an error that its workflow declares")
DUPLICATE = Row(200, "duplicate", "this delivery came before and was taken then")
REFUSED = Row(422, "refused", "the workflow refused this delivery and still waits for one")

TABLE = (
    COMPLETED,
    FAILED,
    DUPLICATE,
    Row(202, "suspended", "the delivery was taken and the run waits for another, or for a time"),
    Row(400, "invalid-payload", "the payload does not fit"),
    Row(401, "bad-signature", "the signature is missing, malformed, wrong or too old"),
    Row(403, "forbidden", "the workflow does not take this from that sender"),
    Row(404, "unknown", "no hook has this address"),
    Row(405, "method-not-allowed", "the hook takes other methods"),
    Row(409, "resolved", "the hook was answered by another delivery, or its run has ended"),
    Row(410, "expired", "the deadline of the hook has passed"),
    REFUSED,
    Row(500, "unexpected", "the run was interrupted and can be resumed"),
)
_BY_STATUS = {row.status: row for row in TABLE}
_BY_END = {"completed": COMPLETED, "failed": FAILED}


Fate = Outcome[Any, Any] | RunError | PendingHook | Exception
"""What can become of a delivery."""


@attrs.frozen
class HookAnswer:
    """What to tell the sender of a delivery; `response` of an adapter makes a response of it.

    Attributes:
        status: the HTTP status.
        body: goes out as JSON.
        headers: what the status asks for, such as `allow`.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

    @property
    def content(self) -> bytes:
        """The body as JSON."""
        return msgspec.json.encode(self.body)

    @classmethod
    def duplicate(cls) -> HookAnswer:
        """The answer to a delivery that changed nothing, where no run is resumed for it."""
        return cls(DUPLICATE.status, {"status": DUPLICATE.name})


def answer(what: Fate, *, body: Any = None) -> HookAnswer:
    """What to tell the sender, from the outcome of the run or from the exception that refused it.

    The plain body names the status and, from 400 on, what is wrong. It holds no value of the run,
    nothing of the request, and of an exception that nobody foresaw (500) nothing at all.

    Args:
        what: an outcome, the error in it, or an exception.
        body: goes out instead of the plain body.
    """
    _check(what)
    if isinstance(what, Outcome) and what.state.status in _BY_END:
        return _answer(_BY_END[what.state.status], None, body)
    error = _error(what)
    if isinstance(error, (StepTimeout, StepInterrupted, Cancelled, UndoFailed)):
        return _answer(FAILED, None, body)  # with these a run fails, as with one that it declares
    status = _status(error)
    row = _BY_STATUS.get(status) or attrs.evolve(REFUSED, status=status)
    return _answer(row, error, body)


def _check(what: object) -> None:
    kind = type(what).__name__
    if what is None or isinstance(what, (Ok, Err)):
        raise TypeError(
            "answer() is given an outcome, the error in it or an exception, not "
            f"{kind}: match on the Result first, and hand over what is in it."
        )


def _error(what: Fate) -> object:
    if isinstance(what, Outcome) and isinstance(what.result, Err):
        return what.result.error
    return what


def _status(error: object) -> int:
    match error:
        case HookError() | HookRejected() | PayloadMisfit():
            return error.status
        case PendingHook() | PendingTimer():
            return 202
        case HookTimeout():
            return 410
        case _:
            return 500


def _answer(row: Row, error: object, body: Any) -> HookAnswer:
    plain = {"status": row.name}
    if row.status >= 400:  # noqa: PLR2004  # what HTTP calls an error
        plain["detail"] = _detail(row, error)
    headers = {"allow": ", ".join(error.methods)} if isinstance(error, MethodNotAllowed) else {}
    return HookAnswer(row.status, plain if body is None else body, headers)


def _detail(row: Row, error: object) -> str:
    match error:
        case InvalidPayload() | PayloadMisfit():
            return f"{row.meaning}: at {error.path} {error.problem}"
        case MalformedBody() | SignatureRefused():  # these say where, and never repeat what
            return str(error)
        case _:
            return row.meaning
