"""What a run tells an observer, while it runs: `Runner(on_event=...)` is called with each `Event`.

A leg tells `run.started` first, and last one of `run.suspended`, `run.completed`, `run.failed`,
`run.interrupted` and `run.cut`. Each `step.started`, which is told at each attempt, is followed by
exactly one of `step.completed`, `step.failed`, `step.raised`, `step.retried`, `step.cut` and
`step.waiting` of the same key. A `resume` that runs nothing, because the run is finished or refused,
tells nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

EventName = Literal[
    "run.started",
    "run.undoing",
    "run.suspended",
    "run.completed",
    "run.failed",
    "run.interrupted",
    "run.cut",
    "step.started",
    "step.retried",
    "step.completed",
    "step.failed",
    "step.raised",
    "step.cut",
    "step.waiting",
    "step.replayed",
    "hook.waiting",
    "hook.answered",
    "hook.expired",
    "timer.waiting",
    "timer.elapsed",
    "race.won",
]


class Event(msgspec.Struct, frozen=True):
    """One thing that happened: `name` says what, `key` in which step, `detail` with what.

    `detail` is the typed error of a `step.failed`, the exception of a `step.raised`, a `Retried` of a
    `step.retried`, the run's error of a `run.failed` or `run.interrupted`, the exception that went
    through a `run.cut`, the error of a `run.undoing`, the hook id of a `hook.*`, the time of a
    `timer.waiting`, else None. A suspension is no error: it is told by `step.waiting`, `hook.waiting`,
    `timer.waiting` and `run.suspended` only.

    `workflow`, `revision` and `trace` are those of the state that the leg began with. `leg` tells
    apart the legs that one process runs, also of one run, and means nothing in another process.
    """

    name: EventName
    run_id: str
    key: str | None = None
    detail: Any = None
    workflow: str = ""
    leg: int = 0
    revision: int = 0
    trace: str = ""


class Retried(msgspec.Struct, frozen=True):
    """Why a step is tried again: its `attempt` (the first is 1) gave `error`; in `delay` seconds."""

    attempt: int
    delay: float
    error: Any = None
