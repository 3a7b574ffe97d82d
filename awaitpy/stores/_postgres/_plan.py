"""What a group of writes does to the runs that it found: pure, so that one transaction is enough."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

from awaitpy.durable._store import Head, HookTaken, Lease, LeaseLost, Line
from awaitpy.stores._jobs import Answer, Append, Create, Hold, Job, Rewrite, Save
from awaitpy.stores._texts import kept


@attrs.define
class Found:
    """A run as it was locked, and as it becomes."""

    run_id: str
    revision: int
    owner: str | None
    token: int
    until: float | None
    mark: int
    due: float | None
    seq: int
    """The number of its next line."""
    saved: Save | Rewrite | None = None
    is_held_otherwise: bool = False

    def has(self, lease: Lease) -> bool:
        """Whether that is its lease."""
        return self.token == lease.token and self.owner == lease.owner

    def is_held(self, now: float) -> bool:
        """Whether somebody has a lease that has not run out."""
        return self.until is not None and self.until > now

    def lease(self) -> Lease | None:
        """Its lease, if it has one."""
        if self.owner is None or self.until is None:
            return None
        return Lease(self.run_id, self.owner, self.token, self.until)


@attrs.define
class NewLine:
    """A line of a journal, with its number."""

    run_id: str
    seq: int
    line: Line
    mark: int


class Plan:
    """Takes jobs one after the other, answers each, and gathers what is to be written."""

    def __init__(
        self, found: Iterable[Found], hooks: dict[str, str], written: set[tuple[str, int]]
    ) -> None:
        self.found: Final = {run.run_id: run for run in found}
        self.created: Final[dict[str, Create]] = {}
        self.erased: Final[set[str]] = set()
        self.lines: Final[list[NewLine]] = []
        self.hooks: Final[dict[str, str]] = {}
        self.rings = False
        self._known, self._written = hooks, written

    def answer(self, job: Job) -> Answer:
        """Take a job."""
        match job:
            case Create():
                return self._create(job)
            case Append():
                return self._append(job)
            case Save():
                return self._save(job)
            case Rewrite():
                return self._rewrite(job)
            case _:
                return self._hold(job)

    def _create(self, job: Create) -> Answer:
        run = self.found.get(job.run_id)
        if run is not None and job.again and run.mark == job.mark:
            return run.lease() or True
        if run is not None or job.run_id in self.created:
            return False
        if taken := self._learn(job):
            return taken
        self.created[job.run_id] = job
        self._ring(job.head.due)
        return True

    def _append(self, job: Append) -> Answer:
        run = self.found.get(job.run_id)
        if run is None or not run.has(job.lease):
            return LeaseLost(job.run_id)
        if (job.run_id, job.mark) in self._written:
            return True
        if taken := self._learn(job):
            return taken
        self._add(run, job)
        return True

    def _save(self, job: Save) -> Answer:
        run = self.found.get(job.run_id)
        if run is not None and job.again and run.mark == job.mark:
            return True
        if job.lease is not None and (run is None or not run.has(job.lease)):
            return LeaseLost(job.run_id)
        if run is None or run.revision != job.revision:
            return False
        if taken := self._learn(job):
            return taken
        if job.lease is not None and job.release:
            run.owner = run.until = None
        self._keep(run, job)
        return True

    def _rewrite(self, job: Rewrite) -> Answer:
        run = self.found.get(job.run_id)
        if run is None:
            return False
        if job.again and run.mark == job.mark:
            return True
        if run.revision != job.revision or run.is_held(job.now):
            return False
        if taken := self._learn(job):
            return taken
        run.owner = run.until = None
        self._keep(run, job)
        self.erased.add(job.run_id)
        self.lines[:] = [new for new in self.lines if new.run_id != job.run_id]
        run.seq = 0
        self._add(run, job)
        return True

    def _hold(self, job: Hold) -> Answer:
        run = self.found.get(job.run_id)
        if run is None or not run.has(job.lease):
            return False
        run.until, run.is_held_otherwise = job.until, True
        if job.until is None:
            run.owner = None
            self._ring(run.due)
        return True

    def _keep(self, run: Found, job: Save | Rewrite) -> None:
        run.revision, run.mark, run.due, run.saved = run.revision + 1, job.mark, job.head.due, job
        self._ring(run.due)

    def _add(self, run: Found, job: Append | Rewrite) -> None:
        new = [NewLine(run.run_id, seq, line, job.mark) for seq, line in enumerate(job.lines, run.seq)]
        self.lines.extend(new)
        run.seq += len(new)

    def _learn(self, job: Job) -> HookTaken | None:
        """Make the hooks of a job known, all of them or none."""
        for hook_id in job.hooks:
            owner = self._known.get(hook_id, job.run_id)
            if owner != job.run_id:
                return HookTaken(hook_id, job.run_id)
        new = [hook_id for hook_id in job.hooks if hook_id not in self._known]
        self._known.update(dict.fromkeys(new, job.run_id))
        self.hooks.update(dict.fromkeys(new, job.run_id))
        return None

    def _ring(self, due: float | None) -> None:
        self.rings = self.rings or due is not None


def head_columns(head: Head) -> tuple[object, ...]:
    """A head in the order of the columns, from workflow to trouble."""
    return (
        head.workflow,
        head.version,
        head.status,
        head.state,
        head.settled,
        head.due,
        head.tries,
        kept(head.trouble),
    )
