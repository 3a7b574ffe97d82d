"""Policies of a step as data: what `step.options` says, and the decisions that follow. All pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from awaitpy._annotations import MISSING

if TYPE_CHECKING:
    from awaitpy._retry import Retry


def in_seconds(duration: timedelta | float) -> float:
    """Read a duration: a timedelta, or seconds. Raises TypeError for other things."""
    given: object = duration
    if isinstance(given, str):
        raise TypeError(f"A duration is a timedelta or a number of seconds, not {duration!r:.40}.")
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


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
    """Give the policy with what was said anew. Raises TypeError or ValueError for what is no option."""
    unknown = sorted(given.keys() - _OPTIONS)
    if unknown:
        raise TypeError(f"step.options has no {unknown[0]}=; it takes {', '.join(sorted(_OPTIONS))}.")
    if given.get("timeout") is not None:
        given = {**given, "timeout": in_seconds(given["timeout"])}
        if not given["timeout"] >= 0:  # NaN too
            raise ValueError(f"step.options(timeout=) can't be negative, and is {given['timeout']:g} s.")
    for option, value in given.items():
        if value is not None and option in _KINDS and not _KINDS[option][0](value):
            raise TypeError(f"step.options({option}=) is {_KINDS[option][1]}, not {value!r:.40}.")
    if given.get("on_unknown") not in {None, "run", "fail"}:
        raise ValueError(f"step.options(on_unknown=) is 'run' or 'fail', not {given['on_unknown']!r}.")
    return msgspec.structs.replace(policy, **given)


_KINDS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "retry": (lambda given: hasattr(given, "next"), "a Retry, such as Retry(attempts=3)"),
    "undo": (callable, "a function that takes what the step gave"),
    "since": (lambda given: isinstance(given, int), "an int, the version with which the step came"),
    "returns": (
        lambda given: not isinstance(given, (str, bytes, int, float, tuple, list, dict, set)),
        "a type, such as tuple[int, str]",
    ),
}
"""What an option has to be, and how that is said."""

_OPTIONS = frozenset(Policy.__struct_fields__) - {"settles"}
