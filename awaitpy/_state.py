"""The resume state: an immutable value that the user owns, and the verbs that make new ones of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from awaitpy import _tree, _wire
from awaitpy._arguments import text
from awaitpy._tables import Tables
from awaitpy._wire import (
    CHILD,
    CUT,
    HOOK,
    NO_MORE,
    NOTE,
    RACE,
    UNDOING,
    VALUE,
    Closed,
    End,
    Entry,
    More,
    News,
    OpenHook,
    Payload,
    Status,
    Underway,
    Wire,
)
from awaitpy.errors import StateError, StepMisuse, UnknownStep


class PendingRecord(msgspec.Struct, frozen=True):
    """A hook that the run waits for: which step, since when, until when, and what it takes.

    `deliveries` counts the values that came and were not yet taken by a run.
    """

    hook_id: str
    step_key: str
    metadata: Mapping[str, Any] | None
    methods: tuple[str, ...] | None
    since: datetime
    deadline: datetime | None
    deliveries: int


class TimerRecord(msgspec.Struct, frozen=True):
    """A step that goes on at a time: a sleep, or the next attempt of a step that failed so often."""

    step_key: str
    until: datetime
    attempts: int


class ResumeState(msgspec.Struct, frozen=True, eq=False, kw_only=True, gc=True):
    """A run as a value: its arguments, what its steps gave, and the hooks that it waits for.

    Immutable. Each verb gives a new state that shares all it can with the old one, which still
    works. `revision` grows with each change: store a state by comparing it (see the guide on
    stores). The mappings are shared between states and never written after they came here. `begun`
    is the version under which a migrated run began, None while that is `version`; `trace` is the W3C
    traceparent of the last leg that was traced, or "".
    """

    run_id: str
    workflow: str
    version: int
    revision: int
    status: Status
    args: tuple[Payload, ...] = ()
    kwargs: dict[str, Payload] = {}
    entries: dict[str, Entry] = {}
    hooks: dict[str, OpenHook] = {}
    closed: dict[str, Closed] = {}
    forgotten: tuple[str, ...] = ()
    end: End | None = None
    underway: dict[str, Underway] = {}
    undoing: tuple[str, ...] = ()
    cancelled: str | None = None
    children: dict[str, ResumeState] = {}
    trace: str = ""
    begun: int | None = None

    @property
    def steps(self) -> Mapping[str, Entry]:
        """What was journaled, by step key, in the order of the journal. Read-only."""
        return MappingProxyType(self.entries)

    @property
    def pending(self) -> tuple[PendingRecord, ...]:
        """The hooks that the run waits for, in the order in which it came to wait.

        Those of a child too, whose step keys are shown as `child/step`.
        """
        return tuple(_record(wait.hook, wait.path) for wait in _tree.waits(self))

    @property
    def timers(self) -> tuple[TimerRecord, ...]:
        """The steps that sleep or are tried again at a time, in the order in which they came to it."""
        notes = _tree.notes(self)
        return tuple(TimerRecord(path, n.until, n.attempts) for path, n in notes if n.until is not None)

    def to_bytes(self) -> bytes:
        """Give this state as MessagePack."""
        return _wire.encode(self.to_wire())

    def to_wire(self) -> Wire:
        """Give the content of `to_bytes`."""
        return Wire(
            awaitpy=_wire.FORMAT,
            run_id=self.run_id,
            workflow=self.workflow,
            version=self.version,
            revision=self.revision,
            status=self.status,
            args=self.args,
            kwargs=self.kwargs,
            entries=list(self.entries.values()),
            hooks=tuple(self.hooks.values()),
            closed=self.closed,
            forgotten=self.forgotten,
            end=self.end,
            more=self._more(),
            trace=self.trace,
        )

    def _more(self) -> More:
        known = self.underway or self.undoing or self.children
        if not known and self.cancelled is None and self.begun is None:
            return NO_MORE
        return More(
            underway=tuple(self.underway.values()),
            undoing=self.undoing,
            cancelled=self.cancelled,
            begun=self.begun,
            children={key: child.to_wire() for key, child in self.children.items()},
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> ResumeState:
        """Read a state from what `to_bytes` gave. Raises `StateError` for anything else."""
        return _from_wire(_wire.from_bytes(data))

    def to_json(self, *, indent: int = 2) -> str:
        """Give the same content as readable JSON (`indent=0`: on one line)."""
        return _wire.to_json(self.to_bytes(), indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> ResumeState:
        """Read a state from what `to_json` gave. Raises `StateError` for anything else."""
        return cls.from_bytes(_wire.from_json(text))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResumeState):
            return NotImplemented
        return self is other or self.to_bytes() == other.to_bytes()

    def __ne__(self, other: object) -> bool:
        # Not left to Python: the base class has one, by which only the same object is not unequal.
        return NotImplemented if not isinstance(other, ResumeState) else not self == other

    def __hash__(self) -> int:
        return hash((self.run_id, self.revision))

    def __repr__(self) -> str:
        waiting = [wait.hook.hook_id for wait in _tree.waits(self)]
        waits = "".join(f", waits for {hook_id!r}" for hook_id in waiting)
        return (
            f"<ResumeState {self.workflow} run {self.run_id} revision {self.revision}: {self.status}, "
            f"{len(self.entries)} steps{waits}>"
        )


def _record(hook: OpenHook, path: str) -> PendingRecord:
    if hook.since is None:
        raise StateError(f"Hook {hook.hook_id!r} waits since no time: the state is damaged.")
    try:
        metadata = msgspec.msgpack.decode(hook.metadata)
    except (msgspec.MsgspecError, UnicodeError, TypeError) as error:
        raise StateError(f"The metadata of hook {hook.hook_id!r} is damaged: {error}.") from None
    return PendingRecord(
        hook_id=hook.hook_id,
        step_key=path,
        metadata=metadata,
        methods=hook.methods,
        since=hook.since,
        deadline=hook.deadline,
        deliveries=len(hook.deliveries),
    )


def _from_wire(wire: Wire) -> ResumeState:
    entries = {entry.key: entry for entry in wire.entries}
    hooks = {hook.hook_id: hook for hook in wire.hooks}
    if len(entries) != len(wire.entries) or len(hooks) != len(wire.hooks):
        raise StateError("This state has one key twice: it was damaged or written by something else.")
    return ResumeState(
        run_id=wire.run_id,
        workflow=wire.workflow,
        version=wire.version,
        revision=wire.revision,
        status=wire.status,
        args=wire.args,
        kwargs=wire.kwargs,
        entries=entries,
        hooks=hooks,
        closed=wire.closed,
        forgotten=wire.forgotten,
        end=wire.end,
        underway={note.key: note for note in wire.more.underway},
        undoing=wire.more.undoing,
        cancelled=wire.more.cancelled,
        children={key: _from_wire(child) for key, child in wire.more.children.items()},
        trace=wire.trace,
        begun=wire.more.begun,
    )


def changed(state: ResumeState, **changes: Any) -> ResumeState:
    """Give the next revision of a state."""
    return msgspec.structs.replace(state, revision=state.revision + 1, **changes)


def cancel(state: ResumeState, reason: str = "") -> ResumeState:
    """Give a state whose next `resume` ends with `Err(Cancelled(reason))`, its undo included.

    No new step of the workflow runs then, and no wait is answered. A finished run stays as it is, and
    so does one that is being undone or is cancelled already. Raises TypeError or ValueError for a reason
    that is no text.
    """
    reason = text("The reason of a cancellation", reason, "Say why in words, or leave it out.")
    if state.end is not None or state.cancelled is not None or state.undoing:
        return state
    return changed(state, cancelled=reason)


def forget(state: ResumeState, key: str) -> ResumeState:
    """Give a state without the step `key`, so that the next `resume` runs it again.

    All other steps stay, and the step may run again in its old place. Forgetting an answered wait
    makes its hook wait anew; forgetting a step that is tried again later begins its attempts anew.
    A child is forgotten with all that it did, or, by `child/step`, a step of it.
    Raises `UnknownStep`, and `StepMisuse` in a run that was undone.
    """
    if key in state.underway:
        underway = {k: note for k, note in state.underway.items() if k != key}
        return changed(state, underway=underway)
    if key not in state.entries and key not in state.children:
        return _within(state, key, forget)
    children = {k: child for k, child in state.children.items() if k != key}
    if key not in state.entries:
        return _grafted(state, children)
    return _without(state, [key], (*state.forgotten, key), children)


def rewind(state: ResumeState, key: str) -> ResumeState:
    """Give a state without the step `key` and all that was journaled after it.

    Children that have not ended go too; `child/step` rewinds a child alone. Raises `UnknownStep`, and
    `StepMisuse` if a step that was undone came before it.
    """
    if key not in state.entries:
        return _within(state, key, rewind)
    keys = list(state.entries)
    gone = keys[keys.index(key) :]
    kept = set(keys).difference(gone)
    forgotten = tuple(k for k in state.forgotten if k not in set(gone))
    children = {k: child for k, child in state.children.items() if k in kept}
    return msgspec.structs.replace(_without(state, gone, forgotten, children), underway={})


def _within(state: ResumeState, path: str, verb: Callable[[ResumeState, str], ResumeState]) -> ResumeState:
    """Do it to the child that the path leads to, which goes on then, whether it had ended or not."""
    found = _tree.split(state, path)
    if found is None:
        raise UnknownStep(path, state.run_id)
    key, rest = found
    children = {**state.children, key: verb(state.children[key], rest)}
    if key in state.entries:
        return _without(state, [key], (*state.forgotten, key), children)
    return _grafted(state, children)


def _grafted(state: ResumeState, children: dict[str, ResumeState]) -> ResumeState:
    if state.undoing:
        raise _undone(state, state.undoing)
    return changed(state, children=children)


def _without(
    state: ResumeState, keys: list[str], forgotten: tuple[str, ...], children: dict[str, ResumeState]
) -> ResumeState:
    undone = {k for k in state.undoing if k not in keys and (k in state.entries or k in children)}
    if undone or (state.undoing and UNDOING not in keys):
        raise _undone(state, undone or state.undoing)
    entries = dict(state.entries)
    tables = Tables(state)
    over = state.end is not None or bool(state.undoing)
    for key in keys:
        _reopen(entries.pop(key), tables.hooks, tables.closed)
    return changed(
        state,
        entries=entries,
        hooks=tables.hooks,
        closed=tables.closed,
        forgotten=forgotten,
        status="interrupted" if over else state.status,
        end=None,
        underway={} if over else state.underway,
        undoing=(),
        cancelled=None if over else state.cancelled,
        children=children,
    )


def _undone(state: ResumeState, undone: Collection[str]) -> StepMisuse:
    first = next((key for key in state.entries if key in undone), UNDOING)
    return StepMisuse(
        f"Run {state.run_id!r} was undone, {first!r} among its steps, so its journal no longer says what "
        "is so in the world. rewind(state, key) to the first step that was undone, or start a new run."
    )


def _reopen(entry: Entry, hooks: dict[str, OpenHook], closed: dict[str, Closed]) -> None:
    """Undo what the entry did to the hooks: an answered one waits again, a created one is gone."""
    if entry.hook_id is None and entry.kind != RACE:
        return
    for hook_id in [h for h, (_, key) in closed.items() if key == entry.key]:
        del closed[hook_id]
        hooks[hook_id] = OpenHook(hook_id)
    if entry.kind == HOOK and entry.hook_id is not None:
        hooks.pop(entry.hook_id, None)
        closed.pop(entry.hook_id, None)


def append_entries(state: ResumeState, *entries: Entry) -> ResumeState:
    """Give the state that holds these entries too.

    So a store that keeps what `checkpoint` was given, entry by entry, makes a state again after a
    crash. An entry whose key the state has is taken for the same one and skipped. Raises
    `StateError` for an entry that is damaged.
    """
    new = [e for e in entries if e.kind == CUT or _may_be_new(state, e)]
    if not new:
        return state
    tables = Tables(state)
    news: dict[str, list[Entry]] = {}
    for entry in new:
        if entry.kind == CHILD:
            news.setdefault(entry.key, []).append(entry)
        else:
            tables.settle(entry)
    ends = {e.key: e for e in new if e.kind not in {NOTE, CHILD}}
    return changed(
        state,
        entries={**state.entries, **ends},
        children=_grown(tables.children, news, ends),
        hooks=tables.hooks,
        closed=tables.closed,
        underway=tables.underway,
        undoing=tables.undoing,
    )


def _may_be_new(state: ResumeState, entry: Entry) -> bool:
    known = state.entries.get(entry.key)
    # A child that was cut off has more entries, if it is undone later.
    return known is None or (known.kind == CUT and entry.kind == CHILD)


def _grown(
    children: dict[str, ResumeState], news: dict[str, list[Entry]], ends: dict[str, Entry]
) -> dict[str, ResumeState]:
    """Give the children with what is new of them, and the end of those whose value was journaled."""
    for key, entries in news.items():
        children[key] = _grown_child(children.get(key), entries)
    for key in children.keys() & ends.keys():
        child, kind = children[key], ends[key].kind
        if child.end is None and kind != CUT:
            status: Status = "completed" if kind == VALUE else "failed"
            children[key] = changed(child, status=status, end=End(kind == VALUE, recorded=False))
    return children


def _grown_child(child: ResumeState | None, entries: list[Entry]) -> ResumeState:
    added: list[Entry] = []
    try:
        for new in [msgspec.msgpack.decode(entry.payload, type=News) for entry in entries]:
            if new.entry is not None:
                added.append(new.entry)
            elif new.state is not None and (child is None or new.state.version > child.version):
                child, added = _from_wire(_wire.checked(new.state)), []  # it begins, or was migrated
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StateError(f"An entry of the child {entries[0].key!r} is damaged: {error}.") from None
    if child is None:
        raise StateError(f"The child {entries[0].key!r} has entries and no state to begin with.")
    return append_entries(child, *added)
