"""Where durable runs are kept: in memory, SQLite, PostgreSQL or Redis; each is imported when asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awaitpy.stores._memory import MemoryStore
    from awaitpy.stores._postgres import PostgresStore
    from awaitpy.stores._redis import RedisStore
    from awaitpy.stores._sqlite import SQLiteStore

__all__ = ["MemoryStore", "PostgresStore", "RedisStore", "SQLiteStore"]

# A store imports its database's driver, and a program uses one store.
_LATER = {
    "MemoryStore": "awaitpy.stores._memory",
    "PostgresStore": "awaitpy.stores._postgres",
    "RedisStore": "awaitpy.stores._redis",
    "SQLiteStore": "awaitpy.stores._sqlite",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'awaitpy.stores' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
