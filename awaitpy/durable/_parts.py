"""A run as a store keeps it, and as a resume state: taken apart and put together. No effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from awaitpy._state import ResumeState, append_entries
from awaitpy._wire import CHILD, CUT, HOOK, NOTE, VALUE, Entry, News, encode
from awaitpy.durable._store import Line
from awaitpy.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from awaitpy.durable._store import StoredRun

_decode: Final = msgspec.msgpack.Decoder(Entry).decode
_news: Final = msgspec.msgpack.Decoder(News).decode
_ON_THE_WAY: Final = frozenset({NOTE, CHILD})
_UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeError, ValueError, OverflowError, RecursionError)


def is_final(entry: Entry) -> bool:
    """Whether an entry says what became of a step, and not what happened on the way, or in a child."""
    return entry.kind not in _ON_THE_WAY


def created(entry: Entry) -> str | None:
    """Give the hook that an entry makes known, be it one of a child."""
    if entry.kind == VALUE:
        return None
    inner: Entry | None = entry
    while inner is not None and inner.kind == CHILD:
        inner = _news(inner.payload).entry
    return inner.hook_id if inner is not None and inner.kind == HOOK else None


def line(entry: Entry) -> Line:
    """Give an entry as a store keeps it."""
    return Line(encode(entry), created(entry))


def lines(state: ResumeState) -> list[Line]:
    """Give the journal of a state as a store keeps it, when its hooks are known.

    Each was made known with its entry: by this run, or by the one that it was forked from, whose it stays.
    """
    return [Line(encode(entry)) for entry in state.entries.values()]


def bare(state: ResumeState) -> bytes:
    """Give a state without its journal, but for what says that children were cut off: they wait no more."""
    known = ((key, state.entries.get(key)) for key in state.children)
    cut = {key: entry for key, entry in known if entry is not None and entry.kind == CUT}
    return msgspec.structs.replace(state, entries=cut).to_bytes()


def new_hooks(state: ResumeState) -> tuple[str, ...]:
    """Give the hooks that no entry makes known: those that no step created, of the run or of a child."""
    below = (hook_id for child in state.children.values() for hook_id in new_hooks(child))
    if not state.hooks:
        return tuple(below)
    known = {entry.hook_id for entry in state.entries.values() if entry.kind == HOOK}
    return (*(hook_id for hook_id in state.hooks if hook_id not in known), *below)


def join(stored: StoredRun) -> ResumeState:
    """Give the state of a run that was loaded with all its lines. Raises `StateError`."""
    head, count = stored.head, stored.head.settled
    if len(stored.lines) < count:
        raise StateError(
            f"The journal of run {stored.run_id!r} has {len(stored.lines)} lines, and its head accounts "
            f"for {count}. Lines were lost: restore the run from a backup."
        )
    settled = _settled(stored.run_id, stored.lines[:count])
    state = msgspec.structs.replace(ResumeState.from_bytes(head.state), entries=settled)
    return _with_tail(state, stored.lines[count:])


def join_tail(stored: StoredRun) -> ResumeState:
    """Give the state of a run loaded with its tail alone: as of now, and without the older entries.

    Raises `StateError`.
    """
    return _with_tail(ResumeState.from_bytes(stored.head.state), stored.lines)


def _with_tail(state: ResumeState, tail: Sequence[bytes]) -> ResumeState:
    if not tail:
        return state
    new = _decoded(state.run_id, tail)
    _check_once(state.run_id, state.entries, new)
    return append_entries(_without_cuts(state, new), *new)


def _without_cuts(state: ResumeState, new: Iterable[Entry]) -> ResumeState:
    """Give the state without the cut steps that were run after all."""
    run = {entry.key for entry in new if is_final(entry) and entry.kind != CUT}
    kept = {k: e for k, e in state.entries.items() if e.kind != CUT or k not in run}
    return state if len(kept) == len(state.entries) else msgspec.structs.replace(state, entries=kept)


def _settled(run_id: str, settled: Sequence[bytes]) -> dict[str, Entry]:
    """Give the entries for which the head has all that they do beside giving a value."""
    read = _decoded(run_id, settled)
    entries = {entry.key: entry for entry in read}
    if len(entries) == len(settled) and all(map(is_final, read)):
        return entries
    final = [entry for entry in read if is_final(entry)]
    _check_once(run_id, {}, final)
    return {entry.key: entry for entry in final}


def _decoded(run_id: str, read: Sequence[bytes]) -> list[Entry]:
    try:
        return list(map(_decode, read))
    except _UNDECODABLE as error:
        raise StateError(
            f"The journal of run {run_id!r} has a line that is no entry, or a damaged one: {error}. "
            "Restore the run from a backup, or rewind it to a step before that line."
        ) from None


def _check_once(run_id: str, known: Mapping[str, Entry], entries: Iterable[Entry]) -> None:
    """Refuse a key that was journaled twice: only a step that was cut off may be, and the later counts."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        if is_final(entry):
            before = seen.get(entry.key) or known.get(entry.key)
            if before is not None and CUT not in {before.kind, entry.kind}:
                raise StateError(
                    f"The journal of run {run_id!r} has step {entry.key!r} twice: a line was written or "
                    "read twice. Check the store with the contract suite of awaitpy.testing."
                )
            seen[entry.key] = entry
