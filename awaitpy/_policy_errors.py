"""How a run may end because of a policy: of time, of attempts, of undoing, of a cancellation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from awaitpy._value import Value

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@attrs.frozen(repr=False)
class PendingTimer(Value):
    """The run is suspended: step `step_key` goes on at `until` (aware, UTC).

    `attempts` is how many attempts of the step have failed, 0 for a sleep.
    """

    step_key: str = ""
    until: datetime | None = None
    attempts: int = 0
    duration: timedelta | None = attrs.field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        at = self.until.isoformat() if self.until else "its time"
        why = f"is tried again at {at}, after attempt {self.attempts} failed" if self.attempts else ""
        return (
            f"Step {self.step_key!r} {why or f'sleeps until {at}'}. Keep the state and resume it then: "
            "next_wakeup(state) tells when."
        )


@attrs.frozen(repr=False)
class StepTimeout(Value):
    """An attempt of step `step_key` took longer than `seconds` and was cancelled."""

    step_key: str
    seconds: float

    def __str__(self) -> str:
        return (
            f"Step {self.step_key!r} took longer than its timeout of {self.seconds:g} seconds and was "
            "cancelled. Give it more time by step.options(timeout=...), another try by retry=, or take "
            "the error by step.attempt."
        )


@attrs.frozen(repr=False)
class StepInterrupted(Value):
    """Attempt `attempt` of step `step_key` began in another process, and how it ended is not known."""

    step_key: str
    attempt: int = 1

    def __str__(self) -> str:
        return (
            f"Attempt {self.attempt} of step {self.step_key!r} began before the process died or the run "
            "was cancelled, and how it ended is not known. Find out whether it took effect, then "
            f"forget(state, {self.step_key!r}) to run it again; or take the error by step.attempt."
        )


@attrs.frozen(repr=False)
class Cancelled(Value):
    """The run was cancelled from outside, by `cancel(state, reason)`."""

    reason: str = ""

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"The run was cancelled from outside{why}. What its steps declare to undo was undone."


@attrs.frozen(repr=False)
class NotUndone(Value):
    """The undo of step `step_key` failed, and why."""

    step_key: str
    reason: str

    def __str__(self) -> str:
        return f"Step {self.step_key!r} was not undone: {self.reason.removesuffix('.')}."


@attrs.frozen(repr=False)
class UndoFailed(Value):
    """The run ended with `error`, and some of its steps could not be undone; all others were."""

    error: Any
    failures: tuple[NotUndone, ...]

    def __str__(self) -> str:
        which = " ".join(map(str, self.failures))
        return (
            f"The run ended with {type(self.error).__name__}, and not all of it could be undone. {which} "
            "Undo these by hand; the other steps with an undo were undone."
        )
