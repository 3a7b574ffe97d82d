"""Retry as data: when a failed attempt is made again, and after how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from awaitpy._policy import in_seconds
from awaitpy.errors import StepTimeout


def _within(least: float, most: float) -> Callable[[Any, Any, Any], None]:
    def check(_: Any, attribute: Any, value: Any) -> None:
        if not least <= value <= most:  # NaN too
            raise ValueError(f"Retry({attribute.name}=) is from {least:g} to {most:g}, not {value!r}.")

    return check


def _classes(given: type[Any] | Iterable[type[Any]]) -> tuple[type[Any], ...]:
    classes = tuple(given) if isinstance(given, Iterable) and not isinstance(given, type) else (given,)
    isinstance(None, classes)  # TypeError here, and not when the first attempt has failed
    return classes


# Longer than any run: what is added to a date has to stay one.
_AGES: Final = 1e9
_NUMBER: Final = _within(0, _AGES)


@attrs.frozen(kw_only=True)
class Retry:
    """When a failed attempt of a step is made again, and after how long.

    `attempts` in all, the first included. The delay before the second is `delay`, then `backoff`
    times as long each time, at most `max_delay`: timedeltas or seconds. `jitter` spreads it by that
    share of itself to both sides, from 0 to 1. `on` are the classes that are tried again: of
    exceptions, and of the typed errors that the step gives in an `Err`; those of `never` are not.
    Without `on` every exception and a `StepTimeout` is, and no typed error, which is a decision of
    the function. A wait is never an error.
    """

    attempts: int = attrs.field(default=3, validator=_within(1, _AGES))
    delay: float = attrs.field(default=1.0, converter=in_seconds, validator=_NUMBER)
    backoff: float = attrs.field(default=2.0, converter=float, validator=_NUMBER)
    max_delay: float = attrs.field(default=300.0, converter=in_seconds, validator=_NUMBER)
    jitter: float = attrs.field(default=0.0, validator=_within(0, 1))
    on: tuple[type[Any], ...] = attrs.field(default=(Exception, StepTimeout), converter=_classes)
    never: tuple[type[Any], ...] = attrs.field(default=(), converter=_classes)

    def next(self, attempt: int, error: object, *, draw: float = 0.5) -> float | None:
        """Give the seconds to wait after this attempt (the first is 1) failed; None to give up.

        `draw` is a random number from 0 to 1, from which the jitter is made.
        """
        if attempt >= self.attempts or not isinstance(error, self.on) or isinstance(error, self.never):
            return None
        return self._delay(attempt) * (1 + self.jitter * (2 * draw - 1))

    def _delay(self, attempt: int) -> float:
        try:
            return min(self.delay * self.backoff ** (attempt - 1), self.max_delay)
        except OverflowError:
            return self.max_delay
