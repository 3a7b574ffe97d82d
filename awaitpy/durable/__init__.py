"""Durable runs: loaded, leased, run, saved and found again, over a store."""

from __future__ import annotations

from awaitpy.durable._store import (
    Head,
    HookTaken,
    Lease,
    LeaseLost,
    Line,
    Query,
    Store,
    StoredRun,
    StoreError,
)

__all__ = [
    "Head",
    "HookTaken",
    "Lease",
    "LeaseLost",
    "Line",
    "Query",
    "Store",
    "StoreError",
    "StoredRun",
]
