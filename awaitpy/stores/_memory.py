"""Runs in the memory of one process: for tests, and for runs that may go when the process goes."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from awaitpy.durable._store import Head, HookTaken, Lease, LeaseLost, Line, Query, StoredRun
from awaitpy.stores import _metadata
from awaitpy.stores._bell import Bell
from awaitpy.stores._texts import check_texts, kept


class _Run(msgspec.Struct, kw_only=True):
    head: Head
    metadata: bytes
    created: float
    updated: float
    revision: int = 1
    lease: Lease | None = None
    lines: list[bytes] = []

    def held(self, now: float) -> bool:
        return self.lease is not None and self.lease.until > now

    def free_at(self) -> float:
        """When `claim` may give it, if it is due: nobody asks this of one that never is."""
        due = self.head.due or 0.0
        return due if self.lease is None else max(due, self.lease.until)

    def keep(self, head: Head, now: float) -> None:
        self.head, self.updated = _kept(head), now
        self.revision += 1

    def shown(self, run_id: str, lines: Sequence[bytes] = ()) -> StoredRun:
        return StoredRun(
            run_id=run_id,
            revision=self.revision,
            head=self.head,
            metadata=_metadata.decode(self.metadata),
            created=self.created,
            updated=self.updated,
            lease=self.lease,
            lines=tuple(lines),
        )


class MemoryStore:
    """A store in the memory of this process: what it has goes with the process.

    It outlives `close`, so that a test can let a second `Durable` go on where the first one ended.
    """

    def __init__(self) -> None:
        self._runs: Final[dict[str, _Run]] = {}
        self._hooks: Final[dict[str, str]] = {}
        self._token = 0
        self._bell: Final = Bell()

    async def open(self) -> None:
        """Nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Nothing: the runs stay where they are."""

    async def create(
        self,
        run_id: str,
        head: Head,
        *,
        metadata: Mapping[str, Any],
        now: float,
        lease: tuple[str, float] | None = None,
    ) -> Lease | bool:
        """Add a run; see `Store.create`."""
        check_texts(run_id, head.workflow, head.status, None if lease is None else lease[0])
        if run_id in self._runs:
            return False
        items = _metadata.encode(metadata)
        self._know(run_id, head.hooks)
        run = _Run(head=_kept(head), metadata=items, created=now, updated=now)
        self._runs[run_id] = run
        self._ring(run)
        return True if lease is None else self._lease(run_id, *lease)

    async def load(self, run_id: str, *, tail: bool = False) -> StoredRun | None:
        """Give a run with its lines; see `Store.load`."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        return run.shown(run_id, run.lines[run.head.settled if tail else 0 :])

    async def append(self, lease: Lease, lines: Sequence[Line]) -> None:
        """Add lines to a journal; see `Store.append`."""
        run = self._leased(lease)
        self._know(lease.run_id, _hooks(lines))
        run.lines.extend(line.data for line in lines)

    async def save(
        self,
        run_id: str,
        head: Head,
        *,
        revision: int,
        now: float,
        lease: Lease | None = None,
        release: bool = False,
    ) -> bool:
        """Replace the head of a run; see `Store.save`."""
        check_texts(run_id, head.workflow, head.status)
        run = self._runs.get(run_id) if lease is None else self._leased(lease)
        if run is None or run.revision != revision:
            return False
        self._know(run_id, head.hooks)
        run.keep(head, now)
        if lease is not None and release:
            run.lease = None
        self._ring(run)
        return True

    async def rewrite(
        self, run_id: str, head: Head, lines: Sequence[Line], *, revision: int, now: float
    ) -> bool:
        """Replace the head and the journal of a run; see `Store.rewrite`."""
        check_texts(run_id, head.workflow, head.status)
        run = self._runs.get(run_id)
        if run is None or run.revision != revision or run.held(now):
            return False
        self._know(run_id, (*head.hooks, *_hooks(lines)))
        run.keep(head, now)
        run.lease, run.lines = None, [line.data for line in lines]
        self._ring(run)
        return True

    async def claim(
        self,
        owner: str,
        *,
        now: float,
        until: float,
        limit: int = 1,
        run_id: str | None = None,
        workflows: Sequence[str] | None = None,
    ) -> list[Lease]:
        """Lease runs; see `Store.claim`."""
        check_texts(owner)
        if run_id is not None:
            asked = self._runs.get(run_id)
            free = [] if asked is None or asked.held(now) else [run_id]
        else:
            free = [found for found, run in self._due(workflows) if run.free_at() <= now][:limit]
        return [self._lease(found, owner, until) for found in free]

    async def renew(self, leases: Sequence[Lease], *, until: float) -> list[str]:
        """Make leases last longer; see `Store.renew`."""
        for lease in leases:
            if self._is_current(lease):
                self._runs[lease.run_id].lease = msgspec.structs.replace(lease, until=until)
        return [lease.run_id for lease in leases if not self._is_current(lease)]

    async def release(self, lease: Lease) -> None:
        """End a lease; see `Store.release`."""
        if self._is_current(lease):
            run = self._runs[lease.run_id]
            run.lease = None
            self._ring(run)

    async def find(self, hook_id: str) -> str | None:
        """Give the run of a hook; see `Store.find`."""
        return self._hooks.get(hook_id)

    async def next_due(self, *, now: float, workflows: Sequence[str] | None = None) -> float | None:  # noqa: ARG002  the stores that index it need the time
        """Give the time of the next run to claim; see `Store.next_due`."""
        return min((run.free_at() for _, run in self._due(workflows)), default=None)

    async def page(self, query: Query) -> list[StoredRun]:
        """Give a page of runs; see `Store.page`."""
        found = [run.shown(run_id) for run_id, run in self._runs.items() if _fits(run, query)]
        found.sort(key=_place, reverse=True)
        if query.after is not None:
            found = [run for run in found if _place(run) < _place(query.after)]
        return found[: query.limit]

    async def delete(self, run_id: str) -> bool:
        """Remove a run; see `Store.delete`."""
        if self._runs.pop(run_id, None) is None:
            return False
        for hook_id in [known for known, of in self._hooks.items() if of == run_id]:
            del self._hooks[hook_id]
        return True

    async def purge(self, *, before: float, statuses: Sequence[str]) -> int:
        """Remove old runs; see `Store.purge`."""
        old = [
            run_id
            for run_id, run in self._runs.items()
            if run.updated < before and run.head.status in statuses
        ]
        for run_id in old:
            await self.delete(run_id)
        return len(old)

    def changed(self, timeout: float) -> Coroutine[Any, Any, None]:
        """Return when a run may have become due, or in time; see `Store.changed`."""
        return self._bell.wait(timeout)

    def _know(self, run_id: str, hooks: Iterable[str]) -> None:
        """Put hooks into the index, all of them or none."""
        new = dict.fromkeys(hooks, run_id)
        check_texts(*new)
        for hook_id in new:
            if self._hooks.get(hook_id, run_id) != run_id:
                raise HookTaken(hook_id, run_id)
        self._hooks.update(new)

    def _due(self, workflows: Sequence[str] | None) -> list[tuple[str, _Run]]:
        """Give the runs of these workflows that are due some time, the longest due first."""
        runs = [
            (run_id, run)
            for run_id, run in self._runs.items()
            if run.head.due is not None and (workflows is None or run.head.workflow in workflows)
        ]
        return sorted(runs, key=lambda run: run[1].head.due or 0.0)

    def _lease(self, run_id: str, owner: str, until: float) -> Lease:
        self._token += 1
        lease = Lease(run_id, owner, self._token, until)
        self._runs[run_id].lease = lease
        return lease

    def _is_current(self, lease: Lease) -> bool:
        run = self._runs.get(lease.run_id)
        return run is not None and run.lease is not None and run.lease.token == lease.token

    def _leased(self, lease: Lease) -> _Run:
        if not self._is_current(lease):
            raise LeaseLost(lease.run_id)
        return self._runs[lease.run_id]

    def _ring(self, run: _Run) -> None:
        if run.head.due is not None:
            self._bell.ring()


def _kept(head: Head) -> Head:
    return msgspec.structs.replace(head, hooks=(), trouble=kept(head.trouble))


def _hooks(lines: Sequence[Line]) -> list[str]:
    return [line.hook_id for line in lines if line.hook_id is not None]


def _fits(run: _Run, query: Query) -> bool:
    return (
        query.workflow in {None, run.head.workflow}
        and query.status in {None, run.head.status}
        and _metadata.has(_metadata.decode(run.metadata), query.metadata)
    )


def _place(run: StoredRun) -> tuple[float, str]:
    return run.created, run.run_id
