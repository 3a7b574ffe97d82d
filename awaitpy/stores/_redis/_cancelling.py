"""Calls of redis-py whose cancellation is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

AGAIN: Final = 0.1
"""Seconds after which a call that goes on is cancelled again."""


async def heard(call: Awaitable[Any]) -> Any:
    """Give what a call gives, and be cancelled by a cancellation, whatever the call makes of it.

    Before Python 3.12, `asyncio.wait_for`, by which redis-py sends, swallows one that comes as its work is
    done (python/cpython#86296). Who cancelled `serve` would wait for ever.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=AGAIN)
        if not task.cancelled():
            task.exception()  # asked, so that asyncio does not report it
        raise
    return task.result()
