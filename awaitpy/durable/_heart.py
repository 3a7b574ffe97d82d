"""Keeps the leases of this process alive."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NoReturn

from awaitpy.durable._store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Lease
    from awaitpy.durable._work import Works

log: Final = logging.getLogger("awaitpy.durable")


async def beat(settings: Settings, works: Works) -> NoReturn:
    """Renew the leases three times in the time that they last, and end the work on runs that are lost."""
    while True:
        await settings.sleep(settings.lease / 3)
        try:
            await _renew(settings, works, works.leases())
        except Exception as error:  # noqa: BLE001  a store may raise anything, and the heart has to go on
            warn("The leases could not be renewed, and will be tried again", error)


async def keep(settings: Settings, works: Works, now: float) -> None:
    """Renew the leases that have run out by now, before they are taken for those of somebody who died.

    A step that holds the event loop holds the heart too.
    """
    late = [lease for lease in works.leases() if lease.until <= now]
    await settings.ask(lambda: _renew(settings, works, late))


async def _renew(settings: Settings, works: Works, leases: Sequence[Lease]) -> None:
    if not leases:
        return
    until = settings.now() + settings.lease
    lost = await settings.store.renew(leases, until=until)
    works.renewed(leases, until, lost)


def warn(problem: str, error: Exception) -> None:
    """Log what will be tried again; with its traceback where that is no plain failure of a store."""
    log.warning("%s: %s", problem, error, exc_info=None if isinstance(error, StoreError) else error)
