"""Maps and races with hooks and time inside end the same, wherever the process died."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from awaitpy import (
    Err,
    Ok,
    PendingHook,
    PendingTimer,
    ResumeState,
    Retry,
    append_entries,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    pending_timer,
)
from tests.parallel.conftest import World

KINDS = st.sampled_from(["quick", "work", "hook", "nap", "night", "flaky", "bad"])


class Flow:
    """A map of items of all kinds beside a race of a hook and time; its steps count what they did."""

    def __init__(self, items: list[str], limit: int, hook_first: bool) -> None:
        self.world, self.items, self.limit, self.hook_first = World(), items, limit, hook_first
        self.failed: set[int] = set()
        self.undone: list[object] = []

    async def workflow(self, step):
        policy = step.options(retry=Retry(delay=3600), undo=self.undone.append)
        results, won = await asyncio.gather(
            policy.map("m", self.item, range(len(self.items)), limit=self.limit, collect=True),
            step.race("r", {"hook": self.hooked, "time": lambda s: s.sleep("t", 10**6)}),
        )
        return [getattr(one, "value", one) for one in results], won.name

    async def hooked(self, step):
        await step("ask", self.world.work, "ask")
        if not self.hook_first:
            await step.sleep("long", 10**7)
        await step("w", pending_hook, "race")

    def item(self, i: int):
        kind = self.items[i]
        if kind == "hook":
            return pending_hook(f"h{i}")
        if kind in {"nap", "night"}:
            return pending_timer(1 if kind == "nap" else 7200)
        if kind == "flaky" and i not in self.failed:
            self.failed.add(i)
            raise OSError
        if kind == "bad":
            self.world.ran.append(i)
            return Err(i)
        return self.world.work(i) if kind == "work" else self.world.quick(i)

    def wanted(self):
        given = {"hook": lambda i: f"h{i}", "nap": lambda _: None, "night": lambda _: None, "bad": Err}
        values = [given.get(kind, lambda i: i)(i) for i, kind in enumerate(self.items)]
        return values, "hook" if self.hook_first else "time"


class Store:
    def __init__(self, lives: int | None) -> None:
        self.lives, self.kept = lives, []

    async def checkpoint(self, entry) -> None:
        if self.lives is not None and len(self.kept) >= self.lives:
            raise ConnectionError("dead")
        self.kept.append(entry)
        await asyncio.sleep(0)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(KINDS, max_size=6),
    st.integers(1, 4),
    st.booleans(),
    st.lists(st.integers(0, 9), max_size=4),
    st.randoms(use_true_random=False),
)
def test_any_items_answers_and_crashes_give_the_same_end(items, limit, hook_first, crashes, chance):
    flow = Flow(items, limit, hook_first)
    died = asyncio.run(_play(flow, list(crashes), chance))
    assert flow.world.most <= limit + 1  # and the step of the race
    assert all(count <= 1 + died for count in flow.world.counts.values())


async def _play(flow: Flow, crashes: list[int], chance: random.Random) -> int:
    died = 0
    state = flow.world.runner().start(flow.workflow)
    for _ in range(200):
        store = Store(crashes.pop() if crashes else None)
        state = ResumeState.from_bytes(state.to_bytes())
        runner = flow.world.runner(checkpoint=store.checkpoint)
        outcome = await runner.resume(flow.workflow, state)
        if outcome.state.status == "completed":
            assert outcome.result == Ok(flow.wanted())
            return died
        error = outcome.result.unwrap_err()
        if isinstance(error, (PendingHook, PendingTimer)):
            state = _answered(flow, outcome.state, chance)
        else:
            died += 1
            state = append_entries(state, *store.kept)
    raise AssertionError("the run never ended")


def _answered(flow: Flow, state: ResumeState, chance: random.Random) -> ResumeState:
    """Answer a hook, whichever, or let time pass until the next timer."""
    hooks = get_pending_hooks(state)
    if hooks and chance.random() < 0.7:
        hook_id = chance.choice(hooks)
        return inject_hook(state, hook_id, hook_id, now=flow.world.now)
    wakeup = next_wakeup(state)
    if wakeup is None or (hooks and "race" in hooks):
        return inject_hook(state, hooks[0], hooks[0], now=flow.world.now)
    flow.world.now = max(flow.world.now, wakeup)
    return state
