"""The rarer ends of a run, and `RunError`, which names all that any run can end with."""

from __future__ import annotations

from datetime import datetime

import attrs

from awaitpy._policy_errors import Cancelled, StepInterrupted, StepTimeout, UndoFailed
from awaitpy._value import Value
from awaitpy.errors import PendingTimer, UnexpectedError


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
class MigrationGap(Value):
    """The workflow has migrations, but not from each version between the state's and its own.

    `missing` are the versions that no migration takes to the next, the first ten of them.
    """

    workflow: str
    state_version: int
    code_version: int
    missing: tuple[int, ...]

    def __str__(self) -> str:
        first = self.missing[0]
        more = f" (nor from {', '.join(map(str, self.missing[1:]))})" if self.missing[1:] else ""
        return (
            f"The state of {self.workflow!r} has version {self.state_version}, this code is version "
            f"{self.code_version}, and no migration leads from version {first} to {first + 1}{more}. "
            f"Register it with @workflow(migrations={{{first}: ...}}); for a version that changed no "
            "step of older runs, lambda state: state. Nothing was run or changed."
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


_ARGUMENTS = "the arguments"


@attrs.frozen(repr=False)
class UnreadableEntry(Value):
    """A journaled value does not fit the type that the code now names for its step.

    `key` is that of the step, or `the arguments` for those of the workflow.
    """

    key: str
    problem: str

    def __str__(self) -> str:
        if self.key == _ARGUMENTS:
            return (
                f"The recorded arguments don't fit the workflow as it is now: {self.problem.rstrip('.')}. "
                "Give the parameters their former types, a new one a default, or migrate the run by "
                "change_argument(state, ...). Nothing new was run."
            )
        return (
            f"The journaled value of {self.key!r} can't be read as the type that the code names "
            f"now: {self.problem}. Give the step its former type, or a new key, or "
            f"forget(state, {self.key!r}) to run it again. Nothing new was run."
        )


RunError = (
    UnexpectedError
    | WorkflowDrift
    | VersionMismatch
    | MigrationGap
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
