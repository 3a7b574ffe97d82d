"""How an observer is told: each end of a step once, and whatever the observer raises changes nothing."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awaitpy.events import Event, EventName

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy._state import ResumeState

A = TypeVar("A")
R = TypeVar("R")

_legs: Final = count(1)
_ENDS: Final[frozenset[EventName]] = frozenset(
    {"step.completed", "step.failed", "step.raised", "step.retried", "step.cut", "step.waiting"}
)


class Watch:
    """Tells the observer of one leg."""

    __slots__ = ("_ended", "_leg", "_observer", "_state")

    def __init__(self, observer: Callable[[Event], None], state: ResumeState) -> None:
        self._observer = observer
        self._state = state
        self._leg = next(_legs)
        self._ended: set[str] = set()

    def tell(self, name: EventName, key: str | None, detail: Any) -> None:
        """Tell of one event; of the ends of a step, only the first."""
        if key is not None and not self._is_news(name, key):
            return
        state = self._state
        event = Event(
            name, state.run_id, key, detail, state.workflow, self._leg, state.revision, state.trace
        )
        guarded(self._observer, event, name)

    def _is_news(self, name: EventName, key: str) -> bool:
        """Whether it is no second end: a step that is cut off, or whose store fails, has ended before."""
        if name == "step.started":
            self._ended.discard(key)
        elif name in _ENDS:
            known = key in self._ended
            self._ended.add(key)
            return not known
        return True

    def trace(self) -> str:
        """Give the trace of this leg, or "" if the observer keeps none."""
        ask: Callable[[int], Any] | None = getattr(self._observer, "traceparent", None)
        found = None if ask is None else guarded(ask, self._leg, "traceparent")
        return found if isinstance(found, str) and found.isascii() else ""


def guarded(call: Callable[[A], R], given: A, what: str) -> R | None:
    """Call an observer and give what it gives; log what it raises, and give None.

    A CancelledError that it raises cancels nothing. KeyboardInterrupt and SystemExit are raised: they
    are for the process, whichever code they strike.
    """
    try:
        return call(given)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  whatever it is, it is not of the run
        _report(call, what, error)
    return None


def _report(call: Any, what: str, error: BaseException) -> None:
    name = getattr(call, "__qualname__", type(call).__qualname__)
    with suppress(Exception):  # what the handlers of a log raise is not of the run either
        logging.getLogger("awaitpy").error(
            "The observer %s raised %s at %s. The run goes on as if it had not.",
            name,
            type(error).__qualname__,
            what,
            exc_info=error,
        )
