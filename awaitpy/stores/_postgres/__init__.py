"""Runs in PostgreSQL."""

from __future__ import annotations

from awaitpy.stores._postgres._store import PostgresStore

__all__ = ["PostgresStore"]
