"""How a run may end because of a policy: of time, of attempts, of undoing, of a cancellation."""

from __future__ import annotations

from typing import Any

import attrs

from awaitpy._value import PolicyError, Value


@attrs.frozen(repr=False)
class StepTimeout(PolicyError):
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
class StepInterrupted(PolicyError):
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
class NotUndone(PolicyError):
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
