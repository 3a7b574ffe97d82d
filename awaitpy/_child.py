"""Runs within runs: `step.child` begins one, goes on with it, and gives its end to the parent.

The leg of a child runs in the task of the parent that awaits it, under a session of its own. Each entry
of its journal goes to the parent's `checkpoint`, wrapped; its state is kept in that of the parent.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _payload as payloads
from awaitpy import _performing
from awaitpy import _workflow as workflows
from awaitpy._annotations import MISSING, Unresolved
from awaitpy._leg import Exit, Settings
from awaitpy._legs import leg
from awaitpy._motion import Host
from awaitpy._payload import Codec, Misfit, Returns
from awaitpy._performing import Call
from awaitpy._policy import Policy
from awaitpy._session import Session
from awaitpy._state import ResumeState
from awaitpy._step import BoundStep, unresolved
from awaitpy._tree import below
from awaitpy._wire import CHILD, NATIVE, NESTED, TAGGED, UNDOING, Entry, Form, News, encode
from awaitpy.errors import (
    Cancelled,
    HookTimeout,
    JournalError,
    NotUndone,
    PendingHook,
    StepMisuse,
    UndoFailed,
    UnexpectedError,
    UnreadableEntry,
    VersionMismatch,
    WorkflowMismatch,
)
from awaitpy.result import Err, Ok

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy._workflow import Described


class Children:
    """What `step.child` does: see `awaitpy._leg.Children`."""

    def call(
        self,
        session: Session,
        key: str,
        fn: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        policy: Policy,
    ) -> Call:
        """Note that the leg asked for this child. Raises `StepMisuse` or `JournalError`."""
        for name in ("retry", "timeout", "on_unknown"):
            if getattr(policy, name) is not None:
                raise StepMisuse(_no_policy(key, name))
        try:
            returns = _returns(session, workflows.described(fn), policy)
        except Unresolved as error:
            raise unresolved(key, fn, error) from error
        except TypeError:
            raise StepMisuse(_no_workflow(key, fn)) from None
        call = session.called[key] = Call(key, fn, args, kwargs, returns, policy)
        return call

    async def run_new(self, session: Session, call: Call) -> Any:
        """Begin a child or go on with it; journal its value or its error when it has ended."""
        if session.journal.cuts or session.journal.held:
            await session.flush(call.key)
        try:
            state = session.journal.children.get(call.key) or await _begun(session, call)
            why = await _ended(session, call.key, await _watched(session, call, state))
        except asyncio.CancelledError:
            session.cut(call.key)
            raise
        session.active += 1
        given = Ok(why.value) if why.status == "completed" else Err(why.error)
        return await _performing.keep(session, call, given, None)

    async def undone(self, session: Session, key: str, call: Call | None) -> list[NotUndone]:
        """Cancel a child that is under way, in the leg that undoes its parent."""
        state = session.journal.children[key]
        failure = None if call else "the code no longer says how"
        if call is not None and UNDOING + key not in session.replay.entries:
            why = await _ended(session, key, await _led(session, call, _called_off(state)))
            if isinstance(why.error, UndoFailed):
                failure = "; ".join(f"{key}/{f.step_key}: {f.reason}" for f in why.error.failures)
        step = BoundStep(session, UNDOING, Policy(settles=True))
        given = await step.attempt(key, lambda: Err(NotUndone(key, failure)) if failure else None)
        return [given.error] if given.__class__ is Err else []


_PARENT: Final = "the run that it belongs to has ended"


def _called_off(state: ResumeState) -> ResumeState:
    """Give a child that does nothing new, also one whose undo has begun: no entry says that it has to."""
    return state if state.end is not None else msgspec.structs.replace(state, cancelled=_PARENT)


# --- beginning and going on ---------------------------------------------------------------------


async def _begun(session: Session, call: Call) -> ResumeState:
    """Give the state in which a new child starts, once it is journaled."""
    try:
        if session.settings.blind is not None:  # a dry run stays where it would run
            await session.park(PendingHook("", call.key))
        _check_depth(session, call.key)
        state = _start(session, call)
    except (TypeError, JournalError, StepMisuse) as cause:
        await session.stop(UnexpectedError(call.key, cause))
    await _keep_state(session, call.key, state)
    return state


async def _keep_state(session: Session, key: str, state: ResumeState) -> None:
    """Journal the state in which a child starts, or to which it was migrated."""
    session.journal.children[key] = state
    failure: Exception | None = None
    session.active += 1
    try:
        await session.journal.pass_on(_wrapped(key, News(state=state.to_wire())))
    except Exception as cause:  # noqa: BLE001  a store may raise anything
        failure = cause
    finally:
        session.done()
    if failure is not None:
        await session.stop(UnexpectedError(key, failure))


def _depth(session: Session) -> int:
    return 0 if session.host is None else session.host.depth


def _check_depth(session: Session, key: str) -> None:
    if _depth(session) >= NESTED:
        raise StepMisuse(
            f"Child {key!r} would be nested deeper than {NESTED} runs within runs. Does a workflow start "
            "itself without an end? Call it by step.scope(name), or in a loop."
        )


def _start(session: Session, call: Call) -> ResumeState:
    flow = workflows.described(call.fn)
    workflows.bind(flow, call.args, call.kwargs)
    args, kwargs = workflows.recorded(flow, call.args, call.kwargs, session.codecs)
    return ResumeState(
        run_id=f"{session.state.run_id}/{call.key}",
        workflow=flow.name,
        version=flow.version,
        revision=0,
        status="running",
        args=args,
        kwargs=kwargs,
    )


async def _watched(session: Session, call: Call, state: ResumeState) -> Exit:
    """Lead a child, and tell of it as of a step: a start, and one end, in each leg."""
    tell = session.journal.tell
    tell("step.started", call.key)
    try:
        why = await _led(session, call, state)
    except BaseException:
        tell("step.cut", call.key)
        raise
    if session.exit is not None:
        tell("step.cut", call.key)
    elif why.status == "suspended":
        tell("step.waiting", call.key)
    elif why.status == "interrupted":
        tell("step.raised", call.key, getattr(why.error, "cause", why.error))
    return why


async def _led(session: Session, call: Call, state: ResumeState) -> Exit:
    """Run the leg of a child, and keep the state that it has come to."""
    flow, codecs = workflows.described(call.fn), session.codecs
    refused = _refused(flow, state)
    if refused is not None:
        return Exit("interrupted", refused)
    if flow.migrations and state.end is None and state.version < flow.version:
        from awaitpy import _migrations  # noqa: PLC0415  only workflows that have migrations pay for it

        try:
            state = _migrations.composed(flow, state, flow.version)
        except _migrations.MigrationFailed as failed:
            return Exit("interrupted", failed.error)
        await _keep_state(session, call.key, state)
    if state.end is not None:
        try:
            value = workflows.ended(flow, state.end, codecs)
        except (Misfit, Unresolved):
            pass  # its end was not recorded: the steps are replayed, and nothing runs
        else:
            return Exit("completed", value=value) if state.end.ok else Exit("failed", value)
    child: Session | None = None
    try:
        args, kwargs = workflows.restored(flow, state.args, state.kwargs, codecs)
        host = Host(session, call.key, _depth(session) + 1)
        child = Session(_settings(session, call.key), state, session.working, host=host)
        body = call.fn(BoundStep(child), *args, **kwargs)
    except (Misfit, Unresolved, TypeError) as error:
        problem = error.problem if isinstance(error, Misfit) else str(error)
        return Exit("interrupted", UnreadableEntry(f"{call.key}/the arguments", problem))
    why, reached = await leg(child, flow, body)
    session.journal.children[call.key] = reached
    if session.settings.blind is not None and child.settings.blind:
        session.settings.blind.update(f"{call.key}/{key}" for key in child.settings.blind)
    return why


def _refused(flow: Described, state: ResumeState) -> WorkflowMismatch | VersionMismatch | None:
    if state.workflow != flow.name:
        return WorkflowMismatch(state.workflow, flow.name)
    if state.version > flow.version and state.end is None:
        return VersionMismatch(flow.name, state.version, flow.version)
    return None


def _settings(session: Session, key: str) -> Settings:
    """Give the settings of a child: those of its parent, as they are seen from within."""
    settings, journal = session.settings, session.journal
    prefix = f"{key}/"
    checkpoint = journal.held.append if journal.holds_back(key) else settings.checkpoint
    return msgspec.structs.replace(
        settings,
        checkpoint=None if checkpoint is None else _within(checkpoint, key),
        retired=frozenset(k[len(prefix) :] for k in settings.retired if k.startswith(prefix)),
        blind=None if settings.blind is None else set(),
    )


def _within(checkpoint: Callable[[Entry], Any], key: str) -> Callable[[Entry], Any]:
    return lambda entry: checkpoint(_wrapped(key, News(entry=entry)))


def _wrapped(key: str, news: News) -> Entry:
    return Entry(key, CHILD, msgspec.Raw(encode(news)))


# --- how the leg of a child ends ----------------------------------------------------------------


async def _ended(session: Session, key: str, why: Exit) -> Exit:
    """Give the exit of a child that has ended; a wait, or a trouble, is one of the parent's too."""
    if session.exit is not None:
        await session.leave()
    if why.status == "suspended":
        if not why.settled:
            await session.refuse(below(key, why.error))
        await session.park(below(key, why.error), child=key)
    if why.status == "interrupted":
        await session.stop(below(key, why.error))
    return why


def _no_workflow(key: str, fn: Any) -> str:
    return f"Child {key!r} needs a workflow, an async function that takes `step` first, not {fn!r:.80}."


def _no_policy(key: str, name: str) -> str:
    return (
        f"step.options({name}=) is for steps, and {key!r} is a child, whose steps have policies of their "
        "own. Set it there; a child takes undo=, returns= and since=."
    )


# --- the end of a child in the journal ----------------------------------------------------------


def _returns(session: Session, flow: Described, policy: Policy) -> Returns:
    """Give the codecs of what a workflow ends with. Raises `Unresolved`."""
    codecs = session.codecs
    value = flow.result_type() if policy.returns is MISSING else policy.returns
    return Returns(value, codecs.of_type(value), _Errors(codecs.of_type(flow.error_type()), codecs))


class _Errors(Codec):
    """Encodes the errors with which a child may end: those it declares, and awaitpy's own."""

    __slots__ = ("_declared",)

    def __init__(self, declared: Codec, codecs: payloads.Codecs) -> None:
        super().__init__(declared.type, codecs)
        self._declared = declared

    def encode(self, value: Any) -> tuple[Form, bytes]:
        if isinstance(value, UndoFailed):
            form, data = self.encode(value.error)
            return _tagged(value, (form, msgspec.Raw(data), value.failures))
        if isinstance(value, HookTimeout):
            return _tagged(value, (value.hook_id, value.step_key, value.deadline))
        if isinstance(value, Cancelled):
            return _tagged(value, value)
        return self._declared.encode(value)

    def decode(self, payload: msgspec.Raw, form: Form) -> Any:
        if form != TAGGED:
            return self._declared.decode(payload, form)
        try:
            tag, _, raw = _read_tagged(payload)
            if tag not in _READERS:
                return self._declared.decode(payload, form)
            own = _READERS[tag](raw)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise payloads.misfit_of(error) from error
        if tag != _UNDO_FAILED:
            return own
        inner, data, failures = own
        return UndoFailed(self.decode(data, inner), failures)


def _tag(cls: type[Any]) -> str:
    return f"awaitpy.{cls.__name__}"  # with a dot, which no name of a user's class has


def _tagged(error: Any, content: Any) -> tuple[Form, bytes]:
    return TAGGED, encode((_tag(error.__class__), NATIVE, msgspec.Raw(encode(content))))


_UNDO_FAILED: Final = _tag(UndoFailed)
_read_tagged: Final = msgspec.msgpack.Decoder(tuple[str, Form, msgspec.Raw]).decode
_timeout: Final = msgspec.msgpack.Decoder(tuple[str, str, datetime]).decode
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    _tag(Cancelled): msgspec.msgpack.Decoder(Cancelled).decode,
    _tag(HookTimeout): lambda raw: HookTimeout(*_timeout(raw)),
    _UNDO_FAILED: msgspec.msgpack.Decoder(tuple[Form, msgspec.Raw, tuple[NotUndone, ...]]).decode,
}
