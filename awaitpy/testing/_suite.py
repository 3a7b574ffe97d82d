"""What every part of the suite of stores uses: two stores over one storage, and heads to keep in them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from awaitpy.durable._store import Head, Lease, Line, Query, StoredRun

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from awaitpy.durable._store import Store

S = TypeVar("S", bound="Suite")

NOW = 1_750_000_000.123456
"""A time that a store has to give back to the microsecond."""

HEAD = Head(workflow="order", version=1, status="queued", state=b"state")
MANY = 40


class Suite(ABC):
    """Two objects of a store over one storage, which each test gets empty."""

    shared: ClassVar[bool] = True
    """Whether two objects of `make_store` see the same runs. If not, one object plays both parts."""

    def __init_subclass__(cls, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        # pytest passes over a class with an abstract method without a word.
        if cls.__name__.startswith("Test") and getattr(cls.make_store, "__isabstractmethod__", False):
            raise TypeError(
                f"{cls.__name__} has no make_store(), so none of its tests would be run. Define it: it "
                "gives a store that is not open yet. The name of a base of suites begins otherwise."
            )

    @abstractmethod
    def make_store(self) -> Store:
        """Give a store that is not open yet; over the same empty storage, however often in one test."""

    async def drive(self, body: Callable[[Store, Store], Awaitable[None]]) -> None:
        """Run a test over two open stores."""
        async with _opened(self.make_store()) as one:
            if not self.shared:
                return await body(one, one)
            async with _opened(self.make_store()) as other:
                return await body(one, other)


@asynccontextmanager
async def _opened(store: Store) -> AsyncGenerator[Store, None]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def test(body: Callable[[S, Store, Store], Coroutine[Any, Any, None]]) -> Callable[[S], None]:
    """Make a test that any runner of tests can call, on an event loop of its own."""

    def driven(suite: S) -> None:
        asyncio.run(suite.drive(lambda one, other: body(suite, one, other)))

    driven.__name__, driven.__doc__ = body.__name__, body.__doc__
    return driven


def head(**changes: Any) -> Head:
    """Give a head that differs in these fields."""
    return msgspec.structs.replace(HEAD, **changes)


async def refused(kind: type[Exception], call: Awaitable[object]) -> Any:
    """Give the error that a call was refused with."""
    (told,) = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(told, kind), f"{told!r} where {kind.__name__} was to be raised"
    return told


async def add(store: Store, run_id: str, *, now: float = NOW, **changes: Any) -> None:
    """Create a run."""
    assert await store.create(run_id, head(**changes), metadata={}, now=now) is True


async def born(store: Store, run_id: str, *, until: float = NOW + 60, **changes: Any) -> Lease:
    """Create a run that is claimed."""
    lease = await store.create(run_id, head(**changes), metadata={}, now=NOW, lease=("a", until))
    assert isinstance(lease, Lease)
    return lease


async def claim(store: Store, run_id: str, owner: str = "b", *, now: float = NOW) -> Lease:
    """Claim a run that is free."""
    (lease,) = await store.claim(owner, now=now, until=now + 60, run_id=run_id)
    return lease


async def loaded(store: Store, run_id: str) -> StoredRun:
    """Load a run that is there."""
    run = await store.load(run_id)
    assert run is not None, f"run {run_id!r} is not in the store"
    return run


async def ids(store: Store, **query: Any) -> list[str]:
    """Give the ids of a page."""
    return [run.run_id for run in await store.page(Query(**query))]


def lines(*texts: str) -> list[Line]:
    """Give lines without hooks."""
    return [Line(text.encode()) for text in texts]
