"""Asks a store again where that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from awaitpy.durable._store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

DELAYS: Final = (0.05, 0.2, 1.0)
"""Seconds before each further try of something that failed for the moment."""


async def patient(verb: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[object]]) -> T:
    """Give what a verb of a store gives, tried again a few times while its failure is transient.

    Raises `StoreError` when it is not, or stays, or when the store has waited long enough itself. A verb
    whose answer was lost may have been done: each is asked so that a second time does no harm.
    """
    for delay in DELAYS:
        try:
            return await verb()
        except StoreError as error:
            if not error.transient or error.waited:
                raise
        await sleep(delay)
    return await verb()
