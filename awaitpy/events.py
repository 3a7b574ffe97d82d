"""What a run tells an observer, while it runs: `Runner(on_event=...)` is called with each `Event`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

EventName = Literal[
    "run.started",
    "run.suspended",
    "run.completed",
    "run.failed",
    "run.interrupted",
    "step.started",
    "step.completed",
    "step.failed",
    "step.replayed",
    "step.retried",
    "hook.waiting",
    "hook.answered",
    "hook.expired",
    "timer.waiting",
    "run.undoing",
]


class Event(msgspec.Struct, frozen=True):
    """One thing that happened: `name` says what, `key` in which step, `detail` with what.

    `detail` is the typed error of a `step.failed`, the run's error of a `run.failed` or
    `run.interrupted`, the hook id of a `hook.*`, else None. A suspension is no error: it is told by
    `hook.waiting` and `run.suspended` only.
    """

    name: EventName
    run_id: str
    key: str | None = None
    detail: Any = None
