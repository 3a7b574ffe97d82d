"""The verbs of a store on a server that write: each is made into a job, whoever writes that."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from awaitpy.durable._store import Head, Lease, Line, StoreError
from awaitpy.stores import _metadata
from awaitpy.stores._group import GroupWriter
from awaitpy.stores._jobs import Answer, Append, Create, Doubts, Hold, Job, Rewrite, Save
from awaitpy.stores._texts import check_texts


class Writes(ABC):
    """The verbs that may share a transaction with writes of the application."""

    @abstractmethod
    async def _write_job(self, job: Job) -> Answer | None:
        """Give what became of a job; what refused it is raised."""

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
        kept = _metadata.encode(metadata)
        job = Create(run_id=run_id, head=head, metadata=kept, now=now, lease=lease)
        answer = await self._do(job, head.workflow, head.status, None if lease is None else lease[0])
        return answer if isinstance(answer, Lease) else answer is True

    async def append(self, lease: Lease, lines: Sequence[Line]) -> None:
        """Add lines to a journal; see `Store.append`."""
        await self._do(Append(lease=lease, lines=tuple(lines)))

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
        job = Save(run_id=run_id, head=head, revision=revision, now=now, lease=lease, release=release)
        return await self._do(job, head.workflow, head.status) is True

    async def _do(self, job: Job, *texts: str | None) -> Answer | None:
        check_texts(job.run_id, *job.hooks, *texts)
        return await self._write_job(job)


class GroupedWrites(Writes):
    """All verbs that write a known run. What several tasks write at the same moment goes together."""

    def __init__(self) -> None:
        self._writer: Final = GroupWriter(self._write)
        self._doubts: Final = Doubts()

    @abstractmethod
    async def _write(self, jobs: list[Job], *, alone: bool) -> Sequence[Answer | None]:
        """Give what became of each of these jobs; see `GroupWriter`."""

    async def append(self, lease: Lease, lines: Sequence[Line]) -> None:
        """Add lines to a journal; see `Store.append`.

        After a StoreError the lines may be written all the same, if the connection was lost meanwhile.
        Append them again: they are not written twice.
        """
        job = self._doubts.append(lease, tuple(lines))
        try:
            await self._do(job)
        except StoreError:
            self._doubts.keep(job)
            raise

    async def rewrite(
        self, run_id: str, head: Head, lines: Sequence[Line], *, revision: int, now: float
    ) -> bool:
        """Replace the head and the journal of a run; see `Store.rewrite`."""
        job = Rewrite(run_id=run_id, head=head, lines=tuple(lines), revision=revision, now=now)
        return await self._do(job, head.workflow, head.status) is True

    async def renew(self, leases: Sequence[Lease], *, until: float) -> list[str]:
        """Make leases last longer; see `Store.renew`."""
        held = await asyncio.gather(*[self._do(Hold(lease=lease, until=until)) for lease in leases])
        return [lease.run_id for lease, is_held in zip(leases, held, strict=True) if not is_held]

    async def release(self, lease: Lease) -> None:
        """End a lease; see `Store.release`."""
        await self._do(Hold(lease=lease, until=None))

    async def _write_job(self, job: Job) -> Answer:
        return await self._writer.do(job)
