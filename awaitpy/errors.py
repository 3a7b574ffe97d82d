"""What can go wrong, in two families.

Values: how a run may end. They come in `Err(...)`, are frozen, and `str()` of each is one paragraph.
Exceptions: what a call to awaitpy refuses. `AwaitpyError` is their root::

    AwaitpyError
    ├── HookError            a delivery was refused; `.status` is the HTTP code to answer
    │   ├── InvalidPayload   400
    │   ├── UnknownHook      404
    │   ├── MethodNotAllowed 405
    │   ├── HookAlreadyResolved, RunFinished  409
    │   └── HookExpired      410
    ├── StateError           bytes or JSON that are no state
    ├── JournalError         a value that cannot be journaled
    ├── DuplicateStepKey     one key for two steps of one run
    ├── MigrationFailed      a state can't be migrated (in `_migrations`)
    ├── UnknownStep          a verb was given a key that the state does not have
    └── StepMisuse           a step used where it can't work: nested, empty key, after the end
        └── SuspensionSwallowed
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from awaitpy._value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from awaitpy._ends import (
        HookRejected,
        HookTimeout,
        MigrationGap,
        PayloadMisfit,
        RunError,
        UnreadableEntry,
        VersionMismatch,
        WorkflowDrift,
        WorkflowMismatch,
    )
    from awaitpy._policy_errors import Cancelled, NotUndone, StepInterrupted, StepTimeout, UndoFailed
    from awaitpy._wait import Wait


__all__ = [
    "AwaitpyError",
    "Cancelled",
    "DuplicateStepKey",
    "HookAlreadyResolved",
    "HookError",
    "HookExpired",
    "HookRejected",
    "HookTimeout",
    "InvalidPayload",
    "JournalError",
    "MethodNotAllowed",
    "MigrationGap",
    "NotUndone",
    "PayloadMisfit",
    "PendingHook",
    "PendingTimer",
    "RunError",
    "RunFinished",
    "StateError",
    "StepInterrupted",
    "StepMisuse",
    "StepTimeout",
    "SuspensionSwallowed",
    "UndoFailed",
    "UnexpectedError",
    "UnknownHook",
    "UnknownStep",
    "UnreadableEntry",
    "VersionMismatch",
    "WorkflowDrift",
    "WorkflowMismatch",
]


# --- exceptions ---------------------------------------------------------------------------------


class AwaitpyError(Exception):
    """The root of all exceptions that awaitpy raises."""


class HookError(AwaitpyError):
    """A delivery that was refused. `status` is the HTTP code that a route would answer."""

    status: ClassVar[int] = 400

    def __init__(self, hook_id: str, message: str) -> None:
        super().__init__(message)
        self.hook_id = hook_id


class InvalidPayload(HookError):
    """The payload does not fit its type: `path` says where, `problem` what. Never the body itself."""

    status = 400

    def __init__(self, hook_id: str, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(
            hook_id,
            f"The payload for hook {hook_id!r} does not fit at {path}: {problem}. The hook is still "
            "pending and the state is unchanged; send a payload that fits.",
        )


class UnknownHook(HookError):
    """The state never had a hook of this id."""

    status = 404

    def __init__(self, hook_id: str, run_id: str) -> None:
        super().__init__(
            hook_id,
            f"Run {run_id!r} never had a hook {hook_id!r}. Check that the id belongs to this state, "
            "and that the step which creates the hook was journaled before its id was given away.",
        )


class MethodNotAllowed(HookError):
    """The hook takes other HTTP methods than the one of this delivery."""

    status = 405

    def __init__(self, hook_id: str, method: str, methods: tuple[str, ...]) -> None:
        self.method, self.methods = method, methods
        super().__init__(
            hook_id, f"Hook {hook_id!r} does not take {method}; it takes {', '.join(methods)}."
        )


class HookAlreadyResolved(HookError):
    """The hook has another value already, which is kept."""

    status = 409

    def __init__(self, hook_id: str, why: str = "was answered by another delivery, which is kept") -> None:
        super().__init__(
            hook_id,
            f"Hook {hook_id!r} {why}. A hook takes one delivery; "
            "use create_hook(many=True) for one that takes several.",
        )


class RunFinished(HookError):
    """The run ended without waiting for this hook."""

    status = 409

    def __init__(self, hook_id: str, run_id: str, status: str) -> None:
        super().__init__(
            hook_id,
            f"Run {run_id!r} has {status} and takes nothing more for hook {hook_id!r}.",
        )


class HookExpired(HookError):
    """The delivery came at or after the deadline of the wait."""

    status = 410

    def __init__(self, hook_id: str, deadline: datetime | None = None) -> None:
        self.deadline = deadline
        at = f" at {deadline.isoformat()}" if deadline else ""
        super().__init__(
            hook_id,
            f"Hook {hook_id!r} expired{at}; this delivery came too late and was not taken. "
            "Resume the run: its wait gives HookTimeout.",
        )


class StateError(AwaitpyError):
    """These bytes or this JSON are no state: truncated, something else, or of a newer format."""


class JournalError(AwaitpyError):
    """A value that the journal can't restore exactly, refused when it came up.

    `key` is the step key (or what the value is), `path` the place inside the value, `problem` what
    is wrong there.
    """

    def __init__(self, key: str, path: str, problem: str, mend: str) -> None:
        self.key, self.path, self.problem, self.mend = key, path, problem, mend
        super().__init__(
            f"{key} gave a value that can't be journaled: at {path} {problem}. Nothing was journaled "
            f"for it. {mend}"
        )


class DuplicateStepKey(AwaitpyError):
    """One key was asked twice in one run, or a migration gives it to a second step."""

    def __init__(self, key: str, problem: str | None = None) -> None:
        self.key = key
        super().__init__(
            problem
            or f"Step key {key!r} was asked twice in one run, so a replay could not tell the two apart. "
            f"Give each call its own key: put the loop's variable into it (f'{key}-{{i}}'), or run "
            "each branch in its own step.scope(name)."
        )


class UnknownStep(AwaitpyError):
    """The state has no step of this key."""

    def __init__(self, key: str, run_id: str, mend: str = "") -> None:
        self.key = key
        super().__init__(
            f"Run {run_id!r} has no journaled step {key!r}; see state.steps for its keys.{mend}"
        )


class StepMisuse(AwaitpyError):
    """A step was used where it can't work."""


class SuspensionSwallowed(StepMisuse):
    """Workflow code caught the suspension itself and went on."""

    def __init__(self, hook_ids: tuple[str, ...]) -> None:
        self.hook_ids = hook_ids
        super().__init__(
            f"The workflow caught its own suspension (it waits for {', '.join(map(repr, hook_ids))}) "
            "and went on as if it had a value. Replace the bare `except:`, `except BaseException` or "
            "`return` in `finally` around the wait by `except Exception`, or re-raise."
        )


# --- values: how a run may end ------------------------------------------------------------------


@attrs.frozen(repr=False)
class PendingHook(Value):
    """The run is suspended: it waits for hook `hook_id` in step `step_key`."""

    hook_id: str
    step_key: str = ""
    metadata: Mapping[str, Any] | None = None
    deadline: datetime | None = None
    wait: Wait | None = attrs.field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        until = f" until {self.deadline.isoformat()}" if self.deadline else ""
        return (
            f"Step {self.step_key!r} waits for hook {self.hook_id!r}{until}. Keep the state; when the "
            "value comes, inject_hook(state, hook_id, value) and resume."
        )


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
class UnexpectedError(Value):
    """An exception ended the run. `key` is the step in which it was raised, None for the body."""

    key: str | None
    cause: BaseException

    def __str__(self) -> str:
        if isinstance(self.cause, AwaitpyError):
            return str(self.cause)
        where = f"Step {self.key!r}" if self.key is not None else "The workflow, outside any step,"
        what = str(self.cause).removesuffix(".")
        mend = (
            "The step was not journaled and runs again on the next resume; return Err(...) or use "
            "catching(...) for failures that belong to the workflow."
            if self.key is not None
            else "The body runs again on the next resume; a failure that belongs to the workflow comes "
            "from a step, by return Err(...) or catching(...)."
        )
        return f"{where} raised {type(self.cause).__name__}: {what}. {mend}"


# --- the rarer ends: attrs takes its time to make a class, and most programs never need these -----

_LATER = {
    "Cancelled": "awaitpy._policy_errors",
    "HookRejected": "awaitpy._ends",
    "HookTimeout": "awaitpy._ends",
    "MigrationGap": "awaitpy._ends",
    "NotUndone": "awaitpy._policy_errors",
    "PayloadMisfit": "awaitpy._ends",
    "RunError": "awaitpy._ends",
    "StepInterrupted": "awaitpy._policy_errors",
    "StepTimeout": "awaitpy._policy_errors",
    "UndoFailed": "awaitpy._policy_errors",
    "UnreadableEntry": "awaitpy._ends",
    "VersionMismatch": "awaitpy._ends",
    "WorkflowDrift": "awaitpy._ends",
    "WorkflowMismatch": "awaitpy._ends",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'awaitpy.errors' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
