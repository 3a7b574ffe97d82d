"""Policies of a step as data: what `step.options` says, and the decisions that follow. All pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, Literal

import attrs
import msgspec

from awaitpy._annotations import MISSING
from awaitpy._policy_errors import StepTimeout


def in_seconds(duration: timedelta | float) -> float:
    """Read a duration: a timedelta, or seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


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


class Policy(msgspec.Struct, frozen=True):
    """What `step.options` said."""

    returns: Any = MISSING
    since: int | None = None
    retry: Retry | None = None
    timeout: float | None = None
    undo: Callable[[Any], Any] | None = None
    on_unknown: Literal["run", "fail"] | None = None
    settles: bool = False
    """An exception becomes an error that is journaled: for what must not run twice nor stop the rest."""

    @property
    def watched(self) -> bool:
        """Whether something has to be done before the step's function is called."""
        return self.timeout is not None or self.on_unknown is not None or self.settles


DEFAULT = Policy()


def refined(policy: Policy, given: dict[str, Any]) -> Policy:
    """Give the policy with what was said anew. Raises TypeError for what is no option."""
    unknown = sorted(given.keys() - _OPTIONS)
    if unknown:
        raise TypeError(f"step.options has no {unknown[0]}=; it takes {', '.join(sorted(_OPTIONS))}.")
    if given.get("timeout") is not None:
        given = {**given, "timeout": in_seconds(given["timeout"])}
        if not given["timeout"] >= 0:  # NaN too
            raise ValueError(f"step.options(timeout=) can't be negative, and is {given['timeout']:g} s.")
    if given.get("on_unknown") not in {None, "run", "fail"}:
        raise ValueError(f"step.options(on_unknown=) is 'run' or 'fail', not {given['on_unknown']!r}.")
    return msgspec.structs.replace(policy, **given)


_OPTIONS = frozenset(Policy.__struct_fields__) - {"settles"}
