"""The same work as in `limits`, as workflows of awaitpy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from awaitpy import (
    PendingHook,
    ResumeState,
    Retry,
    Runner,
    Step,
    current_step,
    inject_hook,
    pending_hook,
    resume,
    run,
)
from tests.benchmarks.orders import ANSWER, HOOK, ORDER, PLAIN, Approval, Order, fetch_order

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    Flow = Callable[[Step[PendingHook], int], Coroutine[Any, Any, Approval]]


async def journal_orders(step: Step[PendingHook], steps: int) -> None:
    """Steps of an annotated async function."""
    for number in range(steps):
        await step(f"step-{number}", fetch_order)


async def journal_with_options(step: Step[PendingHook], steps: int) -> None:
    """The same steps under a policy that has nothing to do."""
    careful = step.options(retry=Retry(), undo=print)
    for number in range(steps):
        await careful(f"step-{number}", fetch_order)


async def fetch_at_second() -> Order:
    """Give the order at the second attempt."""
    if current_step().attempt == 1:
        raise ConnectionError
    return ORDER


async def journal_retried(step: Step[PendingHook], steps: int) -> None:
    """Steps that are tried twice, without a delay."""
    patient = step.options(retry=Retry(delay=0))
    for number in range(steps):
        await patient(f"step-{number}", fetch_at_second)
    await step("approve", pending_hook, HOOK, Approval)


async def retried(steps: int) -> ResumeState:
    """Give a suspended run of such steps."""
    outcome = await Runner().run(journal_retried, steps)
    return ResumeState.from_bytes(outcome.state.to_bytes())


async def journal_plain(step: Step[PendingHook], steps: int) -> None:
    """Steps of a lambda, which says nothing of what it returns."""
    for number in range(steps):
        await step(f"step-{number}", lambda: PLAIN)


async def map_orders(step: Step[PendingHook], steps: int) -> None:
    """The same steps by one `step.map`."""
    await step.map("step", _fetch, range(steps))


async def gather_orders(step: Step[PendingHook], steps: int) -> None:
    """The same steps by `asyncio.gather`."""
    await asyncio.gather(*(step(f"step/{number}", _fetch, number) for number in range(steps)))


async def _fetch(_: int) -> Order:
    return await fetch_order()


def approval(at_wait: Callable[[], None]) -> Flow:
    """Give the workflow that journals orders and waits; it calls `at_wait` before the wait."""

    async def approved(step: Step[PendingHook], steps: int) -> Approval:
        for number in range(steps):
            await step(f"step-{number}", fetch_order)
        at_wait()
        return await step("approve", pending_hook, HOOK, Approval)

    return approved


async def suspended(workflow: Flow, steps: int) -> bytes:
    """Run to the hook, and keep the run as bytes."""
    outcome = await run(workflow, steps)
    return outcome.state.to_bytes()


async def resumed(workflow: Flow, data: bytes) -> Approval:
    """Read the run, inject the answer, and resume to the end."""
    state = inject_hook(ResumeState.from_bytes(data), HOOK, ANSWER)
    outcome = await resume(workflow, state)
    return outcome.result.unwrap()
