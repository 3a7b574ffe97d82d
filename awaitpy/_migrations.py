"""Older states for newer code: verbs that change a journal, and their composition over versions.

A migration is a pure function from state to state, made of these verbs and of `forget`. `@workflow`
registers it under the version that it takes to the next one.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from awaitpy import _fidelity, _wire
from awaitpy import _payload as payloads
from awaitpy import _workflow as workflows
from awaitpy._annotations import MISSING
from awaitpy._incoming import decode_payload
from awaitpy._payload import Misfit
from awaitpy._state import ResumeState, changed
from awaitpy._wire import ANSWER, ERROR, HOOK, NATIVE, PLAIN, TAGGED, VALUE, Entry, Form, OpenHook, Payload
from awaitpy.errors import (
    AwaitpyError,
    DuplicateStepKey,
    JournalError,
    MigrationGap,
    StateError,
    StepMisuse,
    UnexpectedError,
    UnknownStep,
    VersionMismatch,
    WorkflowMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cattrs import Converter

    from awaitpy._workflow import Described
    from awaitpy.errors import RunError

T = TypeVar("T")

_replace: Final = msgspec.structs.replace
_decode_any: Final = msgspec.msgpack.Decoder().decode
_decode_tagged: Final = msgspec.msgpack.Decoder(tuple[str, Form, msgspec.Raw]).decode
_MANY: Final = 10


# --- verbs --------------------------------------------------------------------------------------


def rename_step(state: ResumeState, old: str, new: str, *, missing_ok: bool = False) -> ResumeState:
    """Give a state in which the step `old` is called `new`, at its place in the journal.

    An open wait keeps its time, its deadline and its deliveries. Raises `UnknownStep` for a step that
    the run has not come to (with `missing_ok` the state is given as it is), and `DuplicateStepKey` if
    the run has a step `new` already.
    """
    keys = _keys(state)
    if old not in keys:
        return _missing(state, old, missing_ok)
    if new in keys and new != old:
        raise _taken(state, old, new)
    return _renamed(state, {old: new})


def rename_scope(state: ResumeState, old: str, new: str, *, missing_ok: bool = False) -> ResumeState:
    """Give a state in which each step under the scope `old` is under the scope `new`.

    As `rename_step` of each key `old/...` to `new/...`, and with the same errors.
    """
    keys = _keys(state)
    names = {key: f"{new}/{key[len(old) + 1 :]}" for key in keys if key.startswith(f"{old}/")}
    if not names:
        return _missing(state, f"{old}/", missing_ok)
    for before, after in names.items():
        if after in keys and after not in names:
            raise _taken(state, before, after)
    return _renamed(state, names)


def change_payload(
    state: ResumeState,
    key: str,
    fn: Callable[[Any], Any],
    *,
    takes: Any = MISSING,
    returns: Any = MISSING,
    converter: Converter | None = None,
    missing_ok: bool = False,
) -> ResumeState:
    """Give a state in which the journaled value of a step is what the pure `fn` makes of it.

    `fn` gets plain data (dicts, lists, strings: what the journal has), or a value of the type `takes`.
    It gives plain data, or a value of the type `returns`, which the code names for that step from now
    on (by default `takes`). Of a step that failed it is the error; of a wait the payload, also that of
    deliveries that were not taken yet; a sender that repeats a changed one needs a delivery id to be
    known again. `converter` is that of the `Runner`.

    Raises `UnknownStep` (unless `missing_ok`), `JournalError` for a value that the journal can't
    restore exactly, and `StateError` if the journaled one is no `takes`.
    """
    change = _Change(f"step {key!r}", fn, takes, returns, converter)
    entry = state.entries.get(key)
    if entry is not None:
        changes: dict[str, Any] = {"entries": {**state.entries, key: _changed_entry(entry, change)}}
    elif key in _keys(state):
        changes = {"hooks": {h: _changed_hook(hook, key, change) for h, hook in state.hooks.items()}}
    else:
        return _missing(state, key, missing_ok)
    return changed(state, **changes)


def change_argument(
    state: ResumeState,
    which: int | str,
    fn: Callable[[Any], Any],
    *,
    takes: Any = MISSING,
    returns: Any = MISSING,
    converter: Converter | None = None,
) -> ResumeState:
    """Give a state in which an argument of the run is what the pure `fn` makes of it.

    `which` is the position after `step`, from 0, of an argument that was given by position, or the
    name of one that was given by name. The rest is as for `change_payload`. Raises `StateError` where
    the run has no such argument.
    """
    held: Any = dict(enumerate(state.args)) if isinstance(which, int) else dict(state.kwargs)
    if which not in held:
        raise StateError(f"Run {state.run_id!r} was started without an argument {which!r}.")
    change = _Change(f"argument {which!r}", fn, takes, returns, converter)
    form, raw = change.value(held[which].form, held[which].value)
    held[which] = Payload(raw, form)
    field = {"args": tuple(held.values())} if isinstance(which, int) else {"kwargs": held}
    return changed(state, **field)


def drop_step(state: ResumeState, key: str, *, missing_ok: bool = False) -> ResumeState:
    """Give a state without the step `key`, which the code no longer has.

    Unlike after `forget` it is gone for good: a hook that it answered stays closed, and a hook that it
    created and nobody waits for is unknown from then on. A wait that is open is no longer waited for.
    Raises `UnknownStep`, unless `missing_ok`.
    """
    if key not in _keys(state):
        return _missing(state, key, missing_ok)
    entries, hooks = dict(state.entries), dict(state.hooks)
    entry = entries.pop(key, None)
    for hook in state.hooks.values():
        if hook.step_key == key:
            hooks[hook.hook_id] = _replace(hook, step_key=None)
    if entry is not None and entry.kind == HOOK:
        created = hooks.get(str(entry.hook_id))
        if created is not None and created.step_key is None:
            del hooks[created.hook_id]
    forgotten = tuple(k for k in state.forgotten if k != key)
    return changed(state, entries=entries, hooks=hooks, forgotten=forgotten)


# --- keys ---------------------------------------------------------------------------------------


def _keys(state: ResumeState) -> dict[str, None]:
    """Give the keys of all steps that the run has come to: journaled, waited at, or forgotten."""
    waits = (hook.step_key for hook in state.hooks.values() if hook.step_key is not None)
    return dict.fromkeys((*state.entries, *waits, *state.forgotten))


def _missing(state: ResumeState, key: str, missing_ok: bool) -> ResumeState:
    if missing_ok:
        return state
    mend = (
        f" If not every run has come to it, say missing_ok=True, or ask first: if {key!r} in state.steps."
    )
    raise UnknownStep(key, state.run_id, mend)


def _taken(state: ResumeState, old: str, new: str) -> DuplicateStepKey:
    return DuplicateStepKey(
        new,
        f"Step {old!r} can't be renamed to {new!r}: run {state.run_id!r} has a step of that key. Rename "
        "or drop that one first, or choose another key.",
    )


def _renamed(state: ResumeState, names: dict[str, str]) -> ResumeState:
    """Give the state with other keys: in the journal, at the open waits, and where hooks were closed."""
    for new in names.values():
        _refuse_no_key(new)
    entries = [_replace(e, key=names[k]) if k in names else e for k, e in state.entries.items()]
    return changed(
        state,
        entries={entry.key: entry for entry in entries},
        hooks={h: _at(hook, names) for h, hook in state.hooks.items()},
        closed={h: (why, names.get(key, key)) for h, (why, key) in state.closed.items()},
        forgotten=tuple(names.get(key, key) for key in state.forgotten),
    )


def _at(hook: OpenHook, names: dict[str, str]) -> OpenHook:
    return _replace(hook, step_key=names[hook.step_key]) if hook.step_key in names else hook


def _refuse_no_key(key: str) -> None:
    try:
        usable = bool(_wire.encode(key)) and key != ""
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise StepMisuse(f"A step key is a non-empty str of Unicode, not {key!r:.40}.")


# --- payloads -----------------------------------------------------------------------------------


class _Change:
    """What is made of a value: read as plain data or a type, changed, and written so that it is exact."""

    def __init__(
        self, what: str, fn: Callable[[Any], Any], takes: Any, returns: Any, converter: Converter | None
    ) -> None:
        self.what, self.fn, self.takes = what, fn, takes
        self.returns = takes if returns is MISSING else returns
        self.codecs = payloads.Codecs(converter)

    def value(self, form: Form, raw: msgspec.Raw, *, error: bool = False) -> tuple[Form, msgspec.Raw]:
        """Change what a step gave, or its error. Raises `StateError` or `JournalError`."""
        if self.takes is MISSING and form == TAGGED and self.returns is MISSING:
            tag, inner, held = self._read(lambda: _decode_tagged(raw))
            return form, msgspec.Raw(_wire.encode((tag, *self.value(inner, held))))
        value = self.fn(self._read(lambda: self._decoded(form, raw, error)))
        if self.returns is MISSING:
            return form, self._written(lambda: _exact(value))
        codec = self._codec(self.returns, error)
        form, data = self._written(lambda: codec.encode(value))
        return form, msgspec.Raw(data)

    def delivery(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Change what was delivered to a wait. Raises `StateError` or `JournalError`."""
        payload = Any if self.takes is MISSING else self.takes
        value = self.fn(self._read(lambda: decode_payload(raw, payload, self.codecs)))
        if self.returns is MISSING:
            return self._written(lambda: _exact(value))
        codec = self._codec(self.returns, error=False)
        form, data = self._written(lambda: codec.encode(value))
        if form > NATIVE:
            raise self._refused(Misfit("$", f"a {type(value).__name__} needs a converter"))
        return msgspec.Raw(data)

    def _decoded(self, form: Form, raw: msgspec.Raw, error: bool) -> Any:
        if self.takes is not MISSING:
            return self._codec(self.takes, error).decode(raw, form)
        if form == TAGGED:
            _, inner, held = _decode_tagged(raw)
            return self._decoded(inner, held, error)
        return _decode_any(raw)

    def _codec(self, tp: Any, error: bool) -> payloads.Codec:
        returns = self.codecs.of_return(tp)
        return returns.errors if error else returns.values

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (Misfit, msgspec.MsgspecError, UnicodeError, ValueError, TypeError, RecursionError) as error:
            misfit = payloads.misfit_of(error)
            raise StateError(
                f"The value of {self.what} can't be read at {misfit.path}: "
                f"{misfit.problem}. Name the type that it has by takes=..., or take plain data."
            ) from None

    def _written(self, write: Callable[[], T]) -> T:
        try:
            return write()
        except Misfit as misfit:
            raise self._refused(misfit) from None

    def _refused(self, misfit: Misfit) -> JournalError:
        mend = "Name the type that the migration gives by returns=..., or give plain data."
        return JournalError(f"The migration of {self.what}", misfit.path, misfit.problem, mend)


def _exact(value: Any) -> msgspec.Raw:
    """Encode plain data. Raises `Misfit` for what would come back as something else."""
    try:
        data = _wire.encode(value)
        found = _fidelity.difference(value, _decode_any(data))
        if found is None and not _fidelity.shallow(value):
            found = ("$", "the value is nested too deep")
    except Exception as error:  # noqa: BLE001  an object, an int of more than 64 bits, a lone surrogate, a cycle
        raise payloads.misfit_of(error) from None
    if found is not None:
        raise Misfit(*found)
    return msgspec.Raw(data)


def _changed_entry(entry: Entry, change: _Change) -> Entry:
    if entry.kind == ANSWER:
        return _replace(entry, payload=change.delivery(entry.payload), form=PLAIN)
    if entry.kind not in {VALUE, ERROR}:
        raise StepMisuse(
            f"Step {entry.key!r} has no payload to change: the journal has a {entry.kind_name} for it."
        )
    form, raw = change.value(entry.form, entry.payload, error=entry.kind == ERROR)
    return _replace(entry, payload=raw, form=form)


def _changed_hook(hook: OpenHook, key: str, change: _Change) -> OpenHook:
    if hook.step_key != key:
        return hook
    changed_ = tuple(_replace(d, value=change.delivery(d.value)) for d in hook.deliveries)
    return _replace(hook, deliveries=changed_)


# --- versions -----------------------------------------------------------------------------------


class MigrationFailed(AwaitpyError):
    """A state can't be migrated; it is as it was. `error` is that with which `resume` ends the run."""

    def __init__(self, message: str, refusal: RunError | None = None) -> None:
        super().__init__(message)
        self._refusal = refusal

    @property
    def error(self) -> RunError:
        """A `MigrationGap`, a mismatch, or an `UnexpectedError` whose cause this exception is."""
        return UnexpectedError(None, self) if self._refusal is None else self._refusal


def migrate(workflow: Callable[..., Any], state: ResumeState) -> ResumeState:
    """Give the state as the code of today wants it: what `resume` would do first, without running it.

    For a table of states that is migrated at once. Finished runs, states of this version, and those of
    a workflow that has no migrations are given as they are. Raises `MigrationFailed`.
    """
    flow = workflows.described(workflow)
    if state.workflow != flow.name:
        raise _refusal(WorkflowMismatch(state.workflow, flow.name))
    if state.end is not None or state.version == flow.version:
        return state
    if state.version > flow.version:
        raise _refusal(VersionMismatch(flow.name, state.version, flow.version))
    return composed(flow, state, flow.version) if flow.migrations else state


def composed(flow: Described, state: ResumeState, version: int) -> ResumeState:
    """Take an older state to this version, one migration after the other. Raises `MigrationFailed`."""
    wanted = range(state.version, version)
    missing = tuple(islice((v for v in wanted if v not in flow.migrations), _MANY))
    if missing:
        raise _refusal(MigrationGap(flow.name, state.version, version, missing))
    begun = state.version if state.begun is None else state.begun
    for from_version in wanted:
        state = changed(_migrated(flow, state, from_version), version=from_version + 1, begun=begun)
    return state


def _migrated(flow: Described, state: ResumeState, from_version: int) -> ResumeState:
    which = f"The migration of {flow.name!r} from version {from_version} to {from_version + 1}"
    try:
        given: Any = flow.migrations[from_version](state)
    except Exception as cause:
        raise MigrationFailed(
            f"{which} raised {type(cause).__name__}: {str(cause).rstrip('.')}. Nothing was run, and the "
            "state is as it was."
        ) from cause
    if not isinstance(given, ResumeState) or given.run_id != state.run_id:
        what = "the state of another run" if isinstance(given, ResumeState) else type(given).__name__
        raise MigrationFailed(
            f"{which} gave {what}. Return the state that the last verb gave. Nothing was run."
        )
    return given


def unsaved(state: ResumeState) -> MigrationFailed:
    """Describe why a run that journals entry by entry is not migrated by `resume`."""
    return MigrationFailed(
        f"Run {state.run_id!r} is of version {state.version} and has to be migrated before a run with a "
        "checkpoint: a crash would leave new entries beside the old state, which would be migrated again "
        "with them. Save migrate(workflow, state) first, and resume that. Nothing was run."
    )


def _refusal(error: RunError) -> MigrationFailed:
    return MigrationFailed(str(error), error)
