"""Looks through the runs of a store, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from awaitpy.durable._records import RunHook, hooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Query, StoredRun


async def page(settings: Settings, query: Query) -> Sequence[StoredRun]:
    """Give a page of runs, patiently."""
    return await settings.ask(lambda: settings.store.page(query))


async def pending(settings: Settings, query: Query) -> AsyncIterator[RunHook]:
    """Give the hooks that these runs wait for, page after page to the last."""
    last: StoredRun | None = None
    while True:
        found = await page(settings, msgspec.structs.replace(query, after=last))
        for last in found:
            for hook in hooks(last):
                yield hook
        if len(found) < query.limit:
            return
