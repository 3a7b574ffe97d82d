"""A connection of the user's: used with the store's settings, and given back with those of the user."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from awaitpy.durable._store import StoreError

_PRAGMAS: Final = ("busy_timeout", "synchronous", "cache_size")
_OWN: Final[Mapping[str, Any]] = {"row_factory": None, "text_factory": str}
_KIND: Final = "Open one by sqlite3.connect(path, check_same_thread=False), or give the path alone."


def check_kind(argument: str, given: object, mend: str = _KIND) -> None:
    """Raise TypeError for what is no connection of the `sqlite3` module."""
    if not isinstance(given, sqlite3.Connection):
        raise TypeError(f"{argument} is an sqlite3.Connection, not a {type(given).__name__}. {mend}")


class Loan:
    """A connection that the store has, and what it was set to before. Raises StoreError for a busy one."""

    def __init__(self, db: sqlite3.Connection) -> None:
        _refuse_busy(db)
        self._db = db
        self._attributes = {name: getattr(db, name) for name in ("isolation_level", *_OWN)}
        self._pragmas: dict[str, int] = {}

    def take(self) -> None:
        """Set it as the store needs it."""
        # Transactions are begun by the store, not by the module. In another thread that is refused.
        _set(self._db, {"isolation_level": None, **_OWN})
        for name in _PRAGMAS:
            self._pragmas[name] = self._db.execute(f"PRAGMA {name}").fetchone()[0]

    def give_back(self) -> None:
        """Set it to what it was before; nothing if it was closed meanwhile."""
        with suppress(sqlite3.Error):
            for name, value in self._pragmas.items():
                self._db.execute(f"PRAGMA {name} = {value}")
            _set(self._db, self._attributes)


def _refuse_busy(db: sqlite3.Connection) -> None:
    if getattr(db, "autocommit", True) is False:  # since Python 3.12, and then always in a transaction
        raise StoreError(
            "The connection= was opened with autocommit=False, so it is in a transaction at any time, and "
            "the store has to begin its own. Open one without autocommit=False for it."
        )
    if db.in_transaction:
        raise StoreError(
            "The connection= is in a transaction, which the store would have to commit. Commit it or roll "
            "it back before the store is opened; store.within(connection) writes in a transaction of yours."
        )


@contextmanager
def plain_rows(db: sqlite3.Connection) -> Generator[None]:
    """Let rows be tuples and texts be str meanwhile, whatever the factories of the connection are."""
    before = {name: getattr(db, name) for name in _OWN}
    _set(db, _OWN)
    try:
        yield
    finally:
        _set(db, before)


def _set(db: sqlite3.Connection, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        setattr(db, name, value)
