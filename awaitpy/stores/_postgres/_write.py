"""Writes a group of jobs on a cursor, in the transaction that it is in."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncCursor
from psycopg.rows import TupleRow

from awaitpy.durable._store import Lease
from awaitpy.stores._jobs import Answer, Append, Create, Job, Rewrite, Save
from awaitpy.stores._postgres._errors import Overtaken
from awaitpy.stores._postgres._plan import Found, Plan, head_columns
from awaitpy.stores._postgres._rows import digests
from awaitpy.stores._postgres._statements import Statements


async def write(
    cursor: AsyncCursor[TupleRow], statements: Statements, jobs: Sequence[Job], *, waits: bool
) -> list[Answer | None]:
    """Give what became of each job. Without `waits`, None for one whose run somebody else has locked."""
    ids = list({job.run_id for job in jobs})
    found = await _lock(cursor, statements, ids, waits=waits)
    missing = set(ids) - {run.run_id for run in found}
    locked = await _locked(cursor, statements, set() if waits else missing)
    plan = Plan(found, await _known(cursor, statements, jobs), await _written(cursor, statements, jobs))
    answers = [None if job.run_id in locked else plan.answer(job) for job in jobs]
    leases = await _execute(cursor, statements, plan)
    return [leases.get(id(job), answer) for job, answer in zip(jobs, answers, strict=True)]


def plain_append(jobs: Sequence[Job]) -> Append | None:
    """The one job, if it is an append without hooks that was not tried before."""
    match jobs:
        case [Append(again=False, hooks=(), lines=[_, *_]) as job]:
            return job
        case _:
            return None


async def write_plain(cursor: AsyncCursor[TupleRow], statements: Statements, job: Append) -> bool:
    """Whether it is written, by one statement. If not, the group finds out why."""
    lease = job.lease
    values = {"run_id": lease.run_id, "token": lease.token, "owner": lease.owner, "mark": job.mark}
    await cursor.execute(statements["append"], {**values, "data": [line.data for line in job.lines]})
    return cursor.rowcount > 0


async def _lock(
    cursor: AsyncCursor[TupleRow], statements: Statements, ids: list[str], *, waits: bool
) -> list[Found]:
    await cursor.execute(statements["lock" if waits else "lock_free"], [ids])
    return [Found(*row) for row in await cursor.fetchall()]


async def _locked(cursor: AsyncCursor[TupleRow], statements: Statements, missing: set[str]) -> set[str]:
    """Which of them are there all the same."""
    if not missing:
        return set()
    await cursor.execute(statements["present"], [list(missing)])
    return {run_id for (run_id,) in await cursor.fetchall()}


async def _known(
    cursor: AsyncCursor[TupleRow], statements: Statements, jobs: Sequence[Job]
) -> dict[str, str]:
    """Whose hooks these are, as far as they are known."""
    hooks = [hook_id for job in jobs for hook_id in job.hooks]
    if not hooks:
        return {}
    await cursor.execute(statements["known"], [hooks])
    return dict(await cursor.fetchall())


async def _written(
    cursor: AsyncCursor[TupleRow], statements: Statements, jobs: Sequence[Job]
) -> set[tuple[str, int]]:
    """The appends that were done by a try whose outcome was unknown."""
    doubtful = [job for job in jobs if isinstance(job, Append) and job.again]
    if not doubtful:
        return set()
    ids, marks = [job.run_id for job in doubtful], [job.mark for job in doubtful]
    await cursor.execute(statements["marks"], [ids, marks])
    return set(await cursor.fetchall())


async def _execute(cursor: AsyncCursor[TupleRow], statements: Statements, plan: Plan) -> dict[int, Lease]:
    """Write it all, and give the leases of the runs that were born with one, by their job."""
    leases = await _create(cursor, statements, list(plan.created.values()))
    if plan.hooks:
        await cursor.execute(statements["know"], [list(plan.hooks), list(plan.hooks.values())])
        if cursor.rowcount < len(plan.hooks):
            raise Overtaken("somebody else has made one of these hooks known")
    if plan.erased:
        await cursor.execute(statements["erase"], [list(plan.erased)])
    if plan.lines:
        rows = [(new.run_id, new.seq, new.line.data, new.mark) for new in plan.lines]
        await cursor.execute(statements["add"], _columns(rows))
    await _update(cursor, statements, plan)
    if plan.rings:
        await cursor.execute(statements["ring"], [statements.channel])
    return leases


async def _create(
    cursor: AsyncCursor[TupleRow], statements: Statements, jobs: list[Create]
) -> dict[int, Lease]:
    leases: dict[int, Lease] = {}
    if not jobs:
        return leases
    await cursor.executemany(statements["create"], [_row(job) for job in jobs], returning=True)
    for job in jobs:
        row = await cursor.fetchone()
        if row is None:
            raise Overtaken(f"somebody else has created run {job.run_id!r}")
        if job.lease is not None:
            owner, until = job.lease
            leases[id(job)] = Lease(job.run_id, owner, row[1], until)
        cursor.nextset()
    return leases


def _row(job: Create) -> dict[str, object]:
    names = ("workflow", "version", "status", "state", "settled", "due", "tries", "trouble")
    owner, until = job.lease or (None, None)
    return {
        **dict(zip(names, head_columns(job.head), strict=True)),
        "run_id": job.run_id,
        "metadata": job.metadata.decode(),
        "items": digests(job.metadata),
        "now": job.now,
        "owner": owner,
        "until": until,
        "mark": job.mark,
    }


async def _update(cursor: AsyncCursor[TupleRow], statements: Statements, plan: Plan) -> None:
    saved = [_saved(run, run.saved) for run in plan.found.values() if run.saved is not None]
    held = [
        (run.run_id, run.owner, run.until)
        for run in plan.found.values()
        if run.saved is None and run.is_held_otherwise
    ]
    if saved:
        await cursor.execute(statements["save"], _columns(saved))
    if held:
        await cursor.execute(statements["hold"], _columns(held))


def _saved(run: Found, job: Save | Rewrite) -> tuple[object, ...]:
    return (run.run_id, run.revision, *head_columns(job.head), job.now, run.owner, run.until, run.mark)


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
