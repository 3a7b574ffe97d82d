"""A dry run: whether a waiting state would resume under today's code, and where it would go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate

import msgspec

from awaitpy import _migrations
from awaitpy import _workflow as workflows
from awaitpy._replay import drifted
from awaitpy._runner import Runner
from awaitpy._tables import race_of
from awaitpy._wire import CUT, RACE, UNDOING
from awaitpy.errors import (
    MigrationGap,
    PayloadMisfit,
    PendingHook,
    PendingTimer,
    RunError,
    UnexpectedError,
    UnreadableEntry,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
)
from awaitpy.result import Err

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from awaitpy._runner import Outcome
    from awaitpy._state import ResumeState
    from awaitpy.events import Event
    from awaitpy.typing import Step


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What a dry run found. `str()` of it is a readable difference between the state and the code.

    - `problem`: the error with which `resume` would end the run; None if it would resume.
    - `replayed`: keys of the journaled steps that the code asks for, in its order.
    - `answered`: keys of the waits and sleeps that are over, and would go on.
    - `next`: keys of the steps that would run next, and of the waits at which the run would stay.
    - `waits`: those of `next` that are waits.
    - `unasked`: keys of the journaled steps that the code has not asked for when it came to `next`.
    """

    run_id: str
    workflow: str
    problem: RunError | None = None
    replayed: tuple[str, ...] = ()
    answered: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the state would resume."""
        return self.problem is None

    def __str__(self) -> str:
        verdict = "would resume" if self.ok else "would not resume"
        lines = [f"Run {self.run_id} of {self.workflow} {verdict}:", *self._difference()]
        return "\n".join(lines if self.problem is None else [*lines, str(self.problem)])

    def _difference(self) -> list[str]:
        lines = [f"  {key}" for key in self.replayed]
        lines += [f"  {key} (over, would go on)" for key in self.answered]
        if isinstance(self.problem, UnreadableEntry):
            lines.append(f"! {self.problem.key} (journaled, can't be read)")
        missed = "journaled, not asked" if self.problem is not None else "journaled, comes later"
        mark = "-" if self.problem is not None else " "
        lines += [f"{mark} {key} ({missed})" for key in self.unasked]
        return lines + [f"+ {key} ({self._would(key)})" for key in self.next]

    def _would(self, key: str) -> str:
        if key in self.waits:
            return "would wait"
        problem = self.problem
        near = problem.nearest if isinstance(problem, WorkflowDrift) and problem.asked == key else None
        return "new, would run" if near is None else f"new, would run; nearest journaled: {near}"


_NOT_OF_THE_WORKFLOW = (
    UnexpectedError,
    WorkflowDrift,
    VersionMismatch,
    MigrationGap,
    WorkflowMismatch,
    UnreadableEntry,
    PayloadMisfit,
)


async def check(
    workflow: Callable[Concatenate[Step[Any], ...], Coroutine[Any, Any, Any]],
    state: ResumeState,
    *,
    runner: Runner | None = None,
) -> Check:
    """Say whether a state would resume under this workflow, by a dry run.

    The body of the workflow runs over what is journaled, and so do migrations. No function of a step
    is called, be it to run, to try again or to undo; only `pending_hook`, `first_of` and
    `pending_timer` are, which tell the terms of a wait, and decoders of payloads, as in each replay.
    Nothing is given to `checkpoint` and `on_event`, and the state stays as it is. Each parallel branch
    goes as far as the journal does; where only a function could tell how it goes on (a wait that has
    to be asked again or is judged by `accept`, a step that was forgotten or has `since=`), the dry run
    stays.

    It is stricter than `resume` in parallel branches and in scopes: a journaled step that nothing has
    asked for when each branch has come to a new step or a wait is `WorkflowDrift` here, and there at
    the end of the run at the latest. `runner` is the one that would resume: its version, `retired`,
    clock and converter count.
    """
    rehearsal = _Rehearsal(runner or Runner())
    try:
        today = rehearsal.today(workflow, state)
    except _migrations.MigrationFailed as failed:
        return Check(run_id=state.run_id, workflow=state.workflow, problem=failed.error)
    return rehearsal.found(today, await rehearsal.resume(workflow, today))


class _Rehearsal(Runner):
    """A runner for one leg in which nothing happens, and which notes how far it came."""

    def __init__(self, runner: Runner) -> None:
        super().__init__(version=runner._version)  # noqa: SLF001  it is another leg of that runner
        self._blind: set[str] = set()
        self._settings = msgspec.structs.replace(
            runner._settings,  # noqa: SLF001  the same
            checkpoint=None,
            on_event=self._note,
            hold=0.0,  # it sleeps for nothing
            blind=self._blind,
        )
        self._replayed: list[str] = []
        self._answered: list[str] = []
        self._parked: dict[str, str] = {}

    def _note(self, event: Event) -> None:
        run, key = event.run_id, event.key or ""
        self._run_id = self._run_id or run  # the first to be told of is the run, the others are children
        key = f"{run[len(self._run_id) + 1 :]}/{key}".removeprefix("/")
        if event.name == "step.replayed":
            self._replayed.append(key)
        elif event.name in {"hook.answered", "hook.expired", "timer.elapsed"}:
            self._answered.append(key)
        elif event.name == "hook.waiting":
            self._parked[key] = event.detail
        elif event.name == "timer.waiting":
            self._parked[key] = "a time"

    def today(self, workflow: Any, state: ResumeState) -> ResumeState:
        """Give the state as `resume` would take it. Raises `MigrationFailed`."""
        flow = workflows.described(workflow)
        version = self._version_of(flow)
        older = state.workflow == flow.name and state.version < version
        if not (older and flow.migrations and state.end is None):
            return state
        return _migrations.composed(flow, state, version)

    def found(self, state: ResumeState, outcome: Outcome[Any, Any]) -> Check:
        """Say what the leg over this state showed."""
        error: Any = outcome.result.error if isinstance(outcome.result, Err) else None
        problem = error if isinstance(error, _NOT_OF_THE_WORKFLOW) else None
        bad = {problem.key} if isinstance(problem, UnreadableEntry) else set[str]()
        unasked = self._unasked(state, outcome.state)
        parked = list(self._parked)
        if isinstance(problem, WorkflowDrift) and problem.asked is not None:
            parked.append(problem.asked)
        if self._left_behind(error, unasked):
            problem = self._drift(unasked)
        recorded = state.end is not None and problem is None
        return Check(
            run_id=state.run_id,
            workflow=state.workflow,
            problem=problem,
            replayed=tuple(key for key in self._replayed if key not in bad and key not in self._parked),
            answered=tuple(self._answered),
            next=tuple(dict.fromkeys(parked)),
            waits=tuple(key for key, hook_id in self._parked.items() if hook_id),
            unasked=() if recorded else tuple(key for key in unasked if key not in bad),
        )

    def _left_behind(self, error: Any, unasked: tuple[str, ...]) -> bool:
        """Whether the branches are parked, and journaled steps can't come any more behind that."""
        ends = any(f"/{UNDOING}" in f"/{key}" for key in self._parked)  # the workflow has failed already
        parked = isinstance(error, (PendingHook, PendingTimer)) and not ends
        return parked and bool(unasked) and not self._blind.intersection(self._parked)

    def _drift(self, unasked: tuple[str, ...]) -> WorkflowDrift:
        """Blame the new step whose name is near to a missing one; else the first, or the first wait."""
        new = [key for key, hook_id in self._parked.items() if not hook_id]
        found = [drifted(key, unasked) for key in new or self._parked]
        return next((drift for drift in found if drift.nearest is not None), found[0])

    def _unasked(self, state: ResumeState, after: ResumeState) -> tuple[str, ...]:
        passed = {*self._replayed, *self._settings.retired}
        races = {key: race_of(e).winner for key, e in after.entries.items() if e.kind == RACE}
        return tuple(
            key
            for key, entry in state.entries.items()
            if entry.kind != CUT
            and key not in passed
            and not key.startswith(UNDOING)
            and not any(_lost(key, race, winner) for race, winner in races.items())
        )


def _lost(key: str, race: str, winner: str) -> bool:
    """Whether a step is one of a branch that has lost a race, which nobody need ask for any more."""
    return key.startswith(f"{race}/") and not key.startswith(f"{race}/{winner}/")
