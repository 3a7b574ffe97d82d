"""Durable runs: loaded, leased, run, saved and found again, over a store."""

from __future__ import annotations

from awaitpy.durable._durable import Durable
from awaitpy.durable._edits import DeliveryTerms
from awaitpy.durable._errors import (
    DurableClosed,
    LegCancelled,
    RunExists,
    RunInterrupted,
    UnknownRun,
    UnknownStoredHook,
    UnknownWorkflow,
)
from awaitpy.durable._policy import Tries
from awaitpy.durable._records import RunHook, RunRecord
from awaitpy.durable._starting import Starter
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
    "DeliveryTerms",
    "Durable",
    "DurableClosed",
    "Head",
    "HookTaken",
    "Lease",
    "LeaseLost",
    "LegCancelled",
    "Line",
    "Query",
    "RunExists",
    "RunHook",
    "RunInterrupted",
    "RunRecord",
    "Starter",
    "Store",
    "StoreError",
    "StoredRun",
    "Tries",
    "UnknownRun",
    "UnknownStoredHook",
    "UnknownWorkflow",
]
