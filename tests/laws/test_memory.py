"""What a run leaves in memory: nothing, once its program has let it go."""

from __future__ import annotations

import gc
import weakref

import pytest

from awaitpy import inject_hook, pending_hook, resume, run


class Held:
    """Something that a closure holds on to."""


async def _in_a_closure(kind: str) -> weakref.ref[Held]:
    held = Held()

    async def load() -> bool:
        return held is not None

    async def inner(step, n: int) -> int:
        await step("load", load)
        return n

    async def flow(step, n: int) -> int:
        if kind == "child":
            return await step.child("inner", inner, n)
        if kind == "undo":
            await step.options(undo=lambda _: held)("load", load)
        await step("load again", load)
        await step("untyped", lambda: held and n)
        return await step("wait", pending_hook, "hook", int)

    outcome = await run(flow, 1)
    if kind == "resumed":
        outcome = await resume(flow, inject_hook(outcome.state, "hook", 2))
    return weakref.ref(held)


@pytest.mark.parametrize("kind", ["suspended", "resumed", "child", "undo"])
async def test_a_workflow_that_nobody_holds_is_let_go_with_all_that_it_closed_over(kind):
    held = await _in_a_closure(kind)
    gc.collect()
    assert held() is None
