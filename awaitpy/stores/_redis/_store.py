"""`RedisStore`: the verbs of a store, as scripts that Redis runs."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from awaitpy.durable._store import Lease, Query, StoredRun
from awaitpy.stores._bell import Bell
from awaitpy.stores._jobs import Answer, Append, Job
from awaitpy.stores._missing import missing

try:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError
except ImportError as error:
    raise missing("RedisStore", "redis-py", "redis") from error

from awaitpy.stores._redis import _scripts
from awaitpy.stores._redis._calls import Argument, answer, call_of, fits, listed, stored_run, time
from awaitpy.stores._redis._link import Link, store_error
from awaitpy.stores._redis._listener import RedisListener
from awaitpy.stores._texts import are_texts, check_texts, is_text
from awaitpy.stores._writes import GroupedWrites

AT_ONCE = 200
"""How many runs a script looks at, so that nobody waits for it long."""


class RedisStore(GroupedWrites):
    """A store in Redis 6 or newer, or in Valkey, for any number of processes.

    `url` is `redis://host:6379/0` or another that redis-py takes. `client` is a `redis.asyncio.Redis`
    of the application instead, which stays open. All keys begin with `prefix`. A call that fails for a
    reason that may pass, such as a lost connection, is tried again for `patience` seconds.

    What is written is as durable as the server is set up to be, and no more:

    - `appendonly yes` with `appendfsync always`: on disk when the verb returns.
    - `appendonly yes` with `appendfsync everysec`: a crash of the machine may lose the last second or two,
      so that steps run a second time and deliveries that were answered with 200 are gone.
    - Snapshots only, which is Redis's default: a crash loses all since the last one, often minutes.
    - A failover to a replica loses what the replica did not have yet, whatever the disk has: replication
      does not wait.

    `maxmemory-policy` has to be `noeviction`, or Redis throws runs away. Supported is one primary, with or
    without replicas; Redis Cluster is not.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        client: Redis | None = None,
        prefix: str = "awaitpy",
        patience: float = 10.0,
    ) -> None:
        super().__init__()
        self._link: Final = Link(url, client, prefix, patience)
        self._bell: Final = Bell()
        self._listener: Final = RedisListener(self._link, self._bell)

    async def open(self) -> None:
        """Connect, and let the server know the scripts; see `Store.open`.

        A server that refuses is told at once, and one that does not answer after `patience` seconds.
        """
        await self._link.open()

    async def close(self) -> None:
        """Write what was asked for, and let go of the connections; see `Store.close`."""
        await self._writer.finish()
        await self._listener.stop()
        await self._link.close()

    async def load(self, run_id: str, *, tail: bool = False) -> StoredRun | None:
        """Give a run with its lines; see `Store.load`."""
        if not is_text(run_id):
            return None
        found = await self._link.call(_scripts.load, [run_id, int(tail)])
        return None if found is None else stored_run(*found)

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
        if run_id is not None and not is_text(run_id):
            return []
        check_texts(owner)
        mark = secrets.token_hex(8)
        words: list[Argument] = [mark, owner, time(now), time(until), limit]
        words += [int(workflows is None), *_listed(workflows)]
        words += [] if run_id is None else [run_id]
        found = await self._link.call(_scripts.claim, words)
        pairs = zip(found[::2], found[1::2], strict=True)
        return [Lease(name.decode(), owner, int(token), until) for name, token in pairs]

    async def find(self, hook_id: str) -> str | None:
        """Give the run of a hook; see `Store.find`."""
        if not is_text(hook_id):
            return None
        found = await self._link.call(_scripts.find, [hook_id])
        return None if found is None else found.decode()

    async def next_due(self, *, now: float, workflows: Sequence[str] | None = None) -> float | None:  # noqa: ARG002  the index has both times
        """Give the time of the next run to claim; see `Store.next_due`."""
        words = [int(workflows is None), *_listed(workflows)]
        soonest = await self._link.call(_scripts.next_due, words)
        return None if soonest is None else float(soonest)

    async def page(self, query: Query) -> list[StoredRun]:
        """Give a page of runs; see `Store.page`.

        A query by status, or else by workflow, reads only those; one by metadata looks at all of these.
        """
        runs: list[StoredRun] = []
        last = query.after
        while are_texts(query.workflow, query.status) and len(runs) < query.limit:
            seen = await self._page(query, last)
            runs += [run for run in seen if fits(run, query)]
            if len(seen) < AT_ONCE:
                break
            last = seen[-1]
        return runs[: query.limit]

    async def delete(self, run_id: str) -> bool:
        """Remove a run; see `Store.delete`."""
        return is_text(run_id) and await self._link.call(_scripts.delete, [run_id]) == 1

    async def purge(self, *, before: float, statuses: Sequence[str]) -> int:
        """Remove old runs, some at a time; see `Store.purge`."""
        counts = [await self._purge(before, status) for status in filter(is_text, statuses)]
        return sum(counts)

    def changed(self, timeout: float) -> Coroutine[Any, Any, None]:
        """Return when a run may have become due, or in time; see `Store.changed`."""
        self._listener.start()
        return self._bell.wait(timeout)

    async def _write(self, jobs: list[Job], *, alone: bool) -> list[Answer]:  # noqa: ARG002  a script waits for nobody
        added = Counter(job.run_id for job in jobs if isinstance(job, Append) for _ in job.lines)
        calls = [call_of(job, added[job.run_id]) for job in jobs]
        replies = await self._link.call_all(calls)
        return [
            store_error(reply) if isinstance(reply, RedisError) else answer(job, reply)
            for job, reply in zip(jobs, replies, strict=True)
        ]

    async def _page(self, query: Query, last: StoredRun | None) -> list[StoredRun]:
        after = ["", ""] if last is None else [time(last.created), last.run_id]
        rows = await self._link.call(_scripts.page, [_index(query), AT_ONCE, *after])
        return [stored_run(row) for row in rows]

    async def _purge(self, before: float, status: str) -> int:
        kept: int = 0
        purged: int = 0
        while True:
            words: list[Argument] = [status, kept, AT_ONCE, time(before)]
            seen, removed = await self._link.call(_scripts.purge, words)
            kept, purged = kept + seen - removed, purged + removed
            if seen < AT_ONCE:
                return purged


def _index(query: Query) -> str:
    """The set of runs, sorted by creation, that has all that the query asks for, and not many more."""
    if query.status is not None:
        return f"status:{query.status}"
    return "runs" if query.workflow is None else f"workflow:{query.workflow}"


def _listed(workflows: Sequence[str] | None) -> list[Argument]:
    return listed(dict.fromkeys(name for name in workflows or () if is_text(name)))
