"""Runs in Redis."""

from __future__ import annotations

from awaitpy.stores._redis._store import RedisStore

__all__ = ["RedisStore"]
