"""Durable runs beside what a program has to do at the least: one INSERT and commit for each step."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from random import Random
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from awaitpy import Entry, Runner, create_hook, pending_hook
from awaitpy.durable import Durable, Head
from awaitpy.stores import MemoryStore, PostgresStore, SQLiteStore
from tests.benchmarks.orders import ORDER, Order, fetch_order
from tests.benchmarks.timing import Ratio, Stopwatch, compared, interleaved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from awaitpy import Step
    from awaitpy.durable import Store
    from tests.benchmarks.timing import Block

_LINE: Final = msgspec.msgpack.encode(("step-0000", 0, ORDER))
_AHEAD: Final = 4_000_000_000.0
"""A time, in epoch seconds, that is far away."""
_COMMON: Final = 1_000
"""How many runs are added at once."""
_A_FEW: Final = 10
"""How many runs are saved at once while the loop is watched."""


@attrs.frozen
class Extent:
    """How much is measured."""

    rounds: int = 7
    steps: tuple[int, int] = (100, 1_000)
    together: int = 100
    apiece: int = 20
    entries: int = 10_000
    runs: tuple[int, int] = (1_000, 1_000_000)
    calls: int = 100


async def orders(step: Step[Any], steps: int) -> None:
    """Journal so many orders."""
    for number in range(steps):
        await step(f"step-{number}", fetch_order)


async def orders_then_wait(step: Step[Any], steps: int) -> str:
    """Journal so many orders, and wait."""
    await orders(step, steps)
    hook = await step("hook", create_hook)
    return await step(hook.step_key, pending_hook, hook.hook_id, str)


async def answered(step: Step[Any], number: int) -> str:
    """Wait for the hook of this number."""
    return await step("wait", pending_hook, f"hook-{number}", str)


# --- S ------------------------------------------------------------------------------------------


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A folder for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="awaitpy-bench-") as name:
        yield Path(name)


def by_hand(path: Path, synchronous: str) -> sqlite3.Connection:
    """Give a connection to a table of lines, with the durability that the store has."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {synchronous}")
    database.execute("CREATE TABLE IF NOT EXISTS lines (run TEXT, number INTEGER, data BLOB)")
    return database


def insert_each(database: sqlite3.Connection, steps: int) -> None:
    """One INSERT and commit for each step, inline."""
    for number in range(steps):
        database.execute("INSERT INTO lines VALUES ('run', ?, ?)", (number, _LINE))


# --- figures ------------------------------------------------------------------------------------


async def one_run(
    extent: Extent, synchronous: Any, checkpoint: Any
) -> list[tuple[list[float], list[float]]]:
    """Give seconds per step of one run and of S, in each round, at each number of steps."""
    async with folder() as place:
        store = SQLiteStore(place / "runs.db", synchronous=synchronous)
        with closing(by_hand(place / "lines.db", synchronous)) as database:
            async with Durable(store, workflows=[orders], checkpoint=checkpoint) as durable:
                blocks = [
                    block
                    for steps in extent.steps
                    for block in (
                        _per(steps, lambda n=steps: durable.start(orders, n)),
                        _per(steps, lambda n=steps: _called(insert_each, database, n)),
                    )
                ]
                times = await interleaved(extent.rounds, *blocks)
    return list(zip(times[0::2], times[1::2], strict=True))


async def many_at_once(extent: Extent) -> Ratio:
    """Compare a step of many runs at once with S, both of full durability."""
    async with folder() as place:
        with closing(by_hand(place / "lines.db", "FULL")) as database:
            async with Durable(SQLiteStore(place / "runs.db"), workflows=[orders]) as durable:
                return compared(
                    *await interleaved(
                        extent.rounds,
                        _per(extent.together * extent.apiece, lambda: _together(durable, extent)),
                        _per(extent.steps[0], lambda: _called(insert_each, database, extent.steps[0])),
                    )
                )


async def many_in_postgres(extent: Extent, url: str) -> Ratio:
    """Compare a step of many runs at once with one committed INSERT at a time, in the same server."""
    import psycopg

    async with Durable(PostgresStore(url), workflows=[orders]) as durable:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE by_hand (run text, number int, data bytea)")
            return compared(
                *await interleaved(
                    extent.rounds,
                    _per(extent.together * extent.apiece, lambda: _together(durable, extent)),
                    _per(extent.steps[0], lambda: _called(_insert_each_there, connection, extent.steps[0])),
                )
            )


def _insert_each_there(connection: Any, steps: int) -> None:
    for number in range(steps):
        connection.execute("INSERT INTO by_hand VALUES ('run', %s, %s)", (number, _LINE))


async def _together(durable: Durable, extent: Extent) -> None:
    await asyncio.gather(*(durable.start(orders, extent.apiece) for _ in range(extent.together)))


async def _called(work: Callable[..., None], *args: Any) -> None:
    work(*args)


def _per(steps: int, work: Callable[[], Awaitable[object]]) -> Block:
    watch = Stopwatch()

    async def block() -> float:
        watch.start()
        await work()
        watch.stop()
        return watch.taken() / steps

    return block


async def long_resume(extent: Extent) -> Ratio:
    """Compare the resume of a long run with reading its rows and decoding each payload once."""
    async with folder() as place:
        store = SQLiteStore(place / "runs.db")
        async with Durable(store, workflows=[orders_then_wait], checkpoint="relaxed") as durable:
            await durable.start(orders_then_wait, extent.entries, run_id="long")
            with closing(sqlite3.connect(place / "runs.db")) as database:
                blocks = (
                    _per(extent.entries, lambda: durable.resume("long")),
                    _per(extent.entries, lambda: _called(_read_all, database)),
                )
                return compared(*await interleaved(extent.rounds, *blocks))


_read_order: Final = msgspec.msgpack.Decoder(Order).decode
_read_entry: Final = msgspec.msgpack.Decoder(Entry).decode


def _read_all(database: sqlite3.Connection) -> None:
    for (data,) in database.execute("SELECT data FROM awaitpy_lines ORDER BY place").fetchall():
        entry = _read_entry(data)
        if entry.hook_id is None:
            _read_order(entry.payload)


async def many_stored(extent: Extent) -> dict[str, Ratio]:
    """Compare calls on a file of many suspended runs with the same calls on one of few."""
    async with folder() as place, AsyncExitStack() as opened:
        stored = [await opened.enter_async_context(_filled(place, count)) for count in extent.runs]
        injected = compared(
            *await interleaved(extent.rounds, *(_injections(extent, *s) for s in stored[::-1]))
        )
        due = compared(*await interleaved(extent.rounds, *(_next_due(extent, s[1]) for s in stored[::-1])))
    return {"inject by hook id": injected, "next due": due}


@asynccontextmanager
async def _filled(place: Path, count: int) -> AsyncIterator[tuple[Durable, Store, list[str]]]:
    """Give a store of so many suspended runs, and the hooks of them in no order of the file."""
    store = SQLiteStore(place / f"{count}.db", synchronous="NORMAL")
    async with Durable(store, workflows=[answered]) as durable:
        for first in range(0, count, _COMMON):
            numbers = range(first, min(first + _COMMON, count))
            await asyncio.gather(*[_add(store, number) for number in numbers])
        hooks = [f"hook-{number}" for number in range(count)]
        Random(0).shuffle(hooks)
        yield durable, store, hooks


async def _add(store: Store, number: int) -> None:
    """Add the run of this number, which waits for the hook of this number, until a day far away."""
    state = (await Runner(run_id=f"run-{number}").run(answered, number)).state
    head = Head(
        workflow=state.workflow,
        version=state.version,
        status=state.status,
        state=state.to_bytes(),
        due=_AHEAD + number,
        hooks=(f"hook-{number}",),
    )
    await store.create(state.run_id, head, metadata={}, now=float(number))


def _injections(extent: Extent, durable: Durable, _: Store, hooks: list[str]) -> Block:
    async def inject() -> None:
        for _ in range(extent.calls):
            (await durable.inject(hooks.pop(), "yes")).unwrap()

    return _per(extent.calls, inject)


def _next_due(extent: Extent, store: Store) -> Block:
    async def ask() -> None:
        for _ in range(extent.calls):
            await store.next_due(now=0.0)

    return _per(extent.calls, ask)


async def loop_held(extent: Extent) -> float:
    """Give the seconds (99th percentile) by which a ticker was late while many runs were saved.

    What the workflows themselves take of the loop is no save: the same runs in memory are taken off.
    """
    async with folder() as place:
        late = [await _lateness(extent, store) for store in (SQLiteStore(place / "runs.db"), MemoryStore())]
    return max(late[0] - late[1], 0.0)


async def _lateness(extent: Extent, store: Store) -> float:
    held: list[float] = []

    async def tick() -> None:
        while True:
            before = perf_counter()
            await asyncio.sleep(0)
            held.append(perf_counter() - before)

    async with Durable(store, workflows=[orders]) as durable:
        ticker = asyncio.create_task(tick())
        for _ in range(extent.rounds):
            await asyncio.gather(*(durable.start(orders, extent.apiece) for _ in range(_A_FEW)))
        ticker.cancel()
    return quantiles(held, n=100)[-1]
