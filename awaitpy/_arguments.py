"""What callers hand in and a state keeps as it is: looked at there, so that every state can be read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

_BITS: Final = 63


def plain(argument: str, value: Any, mend: str) -> str:
    """Give the plain str of a str. Raises TypeError for what is none."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} is a str, not {value!r:.40}. {mend}")
    return str.__str__(value)  # the member of a StrEnum by its value


def text(argument: str, value: Any, mend: str) -> str:
    """Give the plain str of a str that a state can hold. Raises TypeError or ValueError."""
    given = plain(argument, value, mend)
    if not is_unicode(given):
        raise ValueError(f"{argument} is {given!r:.40}, which has half of a surrogate pair. {mend}")
    return given


def name(argument: str, value: Any, mend: str) -> str:
    """As `text`; raises ValueError also for an empty one."""
    given = text(argument, value, mend)
    if not given:
        raise ValueError(f"{argument} is empty. {mend}")
    return given


def whole(argument: str, value: Any, mend: str) -> int:
    """Give the plain int of an int that a state can hold. Raises TypeError or ValueError."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{argument} is an int, not {value!r:.40}. {mend}")
    if value.bit_length() > _BITS:
        raise ValueError(f"{argument} needs more than 64 bits. {mend}")
    return int(value)


def kind(value: object) -> str:
    """Name what a value is, for a message that must not show it: `an int`, `a coroutine`."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def no_state(given: object) -> TypeError:
    """Say that something else was given where a state is asked for."""
    mend = (
        "hand over its .state."
        if hasattr(given, "state")
        else "make one by ResumeState.from_bytes(...) or ResumeState.from_json(...)."
    )
    return TypeError(f"This takes a ResumeState, not {type(given).__name__}: {mend}")


def in_utc(time: datetime) -> datetime:
    """Give a time in UTC, as a datetime proper. Raises ValueError for a naive one."""
    if time.tzinfo is None:
        raise ValueError("A time needs a zone: give datetime.now(timezone.utc), not a naive one.")
    given = time.astimezone(UTC)
    if given.__class__ is datetime:
        return given
    return datetime.combine(given.date(), given.timetz())  # a subclass can't be written


def is_unicode(value: str) -> bool:
    """Whether a str can be written as UTF-8."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
