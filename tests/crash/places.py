"""Stores as processes tell each other of them: `sqlite PATH`, `postgres URL SCHEMA`, `redis URL PREFIX`."""

from __future__ import annotations

from awaitpy.stores import MemoryStore, SQLiteStore


def store(kind, *where):
    """Make the store of this place. It has to be called in the process that uses it."""
    if kind == "memory":
        return MemoryStore()
    if kind == "sqlite":
        return SQLiteStore(where[0], synchronous="NORMAL", timeout=30.0, poll=0.05)
    if kind == "postgres":
        from awaitpy.stores import PostgresStore

        return PostgresStore(where[0], schema=where[1], connections=2)
    from awaitpy.stores import RedisStore

    return RedisStore(where[0], prefix=where[1])


def warm(kind):
    """Import what the store needs, so that children have it."""
    if kind == "postgres":
        from awaitpy.stores import PostgresStore

        assert PostgresStore
    elif kind == "redis":
        from awaitpy.stores import RedisStore

        assert RedisStore
