"""How often a run that ends in an unexpected error is tried again. No effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from awaitpy.durable._store import HookTaken
from awaitpy.errors import DuplicateStepKey, JournalError, StepMisuse, UnexpectedError, VersionMismatch

if TYPE_CHECKING:
    from awaitpy.errors import RunError

_FOR_A_PERSON = (DuplicateStepKey, HookTaken, JournalError, StepMisuse)


@attrs.frozen
class Tries:
    """How often, and when, `serve` tries a run again that ended in an unexpected error.

    Attributes:
        limit: legs in a row that may end so; after the last of them the run is parked.
        delay: seconds before the second try.
        backoff: by what the delay is multiplied from one try to the next.
        max_delay: seconds that a delay is at most.
    """

    limit: int = 5
    delay: float = 1.0
    backoff: float = 4.0
    max_delay: float = 300.0

    def next(self, tries: int, error: RunError | None) -> float | None:
        """Give the seconds to wait after so many failed tries; None to park the run.

        What only a change of the code can mend is not tried again.
        """
        if isinstance(error, VersionMismatch):
            return min(self.max_delay, 10 * self.delay)  # in a deployment: newer code will take it
        if tries >= self.limit or not isinstance(error, UnexpectedError):
            return None
        if isinstance(error.cause, _FOR_A_PERSON):
            return None
        return min(self.max_delay, self._grown(tries))

    def _grown(self, tries: int) -> float:
        try:
            return self.delay * float(self.backoff) ** (tries - 1)
        except OverflowError:
            return self.max_delay if self.delay else 0.0
