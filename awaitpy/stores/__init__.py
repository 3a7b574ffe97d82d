"""Where durable runs are kept: in memory, SQLite, PostgreSQL or Redis; each is imported when asked for.

`from awaitpy.stores import *` gives those that need no extra. `PostgresStore` and `RedisStore` are asked
for by their names, and say what to install where their drivers are missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awaitpy.stores._memory import MemoryStore
    from awaitpy.stores._postgres import PostgresStore as PostgresStore
    from awaitpy.stores._redis import RedisStore as RedisStore
    from awaitpy.stores._sqlite import SQLiteStore

__all__ = ["MemoryStore", "SQLiteStore"]

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


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
