"""The verbs of a store as SQLite statements, in a transaction that the caller begins and commits.

Each function looks first and writes then: what it refuses, it has not begun to write.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from awaitpy.durable._store import Head, HookTaken, Lease, LeaseLost, Line, Query, StoredRun
from awaitpy.stores import _metadata

if TYPE_CHECKING:
    from sqlite3 import Connection

_RUN: Final = (
    "SELECT run_id, revision, owner, token, until, created, updated, metadata, "
    "workflow, version, status, settled, due, tries, trouble, state, id FROM awaitpy_runs "
)
_HEAD: Final = (
    "workflow = ?, version = ?, status = ?, state = ?, settled = ?, due = ?, tries = ?, trouble = ?"
)
_FREE: Final = "owner = NULL, token = NULL, until = NULL"
_SAVE: Final = "UPDATE awaitpy_runs SET revision = revision + 1, updated = ?, " + _HEAD  # noqa: S608  all of it is here
_SAVE_HELD: Final = _SAVE + " WHERE id = ?"
_SAVE_FREE: Final = f"{_SAVE}, {_FREE} WHERE id = ?"
_RELEASE: Final = "UPDATE awaitpy_runs SET " + _FREE + " WHERE run_id = ? AND token = ?"  # noqa: S608  the same
_CREATE: Final = """
INSERT INTO awaitpy_runs (revision, run_id, metadata, created, updated,
                          workflow, version, status, state, settled, due, tries, trouble)
VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LEASE: Final = "UPDATE awaitpy_runs SET owner = ?, token = ?, until = ? WHERE id = ?"
_END: Final = """
SELECT id, (SELECT place FROM awaitpy_lines WHERE place >= id << 32 AND place < id + 1 << 32
            ORDER BY place DESC LIMIT 1)
FROM awaitpy_runs WHERE run_id = ? AND token = ?
"""
_DUE: Final = """
SELECT due, id, run_id FROM awaitpy_runs INDEXED BY awaitpy_runs_due
WHERE workflow = ? AND due <= ? AND (until IS NULL OR until <= ?) ORDER BY due LIMIT ?
"""
_NEXT_DUE: Final = """
SELECT due FROM awaitpy_runs INDEXED BY awaitpy_runs_due
WHERE workflow = ? AND due IS NOT NULL AND (until IS NULL OR until <= ?) ORDER BY due LIMIT 1
"""
_NEXT_OVER: Final = """
SELECT workflow, max(due, until) FROM awaitpy_runs INDEXED BY awaitpy_runs_leased
WHERE until > ? AND due IS NOT NULL
"""
# How to find the different values at the head of an index without reading all of it: each by one look.
_FIRST_WORKFLOW: Final = """
SELECT workflow FROM awaitpy_runs INDEXED BY awaitpy_runs_due
WHERE due IS NOT NULL ORDER BY workflow LIMIT 1
"""
_NEXT_WORKFLOW: Final = """
SELECT workflow FROM awaitpy_runs INDEXED BY awaitpy_runs_due
WHERE workflow > ? AND due IS NOT NULL ORDER BY workflow LIMIT 1
"""
_FIRST_GROUP: Final = """
SELECT status, workflow FROM awaitpy_runs INDEXED BY awaitpy_runs_listed
ORDER BY status, workflow LIMIT 1
"""
_SAME_STATUS: Final = """
SELECT status, workflow FROM awaitpy_runs INDEXED BY awaitpy_runs_listed
WHERE status = ? AND workflow > ? ORDER BY workflow LIMIT 1
"""
_NEXT_STATUS: Final = """
SELECT status, workflow FROM awaitpy_runs INDEXED BY awaitpy_runs_listed
WHERE status > ? ORDER BY status, workflow LIMIT 1
"""
_LISTED: Final = """
SELECT created, run_id, id FROM awaitpy_runs INDEXED BY awaitpy_runs_listed
WHERE status = ? AND workflow = ? AND (created, run_id) < (?, ?)
ORDER BY created DESC, run_id DESC LIMIT ?
"""
_OLD: Final = """
SELECT id FROM awaitpy_runs INDEXED BY awaitpy_runs_listed
WHERE status = ? AND workflow = ? AND updated < ? LIMIT ?
"""
NEWEST: Final = (float("inf"), "")
"""A place in the list of all runs before that of any."""


def create(
    db: Connection,
    run_id: str,
    head: Head,
    metadata: Mapping[str, Any],
    now: float,
    lease: tuple[str, float] | None,
) -> Lease | bool:
    """`Store.create`."""
    if db.execute("SELECT 1 FROM awaitpy_runs WHERE run_id = ?", (run_id,)).fetchone():
        return False
    kept = _metadata.encode(metadata).decode()
    hooks = _new_hooks(db, None, run_id, head.hooks)
    run: int = db.execute(_CREATE, (run_id, kept, now, now, *_columns(head))).lastrowid or 0
    _know(db, run, hooks)
    return True if lease is None else _lease(db, [(run, run_id)], *lease)[0]


def load(db: Connection, run_id: str, tail: bool) -> StoredRun | None:
    """`Store.load`."""
    row = db.execute(f"{_RUN} WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        return None
    first, end = _places(row[-1])
    first += row[11] if tail else 0
    lines = db.execute(
        "SELECT data FROM awaitpy_lines WHERE place >= ? AND place < ? ORDER BY place", (first, end)
    )
    return _stored(row, tuple(chain.from_iterable(lines.fetchall())))


def append(db: Connection, lease: Lease, lines: Sequence[Line]) -> None:
    """`Store.append`."""
    found = db.execute(_END, (lease.run_id, lease.token)).fetchone()
    if found is None:
        raise LeaseLost(lease.run_id)
    run, last = found
    _know(db, run, _new_hooks(db, run, lease.run_id, (line.hook_id for line in lines)))
    _write_lines(db, _places(run)[0] if last is None else last + 1, lines)


def save(
    db: Connection,
    run_id: str,
    head: Head,
    revision: int,
    now: float,
    lease: Lease | None,
    release: bool,
) -> bool:
    """`Store.save`."""
    found = _at(db, run_id) if lease is None else _leased(db, lease)
    if found is None or found[1] != revision:
        return False
    run = found[0]
    _know(db, run, _new_hooks(db, run, run_id, head.hooks))
    frees = lease is not None and release
    db.execute(_SAVE_FREE if frees else _SAVE_HELD, (now, *_columns(head), run))
    return True


def rewrite(
    db: Connection, run_id: str, head: Head, lines: Sequence[Line], revision: int, now: float
) -> bool:
    """`Store.rewrite`."""
    found = _at(db, run_id)
    if found is None or found[1] != revision or (found[2] is not None and found[2] > now):
        return False
    run = found[0]
    hooks = _new_hooks(db, run, run_id, chain(head.hooks, (line.hook_id for line in lines)))
    _know(db, run, hooks)
    db.execute(_SAVE_FREE, (now, *_columns(head), run))
    db.execute("DELETE FROM awaitpy_lines WHERE place >= ? AND place < ?", _places(run))
    _write_lines(db, _places(run)[0], lines)
    return True


def claim(
    db: Connection,
    owner: str,
    now: float,
    until: float,
    limit: int,
    run_id: str | None,
    workflows: Sequence[str] | None,
) -> list[Lease]:
    """`Store.claim`."""
    if run_id is None:
        free = _due(db, now, limit, workflows)
    else:
        found = _at(db, run_id)
        held = found is None or (found[2] is not None and found[2] > now)
        free = [] if found is None or held else [(found[0], run_id)]
    return _lease(db, free, owner, until)


def renew(db: Connection, leases: Sequence[Lease], until: float) -> list[str]:
    """`Store.renew`."""
    longer = "UPDATE awaitpy_runs SET until = ? WHERE run_id = ? AND token = ?"
    return [
        lease.run_id
        for lease in leases
        if db.execute(longer, (until, lease.run_id, lease.token)).rowcount == 0
    ]


def release(db: Connection, lease: Lease) -> None:
    """`Store.release`."""
    db.execute(_RELEASE, (lease.run_id, lease.token))


def find(db: Connection, hook_id: str) -> str | None:
    """`Store.find`."""
    row = db.execute(
        "SELECT run_id FROM awaitpy_hooks JOIN awaitpy_runs ON run = id WHERE hook_id = ?", (hook_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def next_due(db: Connection, now: float, workflows: Sequence[str] | None) -> float | None:
    """`Store.next_due`."""
    asked = set(_workflows(db) if workflows is None else workflows)
    free = chain.from_iterable(db.execute(_NEXT_DUE, (workflow, now)).fetchall() for workflow in asked)
    over = (time for workflow, time in db.execute(_NEXT_OVER, (now,)) if workflow in asked)
    return min(chain(chain.from_iterable(free), over), default=None)


def page(
    db: Connection, query: Query, after: tuple[float, str], limit: int
) -> tuple[list[StoredRun], tuple[float, str] | None]:
    """Look through so many runs after a place; give those that may fit, and the place to go on at."""
    groups = (
        db.execute(_LISTED, (status, workflow, *after, limit)).fetchall()
        for status, workflow in _groups(db)
        if query.status in {None, status} and query.workflow in {None, workflow}
    )
    found = heapq.nlargest(limit, chain.from_iterable(groups))
    items = [_metadata.item(name, value) for name, value in query.metadata.items()]
    runs = [
        _stored(db.execute(f"{_RUN} WHERE id = ?", (run,)).fetchone())
        for *_, run in found
        if not items or _mentions(db, run, items)
    ]
    return runs, found[-1][:2] if found and len(found) == limit else None


def _mentions(db: Connection, run: int, items: Sequence[str]) -> bool:
    """Whether the JSON of the metadata has these texts in it: quicker than to decode it."""
    (text,) = db.execute("SELECT metadata FROM awaitpy_runs WHERE id = ?", (run,)).fetchone()
    return all(item in text for item in items)


def delete(db: Connection, run_id: str) -> bool:
    """`Store.delete`."""
    found = _at(db, run_id)
    if found is not None:
        _remove(db, found[0])
    return found is not None


def purge(db: Connection, before: float, statuses: Sequence[str], limit: int) -> int:
    """Remove so many of the runs that `Store.purge` is about; give how many there were."""
    groups = (
        db.execute(_OLD, (status, workflow, before, limit)).fetchall()
        for status, workflow in _groups(db)
        if status in statuses
    )
    old = list(chain.from_iterable(groups))[:limit]
    for (run,) in old:
        _remove(db, run)
    return len(old)


def data_version(db: Connection) -> int:
    """Give a number that changes when another connection has changed the file."""
    version: int = db.execute("PRAGMA data_version").fetchone()[0]
    return version


def _at(db: Connection, run_id: str) -> tuple[int, int, float | None] | None:
    """Give the number, revision and end of the lease of a run."""
    found: tuple[int, int, float | None] | None = db.execute(
        "SELECT id, revision, until FROM awaitpy_runs WHERE run_id = ?", (run_id,)
    ).fetchone()
    return found


def _leased(db: Connection, lease: Lease) -> tuple[int, int]:
    """Give the number and the revision of a run, whose lease has to be this one."""
    found: tuple[int, int] | None = db.execute(
        "SELECT id, revision FROM awaitpy_runs WHERE run_id = ? AND token = ?",
        (lease.run_id, lease.token),
    ).fetchone()
    if found is None:
        raise LeaseLost(lease.run_id)
    return found


def _lease(db: Connection, runs: Sequence[tuple[int, str]], owner: str, until: float) -> list[Lease]:
    if not runs:
        return []
    db.execute("UPDATE awaitpy_store SET token = token + ?", (len(runs),))
    (last,) = db.execute("SELECT token FROM awaitpy_store").fetchone()
    leases = [
        Lease(run_id, owner, token, until) for token, (_, run_id) in enumerate(runs, last - len(runs) + 1)
    ]
    rows = [(owner, lease.token, until, run) for lease, (run, _) in zip(leases, runs, strict=True)]
    db.executemany(_LEASE, rows)
    return leases


def _due(db: Connection, now: float, limit: int, workflows: Sequence[str] | None) -> list[tuple[int, str]]:
    """Give the number and id of the runs that are free and longest due."""
    asked = set(_workflows(db) if workflows is None else workflows)
    found = (db.execute(_DUE, (workflow, now, now, limit)).fetchall() for workflow in asked)
    return [(run, run_id) for _, run, run_id in heapq.nsmallest(limit, chain.from_iterable(found))]


def _workflows(db: Connection) -> Iterator[str]:
    """Give the workflows that have a run that is due some time."""
    row = db.execute(_FIRST_WORKFLOW).fetchone()
    while row is not None:
        yield row[0]
        row = db.execute(_NEXT_WORKFLOW, row).fetchone()


def _groups(db: Connection) -> list[tuple[str, str]]:
    """Give each status and workflow that some run has."""
    found: list[tuple[str, str]] = []
    row = db.execute(_FIRST_GROUP).fetchone()
    while row is not None:
        found.append(row)
        row = db.execute(_SAME_STATUS, row).fetchone() or db.execute(_NEXT_STATUS, row[:1]).fetchone()
    return found


def _new_hooks(db: Connection, run: int | None, run_id: str, hooks: Iterable[str | None]) -> list[str]:
    """Give the hooks that are not known yet. Raises HookTaken for one of another run."""
    new: list[str] = []
    for hook_id in dict.fromkeys(hooks):
        if hook_id is None:
            continue
        known = db.execute("SELECT run FROM awaitpy_hooks WHERE hook_id = ?", (hook_id,)).fetchone()
        if known is None:
            new.append(hook_id)
        elif known[0] != run:
            raise HookTaken(hook_id, run_id)
    return new


def _know(db: Connection, run: int, hooks: Sequence[str]) -> None:
    for hook_id in hooks:
        db.execute("INSERT INTO awaitpy_hooks (hook_id, run) VALUES (?, ?)", (hook_id, run))


def _places(run: int) -> tuple[int, int]:
    """Give where the lines of a run begin, and where they end at the latest."""
    return run << 32, run + 1 << 32


def _write_lines(db: Connection, place: int, lines: Sequence[Line]) -> None:
    rows = enumerate((line.data for line in lines), place)
    db.executemany("INSERT INTO awaitpy_lines (place, data) VALUES (?, ?)", rows)


def _remove(db: Connection, run: int) -> None:
    db.execute("DELETE FROM awaitpy_runs WHERE id = ?", (run,))
    db.execute("DELETE FROM awaitpy_hooks WHERE run = ?", (run,))
    db.execute("DELETE FROM awaitpy_lines WHERE place >= ? AND place < ?", _places(run))


def _columns(head: Head) -> tuple[Any, ...]:
    return (
        head.workflow,
        head.version,
        head.status,
        head.state,
        head.settled,
        head.due,
        head.tries,
        head.trouble,
    )


def _stored(row: Sequence[Any], lines: tuple[bytes, ...] = ()) -> StoredRun:
    run_id, revision, owner, token, until, created, updated, metadata, *head, _ = row
    workflow, version, status, settled, due, tries, trouble, state = head
    return StoredRun(
        run_id=run_id,
        revision=revision,
        head=Head(
            workflow=workflow,
            version=version,
            status=status,
            state=state,
            settled=settled,
            due=due,
            tries=tries,
            trouble=trouble,
        ),
        metadata=_metadata.decode(metadata),
        created=created,
        updated=updated,
        lease=None if token is None else Lease(run_id, owner, token, until),
        lines=lines,
    )
