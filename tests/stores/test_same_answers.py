"""The store in a file and the one in memory give the same answers to the same verbs."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from awaitpy.durable import Head, HookTaken, Lease, LeaseLost, Line, Query
from awaitpy.stores import MemoryStore, SQLiteStore

ids = st.sampled_from(["a", "b", "c", "d"])
times = st.sampled_from([0.0, 1.0, 2.5, 4.0, 8.0])
hooks = st.sampled_from(["h1", "h2", "h3", "h4"])
names = st.sampled_from(["order", "refund"])
statuses = st.sampled_from(["queued", "done"])
some_names = st.none() | st.lists(names, max_size=3)
metadata = st.dictionaries(st.sampled_from(["k", "l"]), st.sampled_from([1, True, "1", None]), max_size=2)
revisions = st.integers(1, 4)
heads = st.builds(
    Head,
    workflow=names,
    version=st.integers(1, 2),
    status=statuses,
    state=st.binary(max_size=3),
    settled=st.integers(0, 3),
    due=st.none() | times,
    hooks=st.lists(hooks, max_size=2).map(tuple),
    tries=st.integers(0, 2),
    trouble=st.none() | st.text(max_size=3),
)
lines = st.lists(st.builds(Line, st.binary(max_size=3), st.none() | hooks), max_size=3)
leases = st.tuples(ids, st.integers(1, 8))


class SameAnswers(RuleBasedStateMachine):
    """Asks both stores, and compares what they give or raise."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = MemoryStore(), SQLiteStore(Path(self.folder.name) / "runs.db", synchronous="NORMAL")
        self.given = {}
        for store in self.stores:
            self.runner.run(store.open())

    def teardown(self):
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()
        self.folder.cleanup()

    def ask(self, verb, *args, **options):
        one, other = (
            self.runner.run(answer(getattr(store, verb)(*args, **options))) for store in self.stores
        )
        assert one == other
        return one

    def lease(self, pick):
        """A lease that was given once, or one that never was."""
        return self.given.get(pick, Lease(pick[0], "nobody", 99, 1.0))

    def keep(self, *found):
        self.given |= {(lease.run_id, lease.token): lease for lease in found}

    @rule(run=ids, head=heads, items=metadata, now=times, lease=st.none() | st.tuples(ids, times))
    def create(self, run, head, items, now, lease):
        told = self.ask("create", run, head, metadata=items, now=now, lease=lease)
        if isinstance(told, Lease):
            self.keep(told)

    @rule(run=ids, tail=st.booleans())
    def load(self, run, tail):
        self.ask("load", run, tail=tail)

    @rule(pick=leases, more=lines)
    def append(self, pick, more):
        self.ask("append", self.lease(pick), more)

    @rule(run=ids, head=heads, revision=revisions, now=times)
    def save(self, run, head, revision, now):
        self.ask("save", run, head, revision=revision, now=now)

    @rule(pick=leases, head=heads, revision=revisions, now=times, release=st.booleans())
    def save_leased(self, pick, head, revision, now, release):
        lease = self.lease(pick)
        self.ask("save", lease.run_id, head, revision=revision, now=now, lease=lease, release=release)

    @rule(run=ids, head=heads, new=lines, revision=revisions, now=times)
    def rewrite(self, run, head, new, revision, now):
        self.ask("rewrite", run, head, new, revision=revision, now=now)

    @rule(now=times, until=times, limit=st.integers(1, 3), run=st.none() | ids, workflows=some_names)
    def claim(self, now, until, limit, run, workflows):
        # Of two that are due since the same time, both of these stores give the older one.
        options = {"now": now, "until": until, "limit": limit, "run_id": run, "workflows": workflows}
        self.keep(*self.ask("claim", "me", **options))

    @rule(picks=st.lists(leases, max_size=3, unique=True), until=times)
    def renew(self, picks, until):
        self.ask("renew", [self.lease(pick) for pick in picks], until=until)

    @rule(pick=leases)
    def release(self, pick):
        self.ask("release", self.lease(pick))

    @rule(hook=hooks)
    def find(self, hook):
        self.ask("find", hook)

    @rule(now=times, workflows=some_names)
    def next_due(self, now, workflows):
        dues = [self.runner.run(store.next_due(now=now, workflows=workflows)) for store in self.stores]
        assert len({due if due is None else max(due, now) for due in dues}) == 1

    @rule(workflow=st.none() | names, status=st.none() | statuses, items=metadata, limit=st.integers(1, 4))
    def page(self, workflow, status, items, limit):
        query = Query(workflow=workflow, status=status, metadata=items, limit=limit)
        while found := self.ask("page", query):
            query = Query(workflow=workflow, status=status, metadata=items, limit=limit, after=found[-1])

    @rule(run=ids)
    def delete(self, run):
        self.ask("delete", run)

    @rule(before=times, some=st.lists(statuses, max_size=2))
    def purge(self, before, some):
        self.ask("purge", before=before, statuses=some)


async def answer(call):
    """What a verb gives, or the kind of refusal that it raises."""
    try:
        return await call
    except (LeaseLost, HookTaken) as refused:
        return type(refused), vars(refused)


TestSameAnswers = SameAnswers.TestCase
TestSameAnswers.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
