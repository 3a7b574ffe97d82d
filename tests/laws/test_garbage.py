"""A run that has ended is freed at once: its journal does not wait for the collector."""

from __future__ import annotations

import gc

from awaitpy import PendingHook, Step, inject_hook, pending_hook, resume, run


async def flow(step: Step[PendingHook]) -> int:
    await step("one", lambda: {"a": [1]})
    return await step("wait", pending_hook, "h", int)


async def both_legs() -> None:
    outcome = await run(flow)
    await resume(flow, inject_hook(outcome.state, "h", 1))


async def test_neither_a_suspended_nor_a_resumed_run_leaves_cycles():
    await both_legs()  # what is made once and kept
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await both_legs()
        assert gc.collect() < 20
    finally:
        gc.enable()
