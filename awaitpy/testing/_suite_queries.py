"""The laws of a store about lists, cleaning up, and opening and closing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from awaitpy.durable._store import Query
from awaitpy.testing._suite import MANY, NOW, Suite, add, born, head, ids, lines, loaded, test

if TYPE_CHECKING:
    from awaitpy.durable._store import Store


class Queries(Suite):
    """page, purge, open and close."""

    @test
    async def test_a_page_lists_the_newest_first(self, one: Store, other: Store) -> None:
        assert await one.page(Query()) == []
        for age, run_id in ((3, "d"), (1, "b"), (2, "c"), (1, "a"), (0, "e")):
            await add(one, run_id, now=NOW - age)
        assert await ids(other) == ["e", "b", "a", "c", "d"]
        assert await other.save("d", head(), revision=1, now=NOW + 5)
        assert await ids(one) == ["e", "b", "a", "c", "d"], "what counts is when a run was made"

    @test
    async def test_a_page_gives_runs_without_their_lines(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", due=NOW + 1, hooks=("hook",), settled=0)
        await one.append(lease, lines("a", "b"))
        (listed,) = await other.page(Query())
        run = await other.load("run", tail=True)
        assert run is not None
        assert (listed.lines, run.lines) == ((), (b"a", b"b"))
        assert (listed.head, listed.lease, listed.revision) == (run.head, run.lease, 1)

    @test
    async def test_pages_give_each_run_once(self, one: Store, other: Store) -> None:
        for n in range(23):
            await add(one, f"run-{n:02}", now=NOW + n // 4, workflow="ab"[n % 2], status="st"[n % 3 // 2])
        everything = await ids(one)
        assert len(everything) == 23
        for query in ({}, {"workflow": "a"}, {"status": "s"}, {"workflow": "b", "status": "t"}):
            for limit in (1, 3, 23):
                assert await _turned(other, limit, **query) == await ids(one, **query)

    @test
    async def test_a_page_goes_on_after_a_run_that_is_gone(self, one: Store, other: Store) -> None:
        for n in range(6):
            await add(one, f"run-{n}", now=NOW + n)
        first = await other.page(Query(limit=3))
        await one.delete(first[-1].run_id)
        await add(one, "newer", now=NOW + 99)
        assert await ids(other, after=first[-1]) == ["run-2", "run-1", "run-0"]

    @test
    async def test_a_page_may_be_of_a_workflow_and_a_status(self, one: Store, other: Store) -> None:
        for n, (workflow, status) in enumerate((w, s) for w in "ab" for s in ("x", "y")):
            await add(one, f"{workflow}{status}", now=NOW + n, workflow=workflow, status=status)
        assert await ids(other, workflow="a") == ["ay", "ax"]
        assert await ids(other, status="y") == ["by", "ay"]
        assert await ids(other, workflow="b", status="x") == ["bx"]
        assert await ids(other, workflow="c") == []
        assert await other.save("ax", head(workflow="a", status="y"), revision=1, now=NOW)
        assert await ids(other, status="y") == ["by", "ay", "ax"]
        assert await ids(other, status="x") == ["bx"]

    @test
    async def test_a_page_may_be_of_some_metadata(self, one: Store, other: Store) -> None:
        for n, metadata in enumerate(METADATA):
            assert await one.create(str(n), head(), metadata=metadata, now=NOW + n)
        for wanted, found in WANTED:
            assert await ids(other, metadata=wanted) == found, wanted
        assert await ids(other, metadata={"a": 1}, limit=1) == ["5"]
        (after,) = await other.page(Query(metadata={"a": 1}, limit=1))
        assert await ids(other, metadata={"a": 1}, limit=1, after=after) == ["0"]

    @test
    async def test_a_purge_removes_what_is_old_and_over(self, one: Store, other: Store) -> None:
        for age in range(3):
            for status in ("done", "failed", "open"):
                await add(
                    one, f"{status}-{age}", now=NOW - age, status=status, hooks=(f"h-{status}-{age}",)
                )
        assert await other.purge(before=NOW - 9, statuses=["done"]) == 0
        assert await other.purge(before=NOW, statuses=[]) == 0
        assert await other.purge(before=NOW, statuses=["done", "failed"]) == 4
        assert sorted(await ids(one)) == ["done-0", "failed-0", "open-0", "open-1", "open-2"]
        assert await one.find("h-done-1") is None
        assert await one.find("h-open-1") == "open-1"
        await add(one, "done-1", hooks=("h-done-2",))

    @test
    async def test_a_purge_goes_by_the_last_save(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", status="open")
        await one.append(lease, lines("a"))
        assert await one.save(
            "run", head(status="done"), revision=1, now=NOW + 9, lease=lease, release=True
        )
        assert await other.purge(before=NOW + 9, statuses=["done"]) == 0
        assert await other.purge(before=NOW + 9.5, statuses=["done"]) == 1
        assert await one.load("run") is None
        await add(one, "run")
        assert (await loaded(other, "run")).lines == ()

    @test
    async def test_a_purge_takes_any_number_of_runs(self, one: Store, other: Store) -> None:
        count = 30 * MANY
        await asyncio.gather(*(add(one, f"run-{n}", status="done") for n in range(count)))
        assert await other.purge(before=NOW + 1, statuses=["done"]) == count
        assert await ids(one) == []

    @test
    async def test_what_was_asked_before_closing_is_done(self, one: Store, other: Store) -> None:
        store = self.make_store()
        await store.open()
        told = await asyncio.gather(
            *(store.create(f"run-{n}", head(), metadata={}, now=NOW) for n in range(MANY)), store.close()
        )
        assert told == [*[True] * MANY, None]
        await store.close()
        if self.shared:
            assert len(await ids(other)) == len(await ids(one)) == MANY

    @test
    async def test_a_store_can_be_opened_again(self, one: Store, other: Store) -> None:
        await add(one, "run")
        await one.close()
        await one.open()
        assert await ids(one) == await ids(other) == ["run"]

    @test
    async def test_many_may_open_at_once(self, one: Store, other: Store) -> None:
        await add(one, "run")
        stores = [self.make_store() for _ in range(8)]
        await asyncio.gather(*(store.open() for store in stores))
        found = [await store.load("run") for store in (*stores, other)]
        assert found.count(None) == (0 if self.shared else 8)
        await asyncio.gather(*(store.close() for store in stores))


METADATA: list[dict[str, Any]] = [
    {"a": 1, "b": "x"},
    {"a": True},
    {"a": {"b": 1, "c": [1, 2]}},
    {"a": None},
    {'it\'s "a" key.$%': "1"},
    {"a": 1, "b": "y"},
    {"a": "1"},
]
WANTED: list[tuple[dict[str, Any], list[str]]] = [
    ({"a": 1}, ["5", "0"]),
    ({"a": 1, "b": "x"}, ["0"]),
    ({"a": True}, ["1"]),
    ({"a": {"c": [1, 2], "b": 1}}, ["2"]),
    ({"a": {"b": 1}}, []),
    ({"a": {"b": 1, "c": [1]}}, []),
    ({"a": None}, ["3"]),
    ({"a": "1"}, ["6"]),
    ({'it\'s "a" key.$%': "1"}, ["4"]),
    ({"b": 1}, []),
    ({}, ["6", "5", "4", "3", "2", "1", "0"]),
]


async def _turned(store: Store, limit: int, **query: Any) -> list[str]:
    """Give the ids of all pages, one after the other."""
    found: list[str] = []
    after = None
    while page := await store.page(Query(after=after, limit=limit, **query)):
        assert len(page) <= limit
        found += [run.run_id for run in page]
        assert len(set(found)) == len(found), "a page has a run of the page before"
        after = page[-1]
    return found
