"""Older states for newer code: verbs that change a journal, and their composition over versions.

A migration is a pure function from state to state, made of these verbs and of `forget`. `@workflow`
registers it under the version that it takes to the next one.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from awaitpy import _wire
from awaitpy import _workflow as workflows
from awaitpy._annotations import MISSING
from awaitpy._arguments import is_unicode
from awaitpy._change import Change, of_entry, of_hook
from awaitpy._state import ResumeState, changed
from awaitpy._tables import Race
from awaitpy._wire import HOOK, RACE, UNDO, UNDOING, Entry, OpenHook, Payload
from awaitpy.errors import (
    AwaitpyError,
    DuplicateStepKey,
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

_replace: Final = msgspec.structs.replace
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
    new = _key(new)
    if new in keys and new != old:
        raise _taken(state, old, new)
    return _renamed(state, {old: new})


def rename_scope(state: ResumeState, old: str, new: str, *, missing_ok: bool = False) -> ResumeState:
    """Give a state in which each step under the scope `old` is under the scope `new`.

    As `rename_step` of each key `old/...` to `new/...`, and with the same errors.
    """
    keys = _keys(state)
    names = {key: _key(f"{new}/{key[len(old) + 1 :]}") for key in keys if key.startswith(f"{old}/")}
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
    change = Change(f"step {key!r}", fn, takes, returns, converter)
    entry = state.entries.get(key)
    if entry is not None:
        changes: dict[str, Any] = {"entries": {**state.entries, key: of_entry(entry, change)}}
    elif any(hook.step_key == key for hook in state.hooks.values()):
        changes = {"hooks": {h: of_hook(hook, key, change) for h, hook in state.hooks.items()}}
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
    change = Change(f"argument {which!r}", fn, takes, returns, converter)
    form, raw = change.value(held[which].form, held[which].value)
    held[which] = Payload(raw, form)
    field = {"args": tuple(held.values())} if isinstance(which, int) else {"kwargs": held}
    return changed(state, **field)


def drop_step(state: ResumeState, key: str, *, missing_ok: bool = False) -> ResumeState:
    """Give a state without the step `key`, which the code no longer has.

    Unlike after `forget` it is gone for good: a hook that it answered stays closed, and a hook that it
    created and nobody waits for is unknown from then on. A wait that is open is no longer waited for, and
    what is under way (a sleep, a retry) is over.
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
    underway = {k: note for k, note in state.underway.items() if k != key}
    children = {k: child for k, child in state.children.items() if k != key}
    return changed(
        state, entries=entries, hooks=hooks, forgotten=forgotten, underway=underway, children=children
    )


# --- keys ---------------------------------------------------------------------------------------


def _keys(state: ResumeState) -> dict[str, None]:
    """Give the keys of all steps that the run has come to, in whatever way."""
    waits = (hook.step_key for hook in state.hooks.values() if hook.step_key is not None)
    return dict.fromkeys((*state.entries, *waits, *state.underway, *state.forgotten, *state.children))


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
    names = {**names, **{UNDOING + old: UNDOING + new for old, new in names.items()}}
    entries = [_named(entry, names) for entry in state.entries.values()]
    notes = [_replace(note, key=names.get(note.key, note.key)) for note in state.underway.values()]
    return changed(
        state,
        entries={entry.key: entry for entry in entries},
        underway={note.key: note for note in notes},
        undoing=tuple(names.get(key, key) for key in state.undoing),
        hooks={h: _at(hook, names) for h, hook in state.hooks.items()},
        closed={h: (why, names.get(key, key)) for h, (why, key) in state.closed.items()},
        forgotten=tuple(names.get(key, key) for key in state.forgotten),
        children={names.get(key, key): child for key, child in state.children.items()},
    )


def _named(entry: Entry, names: dict[str, str]) -> Entry:
    """Give the entry with its other key, and with those that it names: of a race, of what is undone."""
    if entry.kind in {RACE, UNDO}:
        try:
            entry = _replace(entry, payload=_naming(entry, names))
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise StateError(f"The entry {entry.key!r} is damaged: {error}.") from None
    return _replace(entry, key=names[entry.key]) if entry.key in names else entry


def _naming(entry: Entry, names: dict[str, str]) -> msgspec.Raw:
    if entry.kind == UNDO:
        undone = msgspec.msgpack.decode(entry.payload, type=list[str])
        return msgspec.Raw(_wire.encode([names.get(key, key) for key in undone]))
    race = msgspec.msgpack.decode(entry.payload, type=Race)
    keys = [names.get(key, key) for key in race.keys]
    return msgspec.Raw(_wire.encode(_replace(race, keys=keys)))


def _at(hook: OpenHook, names: dict[str, str]) -> OpenHook:
    return _replace(hook, step_key=names[hook.step_key]) if hook.step_key in names else hook


def _key(given: Any) -> str:
    if not isinstance(given, str) or not given or not is_unicode(given):
        raise StepMisuse(f"A step key is a non-empty str of Unicode, not {given!r:.40}.")
    return str.__str__(given)


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
