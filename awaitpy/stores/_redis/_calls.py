"""From a write to the arguments of its script, and from a reply to what it means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from awaitpy.durable._store import Head, HookTaken, Lease, LeaseLost, Line, Query, StoredRun
from awaitpy.stores import _metadata
from awaitpy.stores._jobs import Answer, Append, Create, Job, Rewrite, Save
from awaitpy.stores._redis import _scripts
from awaitpy.stores._redis._scripts import Script
from awaitpy.stores._texts import kept

Argument: TypeAlias = str | bytes | int
MARK = 8
"""Bytes in front of each line: the mark of its append."""


def call_of(job: Job, window: int) -> tuple[Script, list[Argument]]:
    """The script for a job, and its arguments. `window` is how many lines its group adds to the run."""
    match job:
        case Create():
            owner, until = ("", "") if job.lease is None else (job.lease[0], time(job.lease[1]))
            words: list[Argument] = [job.run_id, _mark(job), time(job.now), job.metadata, owner, until]
            return _scripts.create, [*words, *head_words(job.head), *listed(job.hooks)]
        case Append():
            words = [job.run_id, _mark(job), job.lease.owner, job.lease.token]
            words.append(0 if job.again else window)
            return _scripts.append, [*words, *_data(job.lines), *listed(job.hooks)]
        case Save():
            owner, token = ("", "") if job.lease is None else (job.lease.owner, str(job.lease.token))
            words = [job.run_id, _mark(job), time(job.now), job.revision, owner, token]
            words.append(int(job.lease is not None and job.release))
            return _scripts.save, [*words, *head_words(job.head), *listed(job.hooks)]
        case Rewrite():
            words = [job.run_id, _mark(job), time(job.now), job.revision, *head_words(job.head)]
            return _scripts.rewrite, [*words, *_data(job.lines), *listed(job.hooks)]
        case _:
            words = [job.run_id, job.lease.owner, job.lease.token, time(job.until)]
            return _scripts.hold, words


def answer(job: Job, reply: Sequence[bytes]) -> Answer:
    """What a reply says about the job."""
    match reply[0]:
        case b"ok" if isinstance(job, Create) and job.lease is not None:
            return Lease(job.run_id, job.lease[0], int(reply[1]), job.lease[1])
        case b"lost":
            return LeaseLost(job.run_id)
        case b"taken":
            return HookTaken(reply[1].decode(), job.run_id)
        case said:
            return said == b"ok"


def head_words(head: Head) -> list[Argument]:
    """A head in the order of its fields in the hash."""
    trouble = kept(head.trouble)
    return [
        head.workflow,
        head.version,
        head.status,
        head.state,
        head.settled,
        time(head.due),
        head.tries,
        "" if trouble is None else f"+{trouble}",
    ]


def listed(words: Iterable[Argument]) -> list[Argument]:
    """Arguments behind their number."""
    found = list(words)
    return [len(found), *found]


def time(at: float | None) -> str:
    """A time as it is kept: with all its digits. None is nothing."""
    return "" if at is None else repr(float(at))


def stored_run(row: Sequence[bytes], lines: Sequence[bytes] = ()) -> StoredRun:
    """A run from its fields, in the order of the script."""
    revision, workflow, version, status, state, settled, due, tries, trouble, *rest = row
    metadata, created, updated, owner, token, until, run_id = rest
    name = run_id.decode()
    return StoredRun(
        run_id=name,
        revision=int(revision),
        head=Head(
            workflow=workflow.decode(),
            version=int(version),
            status=status.decode(),
            state=state,
            settled=int(settled),
            due=float(due) if due else None,
            tries=int(tries),
            trouble=trouble[1:].decode() if trouble else None,
        ),
        metadata=_metadata.decode(metadata),
        created=float(created),
        updated=float(updated),
        lease=Lease(name, owner.decode(), int(token), float(until)) if until else None,
        lines=tuple(line[MARK:] for line in lines),
    )


def fits(run: StoredRun, query: Query) -> bool:
    """Whether a run is one that a query asks for."""
    return (
        query.workflow in {None, run.head.workflow}
        and query.status in {None, run.head.status}
        and _metadata.has(run.metadata, query.metadata)
    )


def _mark(job: Job) -> bytes:
    return job.mark.to_bytes(MARK, "big")


def _data(lines: Iterable[Line]) -> list[Argument]:
    return listed(line.data for line in lines)
