"""The laws of a store about what is written: runs, journals, heads and hooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from awaitpy.durable._store import HookTaken, Lease, LeaseLost, Line, Query, StoreError
from awaitpy.testing._suite import (
    MANY,
    NOW,
    Suite,
    add,
    born,
    claim,
    head,
    ids,
    lines,
    loaded,
    refused,
    test,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from awaitpy.durable._store import Store

ANY_TEXT = ("o'brien", 'say "hi"', "100%_", "søren/雪/🙂", "a:b{c}", "x" * 200, " ")
NO_TEXTS = ("\ud800", "a\0b")
ANY_BYTES = bytes(range(256))


class Writes(Suite):
    """create, load, append, save, rewrite, find and delete."""

    @test
    async def test_a_run_is_loaded_as_it_was_created(self, one: Store, other: Store) -> None:
        given = head(version=7, status="odd", state=ANY_BYTES, due=NOW + 0.25, tries=3, trouble="Oh\n no")
        metadata: dict[str, Any] = {
            "customer": "søren",
            "total": 42,
            "tags": ["a", None, True, 1.5, {"b": {}}],
        }
        assert await one.create("run", given, metadata=metadata, now=NOW) is True
        run = await loaded(other, "run")
        assert (run.run_id, run.revision, run.head) == ("run", 1, given)
        assert (dict(run.metadata), run.lines, run.lease) == (metadata, (), None)
        assert (run.created, run.updated) == (NOW, NOW)

    @test
    async def test_a_run_may_be_born_claimed(self, one: Store, other: Store) -> None:
        lease = await one.create("run", head(due=NOW), metadata={}, now=NOW, lease=("me", NOW + 9))
        assert isinstance(lease, Lease)
        assert (lease.run_id, lease.owner, lease.until) == ("run", "me", NOW + 9)
        assert (await loaded(other, "run")).lease == lease
        assert await other.claim("you", now=NOW, until=NOW + 9, run_id="run") == []
        await one.append(lease, lines("first"))
        assert (await loaded(other, "run")).lines == (b"first",)

    @test
    async def test_an_id_that_no_text_can_hold_is_unknown(self, one: Store, other: Store) -> None:
        """It may stand in a URL that somebody made up."""
        await add(one, "run", due=NOW)
        for text in NO_TEXTS:
            assert await one.load(text) is None
            assert await other.find(text) is None
            assert await one.delete(text) is False
            assert await one.claim("me", now=NOW, until=NOW + 9, run_id=text) == []
            assert await one.claim("me", now=NOW, until=NOW + 9, workflows=[text]) == []
            assert await one.next_due(now=NOW, workflows=[text]) is None
            assert await one.purge(before=NOW + 1, statuses=[text]) == 0
            assert await one.page(Query(workflow=text)) == await one.page(Query(status=text)) == []
        assert await ids(one) == ["run"]

    @test
    async def test_an_id_or_name_that_no_text_can_hold_is_refused(self, one: Store, other: Store) -> None:
        """A NUL is none for every database, and so for no store."""
        lease = await born(one, "run", due=NOW)
        for text in NO_TEXTS:
            bad = head(workflow=text), head(status=text), head(hooks=("good", text))
            calls = [
                one.create(text, head(), metadata={}, now=NOW),
                one.create("new", head(), metadata={}, now=NOW, lease=(text, NOW)),
                one.append(lease, [Line(b"good", "good"), Line(b"x", text)]),
                one.claim(text, now=NOW + 99, until=NOW + 999),
                *(one.create("new", each, metadata={}, now=NOW) for each in bad),
                *(one.save("run", each, revision=1, now=NOW) for each in bad),
                *(one.rewrite("run", each, [], revision=1, now=NOW + 99) for each in bad),
            ]
            for call in calls:
                error = await refused(StoreError, call)
                assert not error.transient
        run = await loaded(other, "run")
        assert (run.head, run.lines, run.lease, run.revision) == (head(due=NOW), (), lease, 1)
        assert await other.find("good") is None
        assert await other.load("new") is None

    @test
    async def test_any_traceback_can_be_kept(self, one: Store, other: Store) -> None:
        """It may quote what no text can hold."""
        await add(one, "run", trouble="a\0b \ud800 \N{SNOWMAN}")
        trouble = (await loaded(other, "run")).head.trouble
        assert trouble is not None
        assert trouble.isprintable()
        assert "\N{SNOWMAN}" in trouble

    @test
    async def test_an_id_is_taken_once(self, one: Store, other: Store) -> None:
        await add(one, "run", state=b"first", hooks=("h1",))
        again = head(state=b"second", hooks=("h2",))
        assert await other.create("run", again, metadata={"a": 1}, now=NOW + 1) is False
        assert await other.create("run", again, metadata={}, now=NOW, lease=("me", NOW)) is False
        run = await loaded(one, "run")
        assert (run.head.state, dict(run.metadata), run.created, run.lease) == (b"first", {}, NOW, None)
        assert await one.find("h2") is None

    @test
    async def test_of_many_that_create_a_run_one_does(self, one: Store, other: Store) -> None:
        told = await asyncio.gather(
            *(
                store.create("run", head(state=bytes([number])), metadata={}, now=NOW)
                for number in range(MANY)
                for store in (one, other)
            )
        )
        assert (told.count(True), told.count(False)) == (1, 2 * MANY - 1)
        assert (await loaded(one, "run")).head.state == bytes([told.index(True) // 2])

    @test
    async def test_an_unknown_run_is_none(self, one: Store, other: Store) -> None:
        await add(other, "run")
        assert await one.load("other") is None
        assert await one.load("other", tail=True) is None
        assert await one.find("hook") is None

    @test
    async def test_ids_are_any_text(self, one: Store, other: Store) -> None:
        for text in ANY_TEXT:
            await add(one, text, workflow=text, hooks=(f"hook {text}",), due=NOW)
        for text in ANY_TEXT:
            assert (await loaded(other, text)).head.workflow == text
            assert await other.find(f"hook {text}") == text
            (lease,) = await other.claim(text, now=NOW, until=NOW + 1, workflows=[text])
            assert (lease.run_id, lease.owner) == (text, text)

    @test
    async def test_a_state_and_a_line_are_any_bytes(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", state=b"")
        large = ANY_BYTES * 4096
        await one.append(lease, [Line(b""), Line(ANY_BYTES), Line(large)])
        assert (await loaded(other, "run")).lines == (b"", ANY_BYTES, large)
        assert await other.save("run", head(state=large), revision=1, now=NOW)
        assert (await loaded(one, "run")).head.state == large

    @test
    async def test_a_journal_keeps_the_order_of_its_lines(self, one: Store, other: Store) -> None:
        lease = await born(one, "run")
        await born(one, "next to it")
        for number in range(0, 1200, 4):
            store = other if number % 8 else one
            await store.append(lease, lines(*map(str, range(number, number + 4))))
        await one.append(lease, [])
        kept = await loaded(other, "run")
        assert kept.lines == tuple(str(number).encode() for number in range(1200))
        assert (kept.revision, kept.updated) == (1, NOW), "a line is no change of the head"

    @test
    async def test_the_tail_is_what_the_head_does_not_account_for(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", settled=0)
        await one.append(lease, lines("a", "b", "c"))
        assert await one.save("run", head(settled=2), revision=1, now=NOW, lease=lease)
        tail = await other.load("run", tail=True)
        assert tail is not None
        assert (tail.lines, tail.head.settled, tail.revision) == ((b"c",), 2, 2)
        assert (await loaded(other, "run")).lines == (b"a", b"b", b"c")

    @test
    async def test_many_runs_write_at_once(self, one: Store, other: Store) -> None:
        async def work(store: Store, run_id: str) -> None:
            lease = await born(store, run_id, hooks=(f"{run_id}/first",))
            for number in range(5):
                await store.append(lease, [Line(str(number).encode(), f"{run_id}/{number}")])
            assert await store.save(run_id, head(settled=5), revision=1, now=NOW, lease=lease)

        await asyncio.gather(*(work((one, other)[n % 2], f"run-{n}") for n in range(MANY)))
        for n in range(MANY):
            run = await loaded((other, one)[n % 2], f"run-{n}")
            assert (run.lines, run.head.settled, run.revision) == ((b"0", b"1", b"2", b"3", b"4"), 5, 2)
            assert await one.find(f"run-{n}/4") == f"run-{n}"

    @test
    async def test_who_lost_the_lease_appends_nothing(self, one: Store, other: Store) -> None:
        old = await born(one, "run", until=NOW + 1)
        await one.append(old, lines("mine"))
        new = await claim(other, "run", now=NOW + 2)
        lost = await refused(LeaseLost, one.append(old, [Line(b"late", "hook")]))
        assert lost.run_id == "run"
        await other.append(new, lines("theirs"))
        assert (await loaded(one, "run")).lines == (b"mine", b"theirs")
        assert await one.find("hook") is None

    @test
    async def test_a_lease_that_ran_out_is_good_until_somebody_takes_over(
        self, one: Store, other: Store
    ) -> None:
        lease = await born(one, "run", until=NOW - 60)
        await one.append(lease, lines("late"))
        assert (await loaded(other, "run")).lines == (b"late",)
        assert await one.save("run", head(), revision=1, now=NOW, lease=lease)

    @test
    async def test_a_deleted_or_released_run_takes_no_lines(self, one: Store, other: Store) -> None:
        gone, free = await born(one, "gone"), await born(one, "free")
        await other.delete("gone")
        await other.release(free)
        for lease in (gone, free):
            await refused(LeaseLost, one.append(lease, lines("late")))
        assert await one.load("gone") is None
        assert (await loaded(one, "free")).lines == ()

    @test
    async def test_a_hook_belongs_to_one_run(self, one: Store, other: Store) -> None:
        await add(one, "first", hooks=("taken",))
        lease = await born(other, "second")
        journal = [Line(b"a", "new"), Line(b"b", "taken"), Line(b"c")]
        third = head(hooks=("new", "taken"))
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: other.append(lease, journal),
            lambda: other.save(
                "second", head(state=b"new", hooks=("new", "taken")), revision=1, now=NOW + 1
            ),
            lambda: other.create("third", third, metadata={}, now=NOW),
            lambda: other.create("third", third, metadata={}, now=NOW, lease=("me", NOW + 1)),
        ]
        for call in calls:
            told = await refused(HookTaken, call())
            assert told.hook_id == "taken"
        run = await loaded(one, "second")
        assert (run.lines, run.revision, run.head.state, run.updated) == ((), 1, b"state", NOW)
        assert await one.load("third") is None
        assert (await one.find("new"), await one.find("taken")) == (None, "first")

    @test
    async def test_a_run_may_name_its_hooks_again(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", hooks=("a", "a"))
        await one.append(lease, [Line(b"1", "a"), Line(b"2", "b"), Line(b"3", "b")])
        assert await other.save("run", head(hooks=("a", "b", "c")), revision=1, now=NOW)
        assert [await other.find(hook) for hook in "abcd"] == ["run", "run", "run", None]
        assert (await loaded(one, "run")).head.hooks == ()

    @test
    async def test_of_many_that_take_a_hook_one_does(self, one: Store, other: Store) -> None:
        told = await asyncio.gather(
            *(
                (one, other)[n % 2].create(f"run-{n}", head(hooks=("hook",)), metadata={}, now=NOW)
                for n in range(MANY)
            ),
            return_exceptions=True,
        )
        (winner,) = [n for n in range(MANY) if told[n] is True]
        assert sum(isinstance(each, HookTaken) for each in told) == MANY - 1
        assert await one.find("hook") == f"run-{winner}"
        assert [await one.load(f"run-{n}") is None for n in range(MANY)].count(False) == 1

    @test
    async def test_a_save_replaces_the_head_and_nothing_else(self, one: Store, other: Store) -> None:
        assert await one.create("run", head(), metadata={"a": 1}, now=NOW)
        saved = head(
            workflow="w", version=2, status="s", state=b"n", settled=0, due=1.5, tries=1, trouble="t"
        )
        assert await other.save("run", saved, revision=1, now=NOW + 1) is True
        run = await loaded(one, "run")
        assert (run.head, run.revision, dict(run.metadata)) == (saved, 2, {"a": 1})
        assert (run.created, run.updated) == (NOW, NOW + 1)
        assert await one.save("run", head(), revision=2, now=NOW + 2) is True
        assert (await loaded(one, "run")).head == head()

    @test
    async def test_a_save_over_another_revision_writes_nothing(self, one: Store, other: Store) -> None:
        lease = await born(one, "run")
        assert await other.save("run", head(state=b"delivery"), revision=1, now=NOW + 1)
        stale = head(state=b"stale", due=NOW, hooks=("hook",))
        for revision in (0, 1, 3):
            assert not await one.save("run", stale, revision=revision, now=NOW + 2)
            assert not await one.save(
                "run", stale, revision=revision, now=NOW + 2, lease=lease, release=True
            )
        run = await loaded(other, "run")
        assert (run.head.state, run.head.due, run.revision, run.updated) == (b"delivery", None, 2, NOW + 1)
        assert run.lease == lease, "a lease ends only with a save that is made"
        assert await one.find("hook") is None

    @test
    async def test_of_many_saves_over_one_revision_one_is_made(self, one: Store, other: Store) -> None:
        await add(one, "run")
        for revision in (1, 2, 3):
            told = await asyncio.gather(
                *(
                    (one, other)[n % 2].save("run", head(state=bytes([n])), revision=revision, now=NOW)
                    for n in range(MANY)
                )
            )
            assert told.count(True) == 1
            run = await loaded(one, "run")
            assert (run.revision, run.head.state) == (revision + 1, bytes([told.index(True)]))

    @test
    async def test_a_save_from_outside_leaves_the_lease(self, one: Store, other: Store) -> None:
        lease = await born(one, "run")
        assert await other.save("run", head(due=NOW), revision=1, now=NOW, release=True)
        run = await loaded(one, "run")
        assert (run.lease, run.revision) == (lease, 2)
        await one.append(lease, lines("still mine"))
        assert not await one.save("run", head(), revision=1, now=NOW, lease=lease, release=True)
        assert await one.save("run", head(), revision=2, now=NOW, lease=lease)
        assert (await loaded(other, "run")).lease == lease

    @test
    async def test_a_save_may_end_the_lease(self, one: Store, other: Store) -> None:
        lease = await born(one, "run")
        assert await one.save("run", head(due=NOW), revision=1, now=NOW, lease=lease, release=True)
        assert (await loaded(other, "run")).lease is None
        await refused(LeaseLost, one.append(lease, lines("late")))
        assert (await claim(other, "run")).token > lease.token

    @test
    async def test_who_lost_the_lease_saves_nothing(self, one: Store, other: Store) -> None:
        old = await born(one, "run", until=NOW)
        new = await claim(other, "run")
        for revision in (1, 2):
            late = one.save("run", head(state=b"late"), revision=revision, now=NOW, lease=old, release=True)
            await refused(LeaseLost, late)
        run = await loaded(other, "run")
        assert (run.head.state, run.revision, run.lease) == (b"state", 1, new)

    @test
    async def test_a_run_that_is_gone_is_not_saved(self, one: Store, other: Store) -> None:
        lease = await born(one, "run")
        assert await other.delete("run") is True
        assert await one.save("run", head(hooks=("h",)), revision=1, now=NOW) is False
        await refused(LeaseLost, one.save("run", head(), revision=1, now=NOW, lease=lease))
        assert await one.rewrite("run", head(), [], revision=1, now=NOW) is False
        assert (await one.load("run"), await one.find("h")) == (None, None)

    @test
    async def test_a_rewrite_replaces_head_and_journal(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", hooks=("old",))
        await one.append(lease, [Line(b"a"), Line(b"b", "older"), Line(b"c")])
        await one.release(lease)
        new = [Line(b"A", "new"), Line(b"B")]
        assert await other.rewrite(
            "run", head(status="back", hooks=("newer",)), new, revision=1, now=NOW + 1
        )
        run = await loaded(one, "run")
        assert (run.lines, run.head.status, run.revision) == ((b"A", b"B"), "back", 2)
        assert (run.created, run.updated) == (NOW, NOW + 1)
        assert [await one.find(hook) for hook in ("new", "newer", "old", "older")] == ["run"] * 4
        await one.append(await claim(one, "run"), lines("C"))
        assert (await loaded(other, "run")).lines == (b"A", b"B", b"C")

    @test
    async def test_a_rewrite_of_a_leased_or_changed_run_writes_nothing(
        self, one: Store, other: Store
    ) -> None:
        lease = await born(one, "run", until=NOW + 60)
        await one.append(lease, lines("a"))
        new = head(state=b"new", hooks=("new",))
        assert not await other.rewrite("run", new, [Line(b"A", "newer")], revision=1, now=NOW)
        await one.release(lease)
        assert not await other.rewrite("run", new, [Line(b"A", "newer")], revision=2, now=NOW)
        await add(one, "first", hooks=("taken",))
        for late in (head(state=b"new", hooks=("taken",)), new):
            call = other.rewrite(
                "run", late, [Line(b"A", "newer"), Line(b"B", "taken")], revision=1, now=NOW
            )
            await refused(HookTaken, call)
        run = await loaded(one, "run")
        assert (run.lines, run.head.state, run.revision) == ((b"a",), b"state", 1)
        assert [await one.find(hook) for hook in ("new", "newer")] == [None, None]

    @test
    async def test_a_rewrite_ends_a_lease_that_ran_out(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", until=NOW)
        assert await other.rewrite("run", head(), lines("A"), revision=1, now=NOW)
        await refused(LeaseLost, one.append(lease, lines("late")))
        assert (await loaded(one, "run")).lines == (b"A",)

    @test
    async def test_a_deleted_run_leaves_nothing(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", hooks=("first",), due=NOW)
        await one.append(lease, [Line(b"a", "second")])
        await add(one, "stays", hooks=("third",))
        assert await other.delete("run") is True
        assert await one.delete("run") is False
        assert [await one.find(hook) for hook in ("first", "second", "third")] == [None, None, "stays"]
        assert await one.next_due(now=NOW) is None
        await add(one, "run", hooks=("second",))
        assert (await loaded(other, "run")).lines == ()
        await add(one, "another", hooks=("first",))
