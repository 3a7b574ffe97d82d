"""The async shell: a workflow and a state in, an outcome out."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar

import msgspec

from awaitpy import _payload as payloads
from awaitpy import _workflow as workflows
from awaitpy import errors
from awaitpy._annotations import Unresolved
from awaitpy._arguments import name, no_state, whole
from awaitpy._hooks import moment, system_time
from awaitpy._leg import Settings
from awaitpy._legs import leg
from awaitpy._policy import in_seconds
from awaitpy._session import Session
from awaitpy._state import ResumeState, changed
from awaitpy._step import BoundStep, working
from awaitpy._workflow import VERSION
from awaitpy.errors import JournalError
from awaitpy.result import Err, Ok, Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine
    from datetime import datetime, timedelta

    from cattrs import Converter

    from awaitpy._leg import Children, Exit
    from awaitpy._wire import Entry
    from awaitpy._workflow import Described
    from awaitpy.errors import RunError
    from awaitpy.events import Event
    from awaitpy.typing import Step

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)


class Outcome(msgspec.Struct, Generic[T_co, E_co], frozen=True):
    """How a leg of a run ended: its `result`, and the `state` to keep."""

    result: Result[T_co, E_co | RunError]
    state: ResumeState


class Runner:
    """Runs and resumes workflows under one set of settings.

    - `clock`: gives the time, as an aware datetime or epoch seconds.
    - `checkpoint`: awaited with each new entry before the workflow goes on; may be a plain function.
    - `on_event`: called with each `Event`. What it raises is logged and changes nothing. If it has a
      method `traceparent(leg)`, the state carries what that gives: see the guide on observability.
    - `run_id`: the id of runs that this runner starts; random without it.
    - `version`: the version of the workflow, instead of what `@workflow` says.
    - `retired`: keys of steps that the code no longer has, which are then no drift.
    - `converter`: a cattrs converter for types that MessagePack can't carry; see `make_converter`.
    - `hold`: how long a sleep or the delay of a retry may be to be waited for here, as a timedelta or
      seconds; for a longer one the run is suspended.
    - `sleep`: awaited with seconds for those; `entropy`: gives so many random bytes. Tests hand in
      their own.

    Raises TypeError or ValueError for a `run_id`, `version`, `retired` or `hold` that is none.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime | float] | None = None,
        checkpoint: Callable[[Entry], Awaitable[None] | None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        run_id: str | None = None,
        version: int | None = None,
        retired: Collection[str] = (),
        converter: Converter | None = None,
        hold: timedelta | float = 10.0,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._run_id = None if run_id is None else name("run_id=", run_id, _RUN_ID)
        self._version = None if version is None else whole("version=", version, VERSION)
        self._settings = Settings(
            codecs=_codecs if converter is None else payloads.Codecs(converter),
            clock=system_time if clock is None else (lambda: moment(clock())),
            checkpoint=checkpoint,
            on_event=on_event,
            retired=_keys(retired),
            hold=_not_negative(hold),
            sleep=sleep,
            entropy=entropy,
            children=_children,
        )

    def start(
        self,
        workflow: Callable[Concatenate[Step[E], P], Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ResumeState:
        """Give the state of a run before anything ran: store it, then `resume` it.

        Raises `JournalError` for an argument that can't be recorded exactly, and TypeError for
        arguments that the workflow does not take.
        """
        flow = workflows.described(workflow)
        try:
            positional, named = workflows.recorded(flow, args, kwargs, self._settings.codecs)
        except JournalError:
            workflows.bind(flow, args, kwargs)  # what it does not take needs no type
            raise
        return ResumeState(
            run_id=self._run_id or bytes(self._settings.entropy(16)).hex(),
            workflow=flow.name,
            version=self._version_of(flow),
            revision=0,
            status="running",
            args=positional,
            kwargs=named,
        )

    async def run(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Outcome[T, E]:
        """Run a workflow from the start. The arguments are recorded in the state.

        Raises `JournalError` for an argument that can't be recorded exactly, and TypeError for
        arguments that the workflow does not take.
        """
        state = self.start(workflow, *args, **kwargs)
        session = Session(self._settings, state, working)
        body = workflow(BoundStep(session), *args, **kwargs)
        return _outcome(*await leg(session, workflows.described(workflow), body))

    async def resume(
        self,
        workflow: Callable[Concatenate[Step[E], ...], Coroutine[Any, Any, T]],
        state: ResumeState,
    ) -> Outcome[T, E]:
        """Run the same workflow over a state: completed steps are skipped, the arguments come from it."""
        flow = workflows.described(workflow)
        if state.__class__ is not ResumeState:
            raise no_state(state)
        refused = self._refused(flow, state)
        if refused is not None:
            return refused
        if flow.migrations and state.end is None and state.version < self._version_of(flow):
            return await self._migrated(workflow, flow, state)
        codecs = self._settings.codecs
        if state.end is not None:
            try:
                value = workflows.ended(flow, state.end, codecs)
            except (payloads.Misfit, Unresolved):
                pass  # its result was not recorded: the steps are replayed, and nothing runs
            else:
                return Outcome(Ok(value) if state.end.ok else Err(value), state)
        try:
            args, kwargs = workflows.restored(flow, state.args, state.kwargs, codecs)
        except (payloads.Misfit, Unresolved) as error:
            return _interrupted(state, errors.UnreadableEntry("the arguments", _problem(error)))
        session = Session(self._settings, state, working)
        again: Callable[..., Coroutine[Any, Any, T]] = workflow
        try:
            body = again(BoundStep(session), *args, **kwargs)
        except TypeError as error:
            return _interrupted(state, errors.UnreadableEntry("the arguments", str(error)))
        return _outcome(*await leg(session, flow, body))

    async def _migrated(self, workflow: Any, flow: Described, state: ResumeState) -> Outcome[Any, Any]:
        """Resume a state of an older version; the older state stays if nothing came of it."""
        # Only workflows that have migrations pay for the import.
        from awaitpy import _migrations  # noqa: PLC0415

        try:
            today = _migrations.composed(flow, state, self._version_of(flow))
            if self._settings.checkpoint is not None:
                raise _migrations.unsaved(state)
        except _migrations.MigrationFailed as failed:
            return _interrupted(state, failed.error)
        outcome: Outcome[Any, Any] = await self.resume(workflow, today)
        in_vain = outcome.state.status == "interrupted" and outcome.state.entries == today.entries
        return _interrupted(state, outcome.result.unwrap_err()) if in_vain else outcome

    def _version_of(self, flow: Described) -> int:
        return flow.version if self._version is None else self._version

    def _refused(self, flow: Described, state: ResumeState) -> Outcome[Any, Any] | None:
        if state.workflow != flow.name:
            return Outcome(Err(errors.WorkflowMismatch(state.workflow, flow.name)), state)
        version = self._version_of(flow)
        if state.version > version and state.end is None:
            return _interrupted(state, errors.VersionMismatch(flow.name, state.version, version))
        return None


_RUN_ID: Final = "Give a text that is the run's own, such as the id of its order; without it one is made."


def _keys(retired: Collection[str]) -> frozenset[str]:
    if isinstance(retired, str):
        raise TypeError(f"retired= is {retired!r}, one str: give a set of keys, such as {{{retired!r}}}.")
    return frozenset(retired)


def _not_negative(hold: timedelta | float) -> float:
    seconds = in_seconds(hold)
    if not seconds >= 0:  # NaN too
        raise ValueError(f"hold= is a timedelta or seconds from 0 on, not {hold!r}.")
    return seconds


def _children() -> Children:
    # Only runs that have children pay for the import.
    from awaitpy._child import Children  # noqa: PLC0415

    return Children()


_codecs = payloads.Codecs()


def _problem(error: Exception) -> str:
    return error.problem if isinstance(error, payloads.Misfit) else str(error)


def _outcome(why: Exit, state: ResumeState) -> Outcome[Any, Any]:
    return Outcome(Ok(why.value) if why.status == "completed" else Err(why.error), state)


def _interrupted(state: ResumeState, error: Any) -> Outcome[Any, Any]:
    return Outcome(
        Err(error), state if state.status == "interrupted" else changed(state, status="interrupted")
    )


_default = Runner()


async def run(
    workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> Outcome[T, E]:
    """Run a workflow from the start, with the default `Runner`: see `Runner.run`."""
    return await _default.run(workflow, *args, **kwargs)


async def resume(
    workflow: Callable[Concatenate[Step[E], ...], Coroutine[Any, Any, T]], state: ResumeState
) -> Outcome[T, E]:
    """Run the same workflow over a state, with the default `Runner`: see `Runner.resume`."""
    return await _default.resume(workflow, state)
