"""What `Durable` shows of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import attrs

from awaitpy._state import PendingRecord, ResumeState
from awaitpy._wire import Status
from awaitpy.durable._store import StoredRun
from awaitpy.errors import StateError


@attrs.frozen
class RunRecord:
    """A run as the store has it, without its journal. Times are aware, in UTC.

    Attributes:
        run_id: its id.
        workflow: the name of its workflow.
        version: the version of the workflow under which it began.
        status: that of its state, as of the last leg or delivery.
        metadata: what it was started with.
        created: when it was started or queued.
        updated: when its head was last saved.
        due: when somebody next looks at it; None for never.
        tries: unexpected errors in a row.
        trouble: the traceback of the last of them.
        leased_by: the owner of the last lease that was not ended, and until when it lasts.
        pending: the hooks that it waits for.
    """

    run_id: str
    workflow: str
    version: int
    status: Status
    metadata: Mapping[str, Any]
    created: datetime
    updated: datetime
    due: datetime | None
    tries: int
    trouble: str | None
    leased_by: tuple[str, datetime] | None
    pending: tuple[PendingRecord, ...]
    stored: StoredRun = attrs.field(repr=False, eq=False)
    """The run as the store gave it."""

    @property
    def parked(self) -> bool:
        """Whether it is interrupted and will not be tried again by itself."""
        return self.status == "interrupted" and self.due is None


@attrs.frozen
class RunHook:
    """A hook that a run of the store waits for."""

    run_id: str
    workflow: str
    hook: PendingRecord


def record(stored: StoredRun) -> RunRecord:
    """Show a run; one whose state is damaged is shown without hooks."""
    head, lease = stored.head, stored.lease
    return RunRecord(
        run_id=stored.run_id,
        workflow=head.workflow,
        version=head.version,
        status=cast("Status", head.status),
        metadata=stored.metadata,
        created=_time(stored.created),
        updated=_time(stored.updated),
        due=None if head.due is None else _time(head.due),
        tries=head.tries,
        trouble=head.trouble,
        leased_by=None if lease is None else (lease.owner, _time(lease.until)),
        pending=_pending(stored),
        stored=stored,
    )


def hooks(stored: StoredRun) -> list[RunHook]:
    """Give the hooks that a run waits for."""
    return [RunHook(stored.run_id, stored.head.workflow, hook) for hook in _pending(stored)]


def _pending(stored: StoredRun) -> tuple[PendingRecord, ...]:
    try:
        return ResumeState.from_bytes(stored.head.state).pending
    except StateError:
        return ()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
