"""The laws of a store about who works on what: claims, leases, tokens and wake-ups."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from awaitpy.durable._store import LeaseLost
from awaitpy.testing._suite import MANY, NOW, Suite, add, born, claim, head, lines, loaded, refused, test

if TYPE_CHECKING:
    from awaitpy.durable._store import Store

SOON = 20.0
"""Seconds in which a change has to be noticed. Nothing waits for them in a store that is right."""


class Leases(Suite):
    """claim, renew, release, next_due and changed."""

    @test
    async def test_a_claim_gives_what_is_due_the_longest_due_first(self, one: Store, other: Store) -> None:
        for late, run_id in ((1, "b"), (3, "a"), (2, "c"), (0, "now"), (-1, "soon")):
            await add(one, run_id, due=NOW - late)
        await add(one, "never", due=None)
        first = await other.claim("me", now=NOW, until=NOW + 9, limit=2)
        assert [lease.run_id for lease in first] == ["a", "c"]
        assert {(lease.owner, lease.until) for lease in first} == {("me", NOW + 9)}
        rest = await one.claim("you", now=NOW, until=NOW + 9, limit=9)
        assert [lease.run_id for lease in rest] == ["b", "now"]
        assert await one.claim("you", now=NOW, until=NOW + 9) == []
        assert (await loaded(one, "a")).lease == first[0]
        assert (await loaded(one, "a")).revision == 1, "a claim is no change of the head"

    @test
    async def test_how_long_a_run_is_due_does_not_depend_on_its_last_lease(
        self, one: Store, other: Store
    ) -> None:
        """The runs of a process that died are not put behind those that came later."""
        await born(one, "died", until=NOW - 1, due=NOW - 99)
        await add(one, "later", due=NOW - 50)
        leases = await other.claim("me", now=NOW, until=NOW + 9, limit=2)
        assert [lease.run_id for lease in leases] == ["died", "later"]

    @test
    async def test_a_claim_gives_one_run_if_no_limit_is_told(self, one: Store, other: Store) -> None:
        for run_id in "abc":
            await add(one, run_id, due=NOW)
        assert len(await other.claim("me", now=NOW, until=NOW + 9)) == 1

    @test
    async def test_a_claim_may_be_for_some_workflows(self, one: Store, other: Store) -> None:
        for late, name in enumerate(("order", "refund", "mail", "order")):
            await add(one, f"{name}-{late}", workflow=name, due=NOW - late)
        assert await other.claim("me", now=NOW, until=NOW + 9, limit=9, workflows=["none"]) == []
        assert await other.claim("me", now=NOW, until=NOW + 9, limit=9, workflows=[]) == []
        some = await other.claim("me", now=NOW, until=NOW + 9, limit=9, workflows=("mail", "order", "x"))
        assert [lease.run_id for lease in some] == ["order-3", "mail-2", "order-0"]
        assert [x.run_id for x in await one.claim("me", now=NOW, until=NOW + 9, limit=9)] == ["refund-1"]

    @test
    async def test_a_named_run_is_claimed_whenever_it_is_due(self, one: Store, other: Store) -> None:
        await add(one, "never", due=None)
        await add(one, "later", due=NOW + 999)
        await add(one, "due", due=NOW - 9)
        for run_id in ("never", "later"):
            assert (await claim(other, run_id)).run_id == run_id
            assert await one.claim("you", now=NOW, until=NOW + 9, run_id=run_id) == []
        assert await one.claim("you", now=NOW, until=NOW + 9, run_id="unknown") == []

    @test
    async def test_a_lease_is_over_at_its_end(self, one: Store, other: Store) -> None:
        await born(one, "run", until=NOW + 5, due=NOW - 100)
        for run_id in (None, "run"):
            assert await other.claim("you", now=NOW + 4.5, until=NOW + 9, run_id=run_id) == []
        (taken,) = await other.claim("you", now=NOW + 5, until=NOW + 9)
        assert (await loaded(one, "run")).lease == taken
        (back,) = await one.claim("me", now=NOW + 9, until=NOW + 12, run_id="run")
        assert back.token > taken.token

    @test
    async def test_tokens_only_grow(self, one: Store, other: Store) -> None:
        """Also over a run that was deleted and made again: its old holder must not write to the new one."""
        leases = [await born(one, "run")]
        for turn in range(6):
            store = (one, other)[turn % 2]
            await store.release(leases[-1])
            leases.append(await claim(store, "run"))
        await other.delete("run")
        leases.append(await born(other, "run"))
        tokens = [lease.token for lease in leases]
        assert tokens == sorted(set(tokens))
        for old in leases[:-1]:
            await refused(LeaseLost, one.append(old, lines("late")))
        assert (await loaded(one, "run")).lines == ()

    @test
    async def test_of_many_that_claim_a_run_one_gets_it(self, one: Store, other: Store) -> None:
        await add(one, "run", due=NOW)
        for turn in range(3):
            told = await asyncio.gather(
                *(
                    (one, other)[n % 2].claim(
                        str(n), now=NOW + turn, until=NOW + turn + 1, run_id=("run", None)[n % 4 // 2]
                    )
                    for n in range(MANY)
                )
            )
            (lease,) = [lease for leases in told for lease in leases]
            assert (await loaded(one, "run")).lease == lease

    @test
    async def test_nothing_is_written_by_who_loses_the_lease_at_that_moment(
        self, one: Store, other: Store
    ) -> None:
        """The lease is checked in the transaction that writes: what a claim finds is all that there is."""
        for turn in range(MANY):
            run_id = f"run-{turn}"
            old = await born(one, run_id, until=NOW)

            async def take(run_id: str = run_id) -> tuple[bytes, ...]:
                await claim(other, run_id)
                return (await loaded(other, run_id)).lines

            late = [one.append(old, lines(text)) for text in "abc"]
            *_, found = await asyncio.gather(*late, take(), return_exceptions=True)
            assert (await loaded(one, run_id)).lines == found

    @test
    async def test_a_rewrite_takes_no_lease_and_no_save_away(self, one: Store, other: Store) -> None:
        for turn in range(MANY):
            run_id = f"run-{turn}"
            await add(one, run_id)
            rewritten = one.rewrite(run_id, head(), lines("new"), revision=1, now=NOW)
            saved = other.save(run_id, head(state=b"saved"), revision=1, now=NOW)
            made = await asyncio.gather(*((rewritten, saved) if turn % 2 else (saved, rewritten)))
            assert sorted(made) == [False, True]
            rewritten = one.rewrite(run_id, head(), lines("newer"), revision=2, now=NOW)
            _, lease = await asyncio.gather(rewritten, claim(other, run_id))
            assert (await loaded(one, run_id)).lease == lease

    @test
    async def test_claims_share_out_what_is_due(self, one: Store, other: Store) -> None:
        for n in range(MANY):
            await add(one, f"run-{n}", due=NOW - n)
        told = await asyncio.gather(
            *((one, other)[n % 2].claim(str(n), now=NOW, until=NOW + 9, limit=3) for n in range(MANY))
        )
        taken = [lease.run_id for leases in told for lease in leases]
        assert sorted(taken) == sorted(f"run-{n}" for n in range(MANY))

    @test
    async def test_a_lease_can_be_renewed(self, one: Store, other: Store) -> None:
        mine, late = await born(one, "mine", until=NOW + 5), await born(one, "late", until=NOW)
        lost, gone = await born(one, "lost", until=NOW), await born(one, "gone")
        free = await born(one, "free")
        new = await claim(other, "lost")
        await other.delete("gone")
        await other.release(free)
        told = await one.renew([mine, lost, late, gone, free], until=NOW + 99)
        assert sorted(told) == ["free", "gone", "lost"]
        for lease in (mine, late):
            kept = (await loaded(other, lease.run_id)).lease
            assert kept is not None
            assert (kept.token, kept.owner, kept.until) == (lease.token, "a", NOW + 99)
        assert (await loaded(other, "lost")).lease == new
        assert (await loaded(other, "free")).lease is None
        assert await one.renew([], until=NOW + 99) == []
        assert await one.renew([mine], until=NOW + 2) == []
        kept = (await loaded(other, "mine")).lease
        assert kept is not None
        assert kept.until == NOW + 2, "a clock may have been put back"

    @test
    async def test_a_renewed_lease_keeps_others_away(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", until=NOW + 5, due=NOW)
        assert await one.renew([lease], until=NOW + 50) == []
        assert await other.claim("you", now=NOW + 49, until=NOW + 99) == []
        await one.append(lease, lines("still mine"))
        assert await one.save("run", head(), revision=1, now=NOW + 49, lease=lease, release=True)

    @test
    async def test_a_released_run_is_free_at_once(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", due=NOW)
        await one.release(lease)
        assert (await loaded(other, "run")).lease is None
        (new,) = await other.claim("you", now=NOW, until=NOW + 9)
        await one.release(lease)
        assert (await loaded(one, "run")).lease == new, "a lost lease ends nobody else's"
        await other.delete("run")
        await other.release(new)

    @test
    async def test_the_next_due_time_is_that_of_the_next_claim(self, one: Store, other: Store) -> None:
        assert await one.next_due(now=NOW) is None
        await add(one, "never", due=None)
        assert await one.next_due(now=NOW) is None
        await add(one, "later", workflow="later", due=NOW + 50)
        await add(one, "soon", workflow="soon", due=NOW + 20.5)
        assert await other.next_due(now=NOW) == NOW + 20.5
        assert await other.next_due(now=NOW, workflows=["later", "x"]) == NOW + 50
        assert await other.next_due(now=NOW, workflows=["later", "soon"]) == NOW + 20.5
        assert await other.next_due(now=NOW, workflows=["x"]) is None
        assert await other.next_due(now=NOW, workflows=[]) is None
        past = await other.next_due(now=NOW + 30)
        assert past is not None
        assert past <= NOW + 30

    @test
    async def test_a_leased_run_is_next_due_when_its_lease_is_over(self, one: Store, other: Store) -> None:
        lease = await born(one, "run", until=NOW + 30, due=NOW - 9)
        assert await other.next_due(now=NOW) == NOW + 30
        assert await one.renew([lease], until=NOW + 40) == []
        assert await other.next_due(now=NOW, workflows=["order"]) == NOW + 40
        over = await other.next_due(now=NOW + 40)
        assert over is not None
        assert over <= NOW + 40
        await add(one, "first", due=NOW + 10)
        assert await other.next_due(now=NOW) == NOW + 10
        held = await born(one, "held", until=NOW + 1, due=NOW + 5)
        assert await other.next_due(now=NOW) == NOW + 5
        await one.release(held)
        await one.release(lease)
        free = await other.next_due(now=NOW)
        assert free is not None
        assert free <= NOW

    @test
    async def test_waiting_for_a_change_ends_in_time(self, one: Store, other: Store) -> None:
        await asyncio.wait_for(other.changed(0), SOON)
        for timeout in (-1, 0, 0.01):
            await asyncio.wait_for(one.changed(timeout), SOON)

    @test
    async def test_a_change_wakes_who_waits(self, one: Store, other: Store) -> None:
        for number, store in enumerate((one, other, one, other)):
            await one.changed(0)
            waiting = asyncio.ensure_future(one.changed(SOON * 9))
            await asyncio.sleep(0)
            await add(store, f"run-{number}", due=NOW)
            await asyncio.wait_for(waiting, SOON)

    @test
    async def test_a_change_is_not_missed_by_who_was_away_while_another_heard_of_it(
        self, one: Store, other: Store
    ) -> None:
        """Two that serve over one store are not always waiting at the same time."""
        away, back = asyncio.Event(), asyncio.Event()

        async def wait_twice() -> None:
            await one.changed(0)
            away.set()
            await back.wait()
            await one.changed(SOON * 9)

        task = asyncio.ensure_future(wait_twice())
        await away.wait()
        await one.changed(0)
        await add(other, "run", due=NOW)
        await asyncio.wait_for(one.changed(SOON * 9), SOON)
        back.set()
        await asyncio.wait_for(task, SOON)

    @test
    async def test_a_change_before_the_wait_is_not_missed(self, one: Store, other: Store) -> None:
        """Between asking for the next due time and waiting for it, a run may become due."""
        lease = await born(one, "run")
        for change in range(3):
            await one.changed(0)
            await other.next_due(now=NOW)
            if change == 0:
                assert await one.save("run", head(due=NOW), revision=1, now=NOW)
            elif change == 1:
                await one.release(lease)
            else:
                assert await one.rewrite("run", head(due=NOW), [], revision=2, now=NOW)
            await asyncio.wait_for(one.changed(SOON * 9), SOON)
