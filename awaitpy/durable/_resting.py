"""Waits until a run comes to rest, by the work of this process or of another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from awaitpy.durable._legs import Claimed, claim, work_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from awaitpy._runner import Outcome
    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Lease
    from awaitpy.durable._work import Works

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at a run that another process works on."""


async def rest_of(
    settings: Settings,
    works: Works,
    run_id: str,
    *,
    after: int = 0,
    claiming: Callable[[], Awaitable[Claimed | None]] | None = None,
) -> Outcome[Any, Any]:
    """Give how a run comes to rest, in a leg that has seen its head at revision `after` or later.

    It is worked on here if nobody does. Raises `UnknownRun`, `UnknownWorkflow`, `StateError`,
    `StoreError` and `DurableClosed`.
    """

    async def again() -> Claimed | None:
        return await claim(settings, run_id)

    begin, pause = claiming or again, _FIRST_PAUSE
    # The leg that took a delivery up knows what became of it; one that comes later does not. It may be
    # that of a `serve` which has claimed the run, and has not begun to work on it when this asks.
    with works.listening(run_id) as heard:
        while True:
            rest = await works.join(run_id, partial(work_on, settings, claiming=begin))
            if rest is None:
                await settings.sleep(pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
            for each in heard:
                if each.revision >= after:
                    return each.outcome
            # What begins now sees that revision, or another run of this id whose revisions began anew.
            begin, after = again, 0
            heard.clear()


def _nothing(_: Lease) -> None:
    """Tell nobody."""


async def serve_one(
    settings: Settings, works: Works, lease: Lease, *, begins: Callable[[Lease], object] = _nothing
) -> None:
    """Work on a run that was claimed; `begins` is told that the lease is looked after from now on.

    Raises as `rest_of` does.
    """
    works.lose(lease.run_id)  # what is still under way here was called off, or had its lease taken
    await works.ended(lease.run_id)

    async def claimed() -> Claimed:
        begins(lease)
        return Claimed(lease)

    await works.join(lease.run_id, partial(work_on, settings, claiming=claimed))
