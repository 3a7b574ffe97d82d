"""Which hook a test means."""

from __future__ import annotations

from awaitpy import ResumeState, get_pending_hooks


def find_hook(state: ResumeState, to: str | None) -> str:
    """Give the id of the hook `to`: by its id, or by the step that created it or waits for it.

    None means the only hook that the run waits for; AssertionError if it waits for none or several.
    """
    if to is None:
        return _only_hook(state)
    entry = state.steps.get(to)
    if entry is not None and entry.hook_id is not None:
        return entry.hook_id
    return next((record.hook_id for record in state.pending if record.step_key == to), to)


def _only_hook(state: ResumeState) -> str:
    waiting = get_pending_hooks(state)
    if len(waiting) == 1:
        return waiting[0]
    created = [entry.key for entry in state.steps.values() if entry.hook_id in waiting]
    raise AssertionError(
        f"The run ({state.status}) waits for {len(waiting)} hooks, not for one"
        + (f": say which by to=, of {', '.join(map(repr, created or waiting))}." if waiting else ".")
    )
