"""Runs within runs: which children are under way, what they wait for, and whose hook is whose. All pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from awaitpy._guards import is_row

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from awaitpy._state import ResumeState
    from awaitpy._wire import OpenHook, Underway


class Waiting(msgspec.Struct, frozen=True):
    """A hook that a run or a run within it waits for, and the open hooks of the run that it is of."""

    path: str
    hook: OpenHook
    hooks: Mapping[str, OpenHook]


def under_way(
    children: Mapping[str, ResumeState], entries: Container[str]
) -> Iterator[tuple[str, ResumeState]]:
    """Give the children that go on with their parent: those that neither ended nor were cut off."""
    return ((k, child) for k, child in children.items() if k not in entries and child.end is None)


def waits(state: ResumeState) -> Iterable[Waiting]:
    """Give the hooks that a run and its children wait for, in the order in which they came to wait."""
    return waiting(state.hooks, _going_on(state), state.entries)


def _going_on(state: ResumeState) -> Mapping[str, ResumeState]:
    """Give the children whose waits count: not in a run that has ended or is being undone."""
    return {} if state.end is not None or state.undoing else state.children


def waiting(
    hooks: Mapping[str, OpenHook],
    children: Mapping[str, ResumeState],
    entries: Container[str],
    prefix: str = "",
) -> Iterable[Waiting]:
    """Give the hooks that are waited for under these tables, by the time since when."""
    own = [Waiting(f"{prefix}{h.step_key}", h, hooks) for h in hooks.values() if h.step_key is not None]
    if not children:
        return own
    below = [
        waiting(child.hooks, _going_on(child), child.entries, f"{prefix}{key}/")
        for key, child in under_way(children, entries)
    ]
    return heapq.merge(own, *below, key=_since) if below else own


def _since(wait: Waiting) -> float:
    return wait.hook.since.timestamp() if wait.hook.since is not None else 0


def notes(state: ResumeState, prefix: str = "") -> Iterator[tuple[str, Underway]]:
    """Give the notes of steps under way in a run and its children, each with its path."""
    for note in state.underway.values():
        yield f"{prefix}{note.key}", note
    if state.children and state.end is None:
        for key, child in under_way(state.children, () if state.undoing else state.entries):
            yield from notes(child, f"{prefix}{key}/")


def child_with(state: ResumeState, hook_id: str) -> str | None:
    """Give the key of the child in which a hook is, open or closed; None if it is of the run itself."""
    if not state.children or _has(state, hook_id):
        return None
    return next((k for k, child in state.children.items() if _has_within(child, hook_id)), None)


def _has(state: ResumeState, hook_id: str) -> bool:
    return hook_id in state.hooks or hook_id in state.closed


def _has_within(state: ResumeState, hook_id: str) -> bool:
    return _has(state, hook_id) or any(_has_within(c, hook_id) for c in state.children.values())


def open_hook(state: ResumeState, hook_id: str) -> OpenHook | None:
    """Give a hook that is open, in the run or in a child."""
    if hook_id in state.hooks:
        return state.hooks[hook_id]
    found = (open_hook(child, hook_id) for child in state.children.values())
    return next((hook for hook in found if hook is not None), None)


def renamed(state: ResumeState, run_id: str) -> ResumeState:
    """Give a run under another id, and its children under theirs, which begin with it."""
    children = {key: renamed(child, f"{run_id}/{key}") for key, child in state.children.items()}
    return msgspec.structs.replace(state, run_id=run_id, children=children)


def split(state: ResumeState, path: str) -> tuple[str, str] | None:
    """Read `child/step` as the key of a child and a key within it; None if there is no such child."""
    for key in state.children:
        if path.startswith(f"{key}/"):
            return key, path[len(key) + 1 :]
    return None


def below(prefix: str, error: Any) -> Any:
    """Give an error or a wait of a child with its step keys as they are seen from the parent."""
    names = {field.name for field in attrs.fields(error.__class__)}
    changes = {name: _below(prefix, getattr(error, name)) for name in names & _KEYS}
    return attrs.evolve(error, **changes)


def _below(prefix: str, key: Any) -> Any:
    if is_row(key):
        return tuple(_below(prefix, part) for part in key)
    return prefix if key is None else f"{prefix}/{key}"


_KEYS: Final = frozenset({"key", "step_key", "asked", "journaled", "unasked", "nearest"})
