"""The verbs of a store that write, as SQLite statements, in a transaction of the caller.

Each function looks first and writes then: what it refuses, it has not begun to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from awaitpy._arguments import is_unicode
from awaitpy.durable._store import Head, HookTaken, Lease, LeaseLost, Line
from awaitpy.stores import _metadata
from awaitpy.stores._sqlite_queries import longest_due, old_runs, places
from awaitpy.stores._texts import check_texts, kept

if TYPE_CHECKING:
    from sqlite3 import Connection

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


def create(
    db: Connection,
    run_id: str,
    head: Head,
    metadata: Mapping[str, Any],
    now: float,
    lease: tuple[str, float] | None,
) -> Lease | bool:
    """`Store.create`."""
    check_texts(run_id, head.workflow, head.status, None if lease is None else lease[0])
    if db.execute("SELECT 1 FROM awaitpy_runs WHERE run_id = ?", (run_id,)).fetchone():
        return False
    items = _metadata.encode(metadata).decode()
    hooks = _new_hooks(db, None, run_id, head.hooks)
    run: int = db.execute(_CREATE, (run_id, items, now, now, *_columns(head))).lastrowid or 0
    _know(db, run, hooks)
    return True if lease is None else _lease(db, [(run, run_id)], *lease)[0]


def append(db: Connection, lease: Lease, lines: Sequence[Line]) -> None:
    """`Store.append`."""
    found = db.execute(_END, (lease.run_id, lease.token)).fetchone()
    if found is None:
        raise LeaseLost(lease.run_id)
    run, last = found
    _know(db, run, _new_hooks(db, run, lease.run_id, (line.hook_id for line in lines)))
    _write_lines(db, places(run)[0] if last is None else last + 1, lines)


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
    check_texts(run_id, head.workflow, head.status)
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
    check_texts(run_id, head.workflow, head.status)
    found = _at(db, run_id)
    if found is None or found[1] != revision or (found[2] is not None and found[2] > now):
        return False
    run = found[0]
    hooks = _new_hooks(db, run, run_id, chain(head.hooks, (line.hook_id for line in lines)))
    _know(db, run, hooks)
    db.execute(_SAVE_FREE, (now, *_columns(head), run))
    db.execute("DELETE FROM awaitpy_lines WHERE place >= ? AND place < ?", places(run))
    _write_lines(db, places(run)[0], lines)
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
    check_texts(owner)
    if run_id is None:
        free = longest_due(db, now, limit, workflows)
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


def delete(db: Connection, run_id: str) -> bool:
    """`Store.delete`."""
    found = _at(db, run_id)
    if found is not None:
        _remove(db, found[0])
    return found is not None


def purge(db: Connection, before: float, statuses: Sequence[str], limit: int) -> int:
    """Remove so many of the runs that `Store.purge` is about; give how many there were."""
    found = old_runs(db, before, statuses, limit)
    for (run,) in found:
        _remove(db, run)
    return len(found)


def _at(db: Connection, run_id: str) -> tuple[int, int, float | None] | None:
    """Give the number, revision and end of the lease of a run."""
    if not is_unicode(run_id):
        return None
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


def _new_hooks(db: Connection, run: int | None, run_id: str, hooks: Iterable[str | None]) -> list[str]:
    """Give the hooks that are not known yet. Raises HookTaken for one of another run."""
    new: list[str] = []
    for hook_id in dict.fromkeys(hooks):
        if hook_id is None:
            continue
        check_texts(hook_id)
        known = db.execute("SELECT run FROM awaitpy_hooks WHERE hook_id = ?", (hook_id,)).fetchone()
        if known is None:
            new.append(hook_id)
        elif known[0] != run:
            raise HookTaken(hook_id, run_id)
    return new


def _know(db: Connection, run: int, hooks: Sequence[str]) -> None:
    for hook_id in hooks:
        db.execute("INSERT INTO awaitpy_hooks (hook_id, run) VALUES (?, ?)", (hook_id, run))


def _write_lines(db: Connection, place: int, lines: Sequence[Line]) -> None:
    rows = enumerate((line.data for line in lines), place)
    db.executemany("INSERT INTO awaitpy_lines (place, data) VALUES (?, ?)", rows)


def _remove(db: Connection, run: int) -> None:
    db.execute("DELETE FROM awaitpy_runs WHERE id = ?", (run,))
    db.execute("DELETE FROM awaitpy_hooks WHERE run = ?", (run,))
    db.execute("DELETE FROM awaitpy_lines WHERE place >= ? AND place < ?", places(run))


def _columns(head: Head) -> tuple[Any, ...]:
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
