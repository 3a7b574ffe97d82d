"""What a store is asked, as SQLite queries: nothing here writes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from awaitpy._arguments import is_unicode
from awaitpy.durable._store import Head, Lease, Query, StoredRun
from awaitpy.stores import _metadata

if TYPE_CHECKING:
    from sqlite3 import Connection

_RUN: Final = (
    "SELECT run_id, revision, owner, token, until, created, updated, metadata, "
    "workflow, version, status, settled, due, tries, trouble, state, id FROM awaitpy_runs "
)
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


def load(db: Connection, run_id: str, tail: bool) -> StoredRun | None:
    """`Store.load`."""
    row = db.execute(f"{_RUN} WHERE run_id = ?", (run_id,)).fetchone() if is_unicode(run_id) else None
    if row is None:
        return None
    first, end = places(row[-1])
    first += row[11] if tail else 0
    lines = db.execute(
        "SELECT data FROM awaitpy_lines WHERE place >= ? AND place < ? ORDER BY place", (first, end)
    )
    return _stored(row, tuple(chain.from_iterable(lines.fetchall())))


def find(db: Connection, hook_id: str) -> str | None:
    """`Store.find`."""
    if not is_unicode(hook_id):
        return None
    row = db.execute(
        "SELECT run_id FROM awaitpy_hooks JOIN awaitpy_runs ON run = id WHERE hook_id = ?", (hook_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def next_due(db: Connection, now: float, workflows: Sequence[str] | None) -> float | None:
    """`Store.next_due`."""
    asked = _asked(db, workflows)
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


def data_version(db: Connection) -> int:
    """Give a number that changes when another connection has changed the file."""
    version: int = db.execute("PRAGMA data_version").fetchone()[0]
    return version


def longest_due(
    db: Connection, now: float, limit: int, workflows: Sequence[str] | None
) -> list[tuple[int, str]]:
    """Give the number and id of the runs that are free and longest due."""
    asked = _asked(db, workflows)
    found = (db.execute(_DUE, (workflow, now, now, limit)).fetchall() for workflow in asked)
    return [(run, run_id) for _, run, run_id in heapq.nsmallest(limit, chain.from_iterable(found))]


def old_runs(db: Connection, before: float, statuses: Sequence[str], limit: int) -> list[tuple[int]]:
    """Give the number of so many of the runs that `Store.purge` is about."""
    groups = (
        db.execute(_OLD, (status, workflow, before, limit)).fetchall()
        for status, workflow in _groups(db)
        if status in statuses
    )
    return list(chain.from_iterable(groups))[:limit]


def _asked(db: Connection, workflows: Sequence[str] | None) -> set[str]:
    return set(_workflows(db) if workflows is None else filter(is_unicode, workflows))


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


def places(run: int) -> tuple[int, int]:
    """Give where the lines of a run begin, and where they end at the latest."""
    return run << 32, run + 1 << 32


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
