"""What is kept of a run beside its journal, after each thing that may happen to it. No effects."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy._hooks import next_wakeup
from awaitpy._runner import Outcome
from awaitpy.durable import _parts as parts
from awaitpy.durable._errors import RunInterrupted
from awaitpy.durable._store import Head
from awaitpy.errors import UnexpectedError, VersionMismatch
from awaitpy.result import Err

if TYPE_CHECKING:
    from awaitpy._state import ResumeState
    from awaitpy.durable._policy import Tries

_HALF: Final = 32_768
"""Characters that are kept of each end of a traceback."""


def begun(state: ResumeState, now: float) -> Head:
    """Give the head of a run that nobody has worked on."""
    return Head(
        workflow=state.workflow,
        version=state.version,
        status=state.status,
        state=parts.bare(state),
        due=now,
    )


def moved(head: Head, state: ResumeState, settled: int, now: float) -> Head:
    """Give the head of a run whose state, with so many lines, was changed from outside: due at once."""
    return msgspec.structs.replace(
        head,
        state=parts.bare(state),
        status=state.status,
        settled=settled,
        due=now,
    )


def rewritten(head: Head, state: ResumeState, due: float | None) -> Head:
    """Give the head of a run whose journal is replaced by that of `state`."""
    return msgspec.structs.replace(
        head,
        state=parts.bare(state),
        status=state.status,
        settled=len(state.entries),
        due=due,
        tries=0,
        trouble=None,
    )


def rested(head: Head, outcome: Outcome[Any, Any], settled: int, now: float, policy: Tries) -> Head:
    """Give the head of a run after a leg, in which the journal came to have `settled` lines."""
    state = outcome.state
    if state.status == "interrupted" and isinstance(outcome.result, Err):
        return _interrupted(head, state, outcome.result.error, settled, now, policy)
    wakeup = next_wakeup(state)
    return msgspec.structs.replace(
        head,
        status=state.status,
        state=parts.bare(state),
        settled=settled,
        due=None if wakeup is None else wakeup.timestamp(),
        hooks=parts.new_hooks(state),
        tries=0,
        trouble=None,
    )


def _interrupted(
    head: Head, state: ResumeState, error: Any, settled: int, now: float, policy: Tries
) -> Head:
    tries = head.tries + (not isinstance(error, VersionMismatch))
    delay = policy.next(tries, error)
    return msgspec.structs.replace(
        head,
        status=state.status,
        state=parts.bare(state),
        settled=settled,
        due=None if delay is None else now + delay,
        hooks=parts.new_hooks(state),
        tries=tries,
        trouble=_trouble(error),
    )


def damaged(head: Head, error: Exception) -> Head:
    """Give the head of a run that can't be read: it stays as it is, for a person to look at."""
    return msgspec.structs.replace(head, status="interrupted", due=None, trouble=_text(error))


def _trouble(error: Any) -> str:
    return _text(error.cause) if isinstance(error, UnexpectedError) else _storable(str(error))


def _text(error: BaseException) -> str:
    return _storable("".join(traceback.format_exception(error)))


def _storable(text: str) -> str:
    """Give a text that every store can keep, whatever it quotes and however long it is."""
    plain = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    left_out = len(plain) - 2 * _HALF
    if left_out <= 0:
        return plain
    return f"{plain[:_HALF]}\n[{left_out} characters are left out here]\n{plain[-_HALF:]}"


def waits_its_time(head: Head, now: float) -> bool:
    """Whether a run is interrupted and not to be tried again yet, or not by itself."""
    return head.status == "interrupted" and (head.due is None or head.due > now)


def as_it_was_left(head: Head, state: ResumeState) -> Outcome[Any, Any]:
    """Give the outcome of a run that is interrupted and is not tried again now."""
    return Outcome(Err(UnexpectedError(None, RunInterrupted(state.run_id, head.trouble or ""))), state)
