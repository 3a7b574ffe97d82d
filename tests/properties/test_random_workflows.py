"""Workflows made at random, crashed at random and answered in random order, end as they have to."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from awaitpy import (
    Err,
    PendingHook,
    Result,
    ResumeState,
    Runner,
    append_entries,
    check,
    get_pending_hooks,
    inject_hook,
    pending_hook,
)

LEAVES = st.sampled_from(["step", "quick", "hook", "attempt"])
ITEMS = st.sampled_from(["step", "quick", "hook"])
TREES = st.recursive(
    LEAVES | st.tuples(st.sampled_from(["map", "collect"]), st.lists(ITEMS, max_size=5)),
    lambda trees: st.tuples(
        st.sampled_from(["row", "gather", "group", "scope", "limited", "tasks", "race", "child"]),
        st.lists(trees, min_size=1, max_size=4),
    ),
    max_leaves=12,
)


class Tree:
    """A workflow of a tree: its leaves are steps and waits, its nodes say how to run what is below."""

    def __init__(self, tree: Any, rhythm: random.Random) -> None:
        self.tree, self.rhythm = tree, rhythm
        self.ran: Counter[str] = Counter()

    async def workflow(self, step) -> Any:
        return await self.node(step, self.tree, "r")

    async def node(self, step, tree: Any, key: str) -> Any:
        await self.turns()
        if isinstance(tree, str):
            return await self.leaf(step, tree, key)
        kind, trees = tree
        if kind in {"map", "collect"}:
            return await self.mapped(step, kind, trees, key)
        if kind == "race":
            return await self.raced(step, trees, key)
        if kind == "scope":
            step = step.scope(key)
        if kind == "child":
            return await step.child(key, partial(self.inside, trees=trees, key=key))
        gate = asyncio.Semaphore(2)
        below = [self.limited(gate, step, t, f"{key}.{i}") for i, t in enumerate(trees)]
        if kind == "limited":
            return list(await asyncio.gather(*below))
        for coroutine in below:
            coroutine.close()
        return await self.many(kind, [(step, t, f"{key}.{i}") for i, t in enumerate(trees)])

    async def limited(self, gate: asyncio.Semaphore, *args: Any) -> Any:
        async with gate:
            return await self.node(*args)

    async def inside(self, step, *, trees: Any, key: str) -> Any:
        return await self.many("gather", [(step, t, f"{key}.{i}") for i, t in enumerate(trees)])

    async def many(self, kind: str, calls: list[Any]) -> Any:
        if kind == "gather":
            return list(await asyncio.gather(*(self.node(*call) for call in calls)))
        if kind == "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.node(*call)) for call in calls]
            return [task.result() for task in tasks]
        if kind == "tasks":
            tasks = [asyncio.ensure_future(self.node(*call)) for call in calls]
            return [await task for task in reversed(tasks)][::-1]
        return [await self.node(*call) for call in calls]

    async def mapped(self, step, kind: str, items: list[str], key: str) -> Any:
        # A dry run does not call it: the type says how an answer is read.
        def item(numbered: tuple[int, str]) -> Result[str, PendingHook]:
            i, what = numbered
            if what == "hook":
                return pending_hook(f"{key}.{i}")
            return self.quick(f"{key}.{i}") if what == "quick" else self.work(f"{key}.{i}")

        got = await step.map(key, item, enumerate(items), limit=2, collect=kind == "collect")
        return [one.unwrap() for one in got] if kind == "collect" else got

    async def raced(self, step, trees: list[Any], key: str) -> Any:
        """Run the same below twice, and take what is first: either gives the same, but for the lane."""
        won = await step.race(
            f"{key}!",
            {
                lane: lambda s, lane=lane: self.many(
                    "row", [(s, t, f"{key}~{lane}.{i}") for i, t in enumerate(trees)]
                )
                for lane in "ab"
            },
        )
        assert won.name in {"a", "b"}
        return won.value

    async def leaf(self, step, kind: str, key: str) -> Any:
        if kind == "hook":
            return await step(key, pending_hook, key)
        if kind == "attempt":
            return (await step.attempt(key, self.fails, key)).unwrap_err()
        return await step(key, self.quick if kind == "quick" else self.work, key)

    def quick(self, key: str):
        self.ran[key] += 1
        return key

    def fails(self, key: str):
        self.ran[key] += 1
        return Err(key)

    async def work(self, key: str):
        self.ran[key] += 1
        await self.turns()
        return key

    async def turns(self) -> None:
        for _ in range(self.rhythm.choice([0, 0, 1, 2, 5])):
            await asyncio.sleep(0)


def wanted(tree: Any, key: str = "r") -> Any:
    """Say what a tree gives."""
    if isinstance(tree, str):
        return key
    return [wanted(below, f"{key}.{i}") for i, below in enumerate(tree[1])]


def without_lanes(given: Any) -> Any:
    """Give what a workflow gave as if nothing had raced."""
    return re.sub("~[ab]", "", given) if isinstance(given, str) else [without_lanes(one) for one in given]


class Store:
    """A store that keeps entries, and dies in each leg after a number of them that was drawn."""

    def __init__(self, lives: int | None) -> None:
        self.lives, self.kept = lives, []

    async def checkpoint(self, entry) -> None:
        if self.lives is not None and len(self.kept) >= self.lives:
            raise ConnectionError("dead")
        self.kept.append(entry)
        await asyncio.sleep(0)


@settings(max_examples=120)
@given(TREES, st.randoms(use_true_random=False), st.lists(st.integers(0, 4), max_size=4))
def test_a_random_workflow_ends_as_it_has_to_through_crashes_and_deliveries(tree, chance, crashes):
    flow = Tree(tree, random.Random(chance.random()))
    asyncio.run(_play(flow, tree, chance, crashes))


async def _play(flow: Tree, tree: Any, chance: random.Random, crashes: list[int]) -> None:
    state = Runner().start(flow.workflow)
    crashed = len(crashes)
    for _ in range(60):
        store = Store(crashes.pop() if crashes else None)
        state = ResumeState.from_bytes(state.to_bytes())
        await _would_resume(flow, state)
        outcome = await Runner(checkpoint=store.checkpoint).resume(flow.workflow, state)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if outcome.state.status == "completed":
            break
        if isinstance(outcome.result.error, PendingHook):
            state = _deliver(outcome.state, chance)
        else:
            assert isinstance(outcome.result.error.cause, ConnectionError), outcome.result
            state = append_entries(state, *store.kept)
    assert without_lanes(outcome.result.value) == wanted(tree)
    assert all(count <= 1 + crashed for count in flow.ran.values())
    if not crashed:
        assert set(flow.ran.values()) <= {1}


async def _would_resume(flow: Tree, state: ResumeState) -> None:
    """See that a dry run finds nothing against unchanged code, and runs nothing."""
    before = Counter(flow.ran)
    found = await check(flow.workflow, state)
    assert found.ok, str(found)
    assert found.unasked == ()
    assert flow.ran == before


def _deliver(state: ResumeState, chance: random.Random) -> ResumeState:
    """Answer a random non-empty subset of the pending hooks, in random order."""
    pending = get_pending_hooks(state)
    assert pending
    chance.shuffle(pending)
    for hook_id in pending[: chance.randint(1, len(pending))]:
        state = inject_hook(state, hook_id, hook_id)
    return state


@settings(max_examples=60)
@given(st.integers(1, 6).flatmap(lambda n: st.permutations(range(n))), st.randoms())
def test_every_subset_and_order_of_deliveries_gives_the_same_end(order, chance):
    tree = ("gather", ["hook", *["hook"] * (len(order) - 1), ("row", ["step", "hook"])])
    flow = Tree(tree, random.Random(0))
    asyncio.run(_play(flow, tree, chance, []))


@settings(max_examples=60)
@given(TREES, st.randoms(use_true_random=False))
def test_all_hooks_that_branches_wait_for_are_pending_together(tree, chance):
    """However the branches are timed, the first leg comes to the same waits."""

    async def first_leg():
        flow = Tree(tree, random.Random(chance.random()))
        outcome = await Runner().run(flow.workflow)
        return set(get_pending_hooks(outcome.state)), set(outcome.state.steps)

    limited = "limited" in repr(tree) or "race" in repr(tree)  # there the timing says who comes first
    assert limited or asyncio.run(first_leg()) == asyncio.run(first_leg())
