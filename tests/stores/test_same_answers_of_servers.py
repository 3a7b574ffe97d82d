"""The stores on servers give the same answers as the one in memory, whatever is asked in which order."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awaitpy.durable import Head, HookTaken, Lease, LeaseLost, Line, Query
from awaitpy.stores import MemoryStore

ids = st.sampled_from(["a", "b", "c"])
hooks = st.sampled_from(["h1", "h2", "h3"])
names = st.sampled_from(["order", "refund"])
statuses = st.sampled_from(["queued", "done"])
metadata = st.dictionaries(
    st.sampled_from(["k", "l"]), st.sampled_from([1, 1.0, True, "1", None]), max_size=2
)
ends = st.sampled_from([1.0, 5.0, 9.0, 30.0])
revisions = st.integers(1, 4)
picks = st.integers(0, 5)
heads = st.builds(
    Head,
    workflow=names,
    version=st.integers(1, 2),
    status=statuses,
    state=st.binary(max_size=3),
    settled=st.integers(0, 3),
    due=st.none() | ends,
    hooks=st.lists(hooks, max_size=2).map(tuple),
    tries=st.integers(0, 2),
    trouble=st.none() | st.sampled_from(["", "trouble"]),
)
lines = st.lists(st.builds(Line, st.binary(max_size=3), st.none() | hooks), max_size=3)
queries = st.builds(
    lambda **fields: Query(**fields),  # noqa: PLW0108  its annotations are not there at run time
    workflow=st.none() | names,
    status=st.none() | statuses,
    metadata=metadata,
    limit=st.integers(1, 3),
)
some = st.none() | st.lists(names, max_size=3)
calls = st.one_of(
    st.tuples(st.just("create"), ids, heads, metadata, st.none() | ends),
    st.tuples(st.just("load"), ids, st.booleans()),
    st.tuples(st.just("append"), picks, lines),
    st.tuples(st.just("save"), ids, heads, revisions, st.none() | picks, st.booleans()),
    st.tuples(st.just("rewrite"), ids, heads, lines, revisions),
    st.tuples(st.just("claim"), ends, st.none() | ids, some),
    st.tuples(st.just("renew"), st.lists(picks, max_size=3), ends),
    st.tuples(st.just("release"), picks),
    st.tuples(st.just("find"), hooks),
    st.tuples(st.just("next_due"), some),
    st.tuples(st.just("page"), queries),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("purge"), ends, st.lists(statuses, max_size=2)),
)


class Asked:
    """A store, and the leases that it gave: their tokens are its own."""

    def __init__(self, store):
        self.store, self.leases = store, []

    async def ask(self, now, verb, *words):
        try:
            return self.told(await getattr(self, verb)(now, *words))
        except (LeaseLost, HookTaken) as refused:
            return str(refused)

    def told(self, answer):
        """An answer without tokens."""
        return _tokenless(answer)

    def lease(self, pick):
        return self.leases[pick % len(self.leases)] if self.leases else Lease("a", "nobody", 1, 1.0)

    async def create(self, now, run_id, head, items, until):
        lease = None if until is None else ("me", now + until)
        given_ = await self.store.create(run_id, head, metadata=items, now=now, lease=lease)
        self.leases += [given_] if isinstance(given_, Lease) else []
        return given_

    async def load(self, _now, run_id, tail):
        return await self.store.load(run_id, tail=tail)

    async def append(self, _now, pick, new):
        return await self.store.append(self.lease(pick), new)

    async def save(self, now, run_id, head, revision, pick, release):
        lease = None if pick is None else self.lease(pick)
        run_id = run_id if lease is None else lease.run_id
        return await self.store.save(
            run_id, head, revision=revision, now=now, lease=lease, release=release and lease is not None
        )

    async def rewrite(self, now, run_id, head, new, revision):
        return await self.store.rewrite(run_id, head, new, revision=revision, now=now)

    async def claim(self, now, until, run_id, workflows):
        given_ = await self.store.claim(
            "you", now=now, until=now + until, limit=9, run_id=run_id, workflows=workflows
        )
        self.leases += sorted(given_, key=lambda lease: lease.run_id)
        return sorted(given_, key=lambda lease: lease.run_id)

    async def renew(self, now, picked, until):
        leases = {lease.token: lease for lease in map(self.lease, picked)}
        return await self.store.renew(list(leases.values()), until=now + until)

    async def release(self, _now, pick):
        return await self.store.release(self.lease(pick))

    async def find(self, _now, hook):
        return await self.store.find(hook)

    async def next_due(self, now, workflows):
        due = await self.store.next_due(now=now, workflows=workflows)
        return None if due is None else max(due, now)

    async def page(self, _now, query):
        return await self.store.page(query)

    async def delete(self, _now, run_id):
        return await self.store.delete(run_id)

    async def purge(self, now, before, statuses_):
        return await self.store.purge(before=now - before, statuses=statuses_)


def _tokenless(answer):
    if isinstance(answer, Lease):
        return msgspec.structs.replace(answer, token=0)
    if isinstance(answer, list):
        return [_tokenless(each) for each in answer]
    if isinstance(answer, msgspec.Struct):
        lease = None if answer.lease is None else _tokenless(answer.lease)
        return msgspec.structs.replace(answer, lease=lease)
    return answer


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.tuples(st.sampled_from([0.0, 1.0, 6.0]), calls), min_size=5, max_size=30))
def test_a_server_answers_as_the_memory_does(place, asked):
    async def compare():
        with_server = place.store()
        await with_server.open()
        one, other, now = Asked(MemoryStore()), Asked(with_server), 100.0
        try:
            for later, (verb, *words) in asked:
                now += later
                assert await one.ask(now, verb, *words) == await other.ask(now, verb, *words)
        finally:
            for run_id in "abc":
                await with_server.delete(run_id)
            await with_server.close()

    asyncio.run(compare())
