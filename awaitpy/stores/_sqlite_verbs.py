"""The verbs of `SQLiteStore`, wherever their statements are run."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from awaitpy.durable._store import Head, Lease, Line, Query, StoredRun
from awaitpy.stores import _metadata
from awaitpy.stores import _sqlite_queries as queries
from awaitpy.stores import _sqlite_statements as sql

T = TypeVar("T")

_CHUNK: Final = 500
"""Runs that are looked through or removed at a time, so that others get in between."""


class Verbs(ABC):
    """The verbs of `Store` but for `open`, `close` and `changed`."""

    @abstractmethod
    def _write(self, work: Callable[[sqlite3.Connection], T], *, rings: bool = False) -> Awaitable[T]:
        """Give what the work gives, in a transaction that may write; `rings` if a run may become due."""

    @abstractmethod
    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Give what the work gives, in a transaction that only reads."""

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
        work = partial(sql.create, run_id=run_id, head=head, metadata=metadata, now=now, lease=lease)
        return await self._write(work, rings=head.due is not None)

    async def load(self, run_id: str, *, tail: bool = False) -> StoredRun | None:
        """Give a run with its lines; see `Store.load`."""
        return await self._read(partial(queries.load, run_id=run_id, tail=tail))

    def append(self, lease: Lease, lines: Sequence[Line]) -> Awaitable[None]:
        """Add lines to a journal; see `Store.append`."""
        return self._write(partial(sql.append, lease=lease, lines=lines))

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
        work = partial(
            sql.save, run_id=run_id, head=head, revision=revision, now=now, lease=lease, release=release
        )
        return await self._write(work, rings=head.due is not None)

    async def rewrite(
        self, run_id: str, head: Head, lines: Sequence[Line], *, revision: int, now: float
    ) -> bool:
        """Replace the head and the journal of a run; see `Store.rewrite`."""
        work = partial(sql.rewrite, run_id=run_id, head=head, lines=lines, revision=revision, now=now)
        return await self._write(work, rings=head.due is not None)

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
        work = partial(
            sql.claim,
            owner=owner,
            now=now,
            until=until,
            limit=limit,
            run_id=run_id,
            workflows=workflows,
        )
        return await self._write(work)

    async def renew(self, leases: Sequence[Lease], *, until: float) -> list[str]:
        """Make leases last longer; see `Store.renew`."""
        return await self._write(partial(sql.renew, leases=leases, until=until))

    async def release(self, lease: Lease) -> None:
        """End a lease; see `Store.release`."""
        await self._write(partial(sql.release, lease=lease), rings=True)

    async def find(self, hook_id: str) -> str | None:
        """Give the run of a hook; see `Store.find`."""
        return await self._read(partial(queries.find, hook_id=hook_id))

    async def next_due(self, *, now: float, workflows: Sequence[str] | None = None) -> float | None:
        """Give the time of the next run to claim; see `Store.next_due`."""
        return await self._read(partial(queries.next_due, now=now, workflows=workflows))

    async def page(self, query: Query) -> list[StoredRun]:
        """Give a page of runs; see `Store.page`. Metadata is looked through run by run."""
        limit = max(query.limit, _CHUNK) if query.metadata else query.limit
        going: tuple[float, str] | None = queries.NEWEST
        if query.after is not None:
            going = query.after.created, query.after.run_id
        found: list[StoredRun] = []
        while going is not None and len(found) < query.limit:
            runs, going = await self._read(partial(queries.page, query=query, after=going, limit=limit))
            found += [run for run in runs if _metadata.has(run.metadata, query.metadata)]
        return found[: query.limit]

    async def delete(self, run_id: str) -> bool:
        """Remove a run; see `Store.delete`."""
        return await self._write(partial(sql.delete, run_id=run_id))

    async def purge(self, *, before: float, statuses: Sequence[str]) -> int:
        """Remove old runs, some hundreds at a time; see `Store.purge`."""
        work = partial(sql.purge, before=before, statuses=statuses, limit=_CHUNK)
        removed = [await self._write(work)]
        while removed[-1] == _CHUNK:
            removed.append(await self._write(work))
        return sum(removed)
