"""Retry as data: when a failed attempt is made again, and after how long."""

from __future__ import annotations

from typing import Any

import attrs

from awaitpy._policy import in_seconds
from awaitpy.errors import StepTimeout


def _positive(_: Any, attribute: Any, value: Any) -> None:
    if not value >= 0:  # NaN too
        raise ValueError(f"Retry({attribute.name}=) can't be negative, and is {value!r}.")


def _classes(given: type[Any] | tuple[type[Any], ...]) -> tuple[type[Any], ...]:
    return given if isinstance(given, tuple) else (given,)


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

    attempts: int = attrs.field(default=3, validator=_positive)
    delay: float = attrs.field(default=1.0, converter=in_seconds, validator=_positive)
    backoff: float = attrs.field(default=2.0, validator=_positive)
    max_delay: float = attrs.field(default=300.0, converter=in_seconds, validator=_positive)
    jitter: float = attrs.field(default=0.0, validator=_positive)
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
