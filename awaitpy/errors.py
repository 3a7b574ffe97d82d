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
    ├── DuplicateStepKey     one key asked twice in one run
    ├── UnknownStep          `forget` or `rewind` of a key that the state does not have
    └── StepMisuse           a step used where it can't work: nested, empty key, after the end
        └── SuspensionSwallowed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from awaitpy._policy_errors import Cancelled, PendingTimer, StepInterrupted, StepTimeout, UndoFailed
from awaitpy._value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from awaitpy._wait import Wait


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
    """One key was asked twice in one run."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(
            f"Step key {key!r} was asked twice in one run, so a replay could not tell the two apart. "
            f"Give each call its own key: put the loop's variable into it (f'{key}-{{i}}'), or run "
            "each branch in its own step.scope(name)."
        )


class UnknownStep(AwaitpyError):
    """The state has no step of this key."""

    def __init__(self, key: str, run_id: str) -> None:
        self.key = key
        super().__init__(f"Run {run_id!r} has no journaled step {key!r}; see state.steps for its keys.")


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
class HookTimeout(Value):
    """No delivery came for hook `hook_id` before `deadline`."""

    hook_id: str
    step_key: str
    deadline: datetime

    def __str__(self) -> str:
        return (
            f"Step {self.step_key!r} waited for hook {self.hook_id!r} until "
            f"{self.deadline.isoformat()} and nothing came. Wait with step.attempt to take another "
            "way in the workflow."
        )


@attrs.frozen(repr=False)
class HookRejected(Value):
    """The workflow refused a delivery: it is not consumed and the hook is pending again."""

    hook_id: str
    step_key: str
    reason: str
    status: int = 422

    def __str__(self) -> str:
        return (
            f"Step {self.step_key!r} refused the delivery for hook {self.hook_id!r}: {self.reason}. "
            f"The hook is pending again and all else is kept; answer {self.status}."
        )


@attrs.frozen(repr=False)
class PayloadMisfit(Value):
    """A delivery that does not fit the type of its wait: dropped, and the hook is pending again."""

    hook_id: str
    step_key: str
    path: str
    problem: str
    status: int = 400

    def __str__(self) -> str:
        return (
            f"The delivery for hook {self.hook_id!r} does not fit what step {self.step_key!r} waits "
            f"for: at {self.path} {self.problem}. It was dropped, the hook is pending again and all "
            "else is kept; give inject_hook payload= to refuse such a delivery at once."
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
        again = "The step was not journaled and runs" if self.key is not None else "The body runs"
        return (
            f"{where} raised {type(self.cause).__name__}: {self.cause}. {again} again on the next "
            "resume; return Err(...) or use catching(...) for failures that belong to the workflow."
        )


@attrs.frozen(repr=False)
class WorkflowDrift(Value):
    """The code no longer asks for what the state has: nothing new ran.

    `asked` is the key of the step that was about to run (None at the end of the run), `journaled`
    the first key that the run did not ask for, `unasked` all of them, `nearest` the one whose name
    is closest to `asked`.
    """

    asked: str | None
    journaled: str
    unasked: tuple[str, ...] = ()
    nearest: str | None = None

    def __str__(self) -> str:
        about = f"is about to run the new step {self.asked!r}" if self.asked else "has ended"
        more = f" (and {len(self.unasked) - 1} more)" if len(self.unasked) > 1 else ""
        guess = f" The nearest journaled key is {self.nearest!r}: was it renamed?" if self.nearest else ""
        added = f"step.options(since=...) if {self.asked!r} was added, " if self.asked else ""
        return (
            f"The workflow {about}, but its state has the step {self.journaled!r}{more} that this run "
            f"has not asked for, so the code has changed since.{guess} Restore the key, or say what "
            f"you mean: {added}Runner(retired={{{self.journaled!r}}}) if that step is gone for good, "
            f"forget(state, {self.journaled!r}) to drop its result. Nothing was run or changed."
        )


@attrs.frozen(repr=False)
class VersionMismatch(Value):
    """The state was begun under a newer version of the workflow than this code is."""

    workflow: str
    state_version: int
    code_version: int

    def __str__(self) -> str:
        return (
            f"The state of {self.workflow!r} was begun under version {self.state_version}, and this "
            f"code is version {self.code_version}. Resume it with code of version "
            f"{self.state_version} or later. Nothing was run."
        )


@attrs.frozen(repr=False)
class WorkflowMismatch(Value):
    """The state belongs to another workflow."""

    state_workflow: str
    code_workflow: str

    def __str__(self) -> str:
        return (
            f"The state belongs to the workflow {self.state_workflow!r} and was given to "
            f"{self.code_workflow!r}. Resume it with the former; if that one was renamed, keep its "
            f"name with @workflow(name={self.state_workflow!r}). Nothing was run."
        )


@attrs.frozen(repr=False)
class UnreadableEntry(Value):
    """A journaled value does not fit the type that the code now names for its step."""

    key: str
    problem: str

    def __str__(self) -> str:
        return (
            f"The journaled value of {self.key!r} can't be read as the type that the code names "
            f"now: {self.problem}. Give the step its former type, or a new key, or "
            f"forget(state, {self.key!r}) to run it again. Nothing new was run."
        )


RunError = (
    UnexpectedError
    | WorkflowDrift
    | VersionMismatch
    | WorkflowMismatch
    | UnreadableEntry
    | PayloadMisfit
    | HookRejected
    | HookTimeout
    | PendingTimer
    | StepTimeout
    | StepInterrupted
    | Cancelled
    | UndoFailed
)
"""The errors that any run can end with, besides those that its workflow declares."""
