"""What the parts of a leg share: its settings, why it ends, and how its tasks wait for each other."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from awaitpy._payload import Codecs
    from awaitpy._wire import Entry, Status
    from awaitpy.events import Event

# Turns of the event loop without any step asked for or under way, after which nothing more can come
# by itself: enough for gathers within gathers to start and to finish.
QUIET: Final = 16
# Turns of the event loop that code needs to react to the result of a step in another task.
REACT: Final = 4


class Leave(BaseException):
    """Unwinds a workflow whose leg is over. Not an Exception: `except Exception` must not see it."""


class Exit(msgspec.Struct, frozen=True):
    """Why a leg is over. `settled` says that every branch had come to its wait or its end."""

    status: Status
    error: Any = None
    value: Any = None
    settled: bool = False


STOPPED: Final = Exit("interrupted")
"""Why the leg of a child is over whose parent's leg is over: nothing new runs, and nothing went wrong."""


class Children(Protocol):
    """How the runs within a run are called, begun or gone on with, given from the journal, and undone."""

    def call(
        self, session: Any, key: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], policy: Any
    ) -> Any:
        """Note the call of a child, and say how it is carried out."""
        ...

    async def run_new(self, session: Any, call: Any) -> Any:
        """Run a child that has not ended, and journal what it gave."""
        ...

    async def undone(self, session: Any, key: str, call: Any) -> Any:
        """Cancel a child that is under way; give what could not be undone."""
        ...


class Settings(msgspec.Struct, frozen=True):
    """What a leg needs of its runner."""

    codecs: Codecs
    clock: Callable[[], datetime]
    checkpoint: Callable[[Entry], Awaitable[None] | None] | None = None
    on_event: Callable[[Event], None] | None = None
    retired: frozenset[str] = frozenset()
    hold: float = 10.0
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep
    entropy: Callable[[int], bytes] = os.urandom
    children: Callable[[], Children] | None = None
    blind: set[str] | None = None
    """Not None in a dry run: the keys of steps behind which it can't see, though the code may be right."""


def leaves(error: Any) -> bool:
    """Whether an error is a `Leave`, or a group that holds one."""
    if isinstance(error, Leave):
        return True
    parts: tuple[Any, ...] = getattr(error, "exceptions", ())
    return any(leaves(part) for part in parts)


class Steadfast(asyncio.Future[None]):
    """A future that nobody can cancel: a task that is cancelled while it waits goes on once it is done.

    A checkpoint that gives one has taken the entry, and keeps the order of entries by itself.
    """

    def cancel(self, msg: Any = None) -> bool:  # noqa: ARG002  the signature is that of the base
        """Refuse."""
        return False

    def tell(self, error: BaseException | None) -> None:
        """Let those who wait go on. Nobody has to: who is cancelled meanwhile is not told."""
        if error is None:
            self.set_result(None)
        else:
            self.set_exception(error)
            self.exception()  # asking keeps asyncio from reporting it


async def wait_on(waiters: list[asyncio.Future[None]]) -> None:
    """Wait until the next `wake` of these waiters."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(future)
    await future


def wake(waiters: list[asyncio.Future[None]]) -> None:
    """Let all who wait go on."""
    for future in waiters:
        if not future.done():
            future.set_result(None)
    waiters.clear()
