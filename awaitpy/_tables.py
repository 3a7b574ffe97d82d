"""What a state knows beside its entries, hooks and steps under way, and how each entry changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from awaitpy import _wire
from awaitpy._wire import HOOK, NOTE, RACE, UNDO, Entry, OpenHook, Underway
from awaitpy.errors import StateError

if TYPE_CHECKING:
    from awaitpy._state import ResumeState


class Race(msgspec.Struct, frozen=True, array_like=True):
    """What a decided race journals: who won, and the steps and hooks of those who lost."""

    winner: str
    keys: list[str]
    hooks: list[str]


_read = msgspec.msgpack.decode


def race_of(entry: Entry) -> Race:
    """Read how a race was decided. Raises a `MsgspecError` if the entry is damaged."""
    return _read(entry.payload, type=Race)


class Tables:
    """What a state knows beside its entries, as it changes with each of them."""

    __slots__ = ("children", "closed", "hooks", "underway", "undoing")

    def __init__(self, state: ResumeState) -> None:
        self.hooks = dict(state.hooks) if state.hooks else {}
        self.closed = dict(state.closed) if state.closed else {}
        self.underway = dict(state.underway) if state.underway else {}
        self.undoing = state.undoing
        self.children = dict(state.children) if state.children else {}

    def settle(self, entry: Entry) -> None:
        """Do what this entry says. Raises `StateError` if it is damaged."""
        try:
            self._settle(entry)
        except (msgspec.MsgspecError, UnicodeError, AttributeError) as error:
            raise StateError(f"The entry {entry.key!r} is damaged: {error}.") from None

    def _settle(self, entry: Entry) -> None:
        if entry.kind == NOTE:
            self._note(_read(entry.payload, type=Underway))
            return
        if self.underway:
            self.underway.pop(entry.key, None)
        if entry.hook_id is not None:
            self._settle_hook(entry, entry.hook_id)
        elif entry.kind == RACE:
            self._lose(entry.key, _read(entry.payload, type=Race))
        elif entry.kind == UNDO:
            self.undoing = _read(entry.payload, type=tuple[str, ...])

    def _note(self, note: Underway) -> None:
        if note == Underway(note.key):
            self.underway.pop(note.key, None)
        else:
            self.underway[note.key] = note

    def _settle_hook(self, entry: Entry, hook_id: str) -> None:
        """One was created, answered, or expired."""
        hooks = self.hooks
        if entry.kind == HOOK:
            if hook_id not in self.closed and hook_id not in hooks:
                hooks[hook_id] = OpenHook(hook_id, many=_created_many(entry))
            return
        hook = hooks.get(hook_id, OpenHook(hook_id))
        if entry.kind == _wire.TIMEOUT:
            self._close(hook, "expired", entry.key)
        elif hook.many:
            taken = hook.taken if entry.delivery_id is None else (*hook.taken, entry.delivery_id)
            hooks[hook_id] = msgspec.structs.replace(
                hook, step_key=None, taken=taken, deliveries=hook.deliveries[1:]
            )
        else:
            self._close(hook, "answered", entry.key)

    def _close(self, hook: OpenHook, why: Literal["answered", "expired"], key: str) -> None:
        """Close a hook, and the others that it raced with, which have lost."""
        self.closed[hook.hook_id] = (why, key)
        self.hooks.pop(hook.hook_id, None)
        for other in hook.race:
            self.hooks.pop(other, None)
            self.closed[other] = ("lost" if why == "answered" else why, key)

    def _lose(self, key: str, race: Race) -> None:
        """Close the hooks of branches that have lost, and drop what their steps had under way."""
        for hook_id in race.hooks:
            self.hooks.pop(hook_id, None)
            self.closed[hook_id] = ("lost", key)
        for lost in race.keys:
            self.underway.pop(lost, None)


def _created_many(entry: Entry) -> bool:
    return bool(msgspec.msgpack.decode(entry.payload).get("many", False))


def noted(note: Underway) -> Entry:
    """Give the entry that tells a store of a step under way."""
    return Entry(note.key, NOTE, msgspec.Raw(_wire.encode(note)))
