"""What the function of a step can learn of the step that it is."""

from __future__ import annotations

from typing import Any

import msgspec

from awaitpy._tasks import place
from awaitpy.errors import StepMisuse


class CurrentStep(msgspec.Struct, frozen=True):
    """The step whose function runs: its run, its full key, and the number of the attempt, from 1."""

    run_id: str
    key: str
    attempt: int

    @property
    def idempotency_key(self) -> str:
        """The same text in every attempt, leg and process: for a provider that does a thing once."""
        return f"{self.run_id}:{self.key}"


def current_step() -> CurrentStep:
    """Give the step whose function calls this. Raises `StepMisuse` outside of a step's function."""
    where: Any = place.get()
    if where.__class__ is not tuple:
        raise StepMisuse(
            "current_step() was called outside of a step's function. Call it in the function that is "
            "handed to step(key, fn), or in what that calls."
        )
    inside, key, attempt = where
    return CurrentStep(inside.run_id, key, attempt)
