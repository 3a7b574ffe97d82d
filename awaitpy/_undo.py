"""Undoing: what the completed steps of a failed run have to be undone by, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from awaitpy import errors
from awaitpy._payload import Misfit
from awaitpy._policy import Policy
from awaitpy._wire import UNDO, UNDOING, VALUE, Entry, encode
from awaitpy.errors import StepMisuse
from awaitpy.result import Err

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from awaitpy._payload import Returns


class Undo(msgspec.Struct, frozen=True):
    """A step that has completed, and whose policy says how it is undone."""

    key: str
    returns: Returns
    value: Any
    policy: Policy

    def restored(self, entry: Entry) -> Any:
        """Give the value as the journal has it, whatever became of the one that the workflow got."""
        if entry.kind != VALUE:
            return self.value
        return self.returns.values.decode(entry.payload, entry.form)


def reserved(key: str) -> StepMisuse:
    """Describe a step of a workflow whose key is one of an undo."""
    return StepMisuse(
        f"Step {key!r} has a key that begins with {UNDOING!r}, as only those of the steps do that undo "
        "others. Give it another key."
    )


def no_longer_fails(asked: str | None) -> errors.WorkflowDrift:
    """Describe a run that is being undone since it failed, and whose code now goes on."""
    return errors.WorkflowDrift(asked, UNDOING, (UNDOING,))


def plan(entries: Mapping[str, Entry], undos: Mapping[str, Undo], children: Sequence[str]) -> Entry:
    """Give the entry that says which steps are undone: the last journaled first.

    Before them the children that are under way, the last begun first.
    """
    keys = (*reversed(children), *(key for key in reversed(list(entries)) if key in undos))
    return Entry(UNDOING, UNDO, msgspec.Raw(encode(keys)))


def reported(error: Any, failures: list[errors.NotUndone]) -> Any:
    """Give the error of a run that was undone: its own, or with what could not be undone."""
    return errors.UndoFailed(error, tuple(failures)) if failures else error


async def undo_all(
    step: Any, keys: Iterable[str], entries: Mapping[str, Entry], undos: Mapping[str, Undo]
) -> list[errors.NotUndone]:
    """Undo the steps of the plan, each by a step of its own; give those that could not be undone."""
    failures: list[errors.NotUndone] = []
    for key in keys:
        failed = await _undone(step, key, entries.get(key), undos.get(key))
        if failed is not None:
            failures.append(failed)
    return failures


async def _undone(step: Any, key: str, entry: Entry | None, undo: Undo | None) -> errors.NotUndone | None:
    if entry is None or undo is None or undo.policy.undo is None:
        return errors.NotUndone(key, "the code no longer says how")
    try:
        value = undo.restored(entry)
    except Misfit as misfit:
        return errors.NotUndone(key, misfit.problem)
    undoes, policy = undo.policy.undo, undo.policy
    under = step.under(Policy(retry=policy.retry, timeout=policy.timeout, settles=True))
    given = await under.attempt(key, lambda: undoes(value))
    if given.__class__ is not Err:
        return None
    return errors.NotUndone(key, getattr(given.error, "reason", str(given.error)))
