"""Keeps the leases of this process alive."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NoReturn

from awaitpy.durable._store import StoreError

if TYPE_CHECKING:
    from awaitpy.durable._settings import Settings
    from awaitpy.durable._work import Works

log: Final = logging.getLogger("awaitpy.durable")


async def beat(settings: Settings, works: Works) -> NoReturn:
    """Renew the leases three times in the time that they last, and end the work on runs that are lost."""
    while True:
        await settings.sleep(settings.lease / 3)
        leases = works.leases()
        if not leases:
            continue
        try:
            lost = await settings.store.renew(leases, until=settings.now() + settings.lease)
        except StoreError as error:
            log.warning("The leases could not be renewed, and will be tried again: %s", error)
            continue
        for run_id in lost:
            works.lose(run_id)
