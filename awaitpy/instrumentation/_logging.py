"""A run as lines of a log of the standard library."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from awaitpy.events import Event, EventName, Retried
from awaitpy.instrumentation._naming import error_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LEVELS: Final[dict[EventName, int]] = {
    "step.replayed": logging.DEBUG,
    "step.retried": logging.WARNING,
    "step.failed": logging.WARNING,
    "step.raised": logging.ERROR,
    "run.undoing": logging.WARNING,
    "run.failed": logging.WARNING,
    "run.cut": logging.WARNING,
    "run.interrupted": logging.ERROR,
}
"""The levels of all that is not INFO."""

_TYPED: Final = frozenset(
    {"step.failed", "step.raised", "run.undoing", "run.failed", "run.interrupted", "run.cut"}
)


def log_events(
    logger: logging.Logger | None = None, *, levels: Mapping[EventName, int] | None = None
) -> Callable[[Event], None]:
    """Give an observer that logs one line for each event; the logger is `awaitpy` without another.

    Replayed steps are logged at DEBUG, what fails at WARNING, an exception and an interrupted run at
    ERROR, all else at INFO. `levels` says otherwise for single events; level 0 leaves one out.

    A line holds the names of the event, the workflow, the run and the step, and of an error its class:
    never a value. Each record has `run_id`, `workflow`, `revision`, `event`, `step_key` and
    `error_type` (the last two may be None), for handlers that write more than lines.
    """
    given: object = logger
    if isinstance(given, Event):
        raise TypeError("log_events makes the observer, and is none: Runner(on_event=log_events()).")
    told = logging.getLogger("awaitpy") if logger is None else logger
    chosen = {**_LEVELS, **(levels or {})}

    def log(event: Event) -> None:
        level = chosen.get(event.name, logging.INFO)
        if told.isEnabledFor(level):  # never so for level 0
            fields = _fields(event)
            told.log(level, "%s%s", event.name, _words(event, fields), extra=fields)

    return log


def _fields(event: Event) -> dict[str, Any]:
    error = event.detail.error if isinstance(event.detail, Retried) else event.detail
    shown = event.name in _TYPED or isinstance(event.detail, Retried)
    return {
        "event": event.name,
        "workflow": event.workflow,
        "run_id": event.run_id,
        "revision": event.revision,
        "step_key": event.key,
        "error_type": error_type(error) if shown else None,
    }


def _words(event: Event, fields: dict[str, Any]) -> str:
    """Give the rest of the line. Names are quoted: none of them can begin a line of its own."""
    step = "" if event.key is None else f" {event.key!r}"
    again = ""
    if isinstance(event.detail, Retried):
        again = f" after attempt {event.detail.attempt}, in {event.detail.delay:g} s"
    why = "" if fields["error_type"] is None else f": {fields['error_type']}"
    return f"{step} of {event.workflow!r} run {event.run_id!r}{again}{why}"
