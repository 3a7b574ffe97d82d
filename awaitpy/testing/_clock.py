"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(2025, 1, 1, tzinfo=UTC)


class FakeClock:
    """A clock for `Runner(clock=...)`: calling it gives `now`, which only the test moves.

    Raises ValueError for a start without a time zone.
    """

    def __init__(self, now: datetime = _START) -> None:
        self._now = _utc(now)

    @property
    def now(self) -> datetime:
        """The time that it shows, in UTC."""
        return self._now

    def __call__(self) -> datetime:
        return self._now

    def __repr__(self) -> str:
        return f"FakeClock({self._now.isoformat()})"

    def advance(self, by: timedelta | float) -> None:
        """Move it by a timedelta or by seconds. Raises ValueError if that is backwards."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self.move_to(self._now + step)

    def move_to(self, now: datetime) -> None:
        """Move it to a time. Raises ValueError if that is in its past or has no time zone."""
        moved = _utc(now)
        if moved < self._now:
            raise ValueError(
                f"The clock shows {self._now.isoformat()} and can't go back to "
                f"{moved.isoformat()}: make a FakeClock of its own for another run."
            )
        self._now = moved


def _utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(
            "The time of a clock needs a zone: give datetime(..., tzinfo=UTC), not a naive one."
        )
    return now.astimezone(UTC)
