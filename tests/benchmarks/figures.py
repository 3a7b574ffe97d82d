"""The figures of the table, each measured beside its limit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from awaitpy import ResumeState, Runner, append_entries, get_pending_hooks, inject_hook, resume, run
from tests.benchmarks import limits, runs
from tests.benchmarks.orders import ANSWER, HOOK
from tests.benchmarks.timing import Ratio, Stopwatch, compared, interleaved

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from tests.benchmarks.timing import Block

    MakeBlock = Callable[[int, int], Block]


@attrs.frozen
class Scale:
    """How much is measured. A block of few steps is repeated until it is as long as the longest."""

    rounds: int = 15
    steps: tuple[int, ...] = (100, 1_000, 10_000)
    runs: int = 1_000
    items: int = 1_000
    entries: tuple[int, int] = (100, 100_000)
    calls: int = 1_000
    starts: int = 25


@attrs.frozen
class Family:
    """One figure at several numbers of steps: seconds per step, in each round."""

    sizes: tuple[int, ...]
    ours: list[list[float]]
    limit: list[list[float]]

    def against_limit(self, index: int) -> Ratio:
        """Compare with the limit, at one size."""
        return compared(self.ours[index], self.limit[index])

    def growth(self, index: int) -> Ratio:
        """Compare a step of the largest size with one of a smaller size."""
        return compared(self.ours[-1], self.ours[index])


async def _family(scale: Scale, ours: MakeBlock, limit: MakeBlock) -> Family:
    """Measure all sizes, and the limit of each, in the same rounds."""
    largest = scale.steps[-1]
    blocks: list[Block] = []
    for steps in scale.steps:
        blocks += [ours(steps, largest // steps), limit(steps, largest // steps)]
    times = await interleaved(scale.rounds, *blocks)
    return Family(scale.steps, _per_step(times[0::2], scale.steps), _per_step(times[1::2], scale.steps))


def _per_step(times: list[list[float]], sizes: tuple[int, ...]) -> list[list[float]]:
    done = (size * (sizes[-1] // size) for size in sizes)
    return [[seconds / steps for seconds in rounds] for rounds, steps in zip(times, done, strict=True)]


# --- fresh steps --------------------------------------------------------------------------------


async def fresh_orders(scale: Scale) -> Family:
    """Steps of an annotated async function against L."""
    return await _family(
        scale, _whole(lambda n: run(runs.journal_orders, n)), _whole(limits.journal_orders)
    )


async def fresh_plain(scale: Scale) -> Family:
    """Steps of an unannotated lambda that gives the order as dicts and lists, against L."""
    return await _family(scale, _whole(lambda n: run(runs.journal_plain, n)), _whole(limits.journal_orders))


def _whole(work: Callable[[int], Awaitable[object]]) -> MakeBlock:
    """Time all of the work; what it gives is freed while the watch stands."""

    def make(steps: int, times: int) -> Block:
        watch = Stopwatch()

        async def block() -> float:
            for _ in range(times):
                watch.start()
                kept = await work(steps)
                watch.stop()
                del kept
            return watch.taken()

        return block

    return make


# --- items --------------------------------------------------------------------------------------


async def mapped(scale: Scale) -> dict[str, Ratio]:
    """Compare `step.map` with a gather of plain steps, fresh and replayed."""
    flows = (runs.map_orders, runs.gather_orders)
    fresh = [_whole(lambda n, flow=flow: run(flow, n))(scale.items, 1) for flow in flows]
    states = [(await run(flow, scale.items)).state for flow in flows]
    again = [_replay(flow, state) for flow, state in zip(flows, states, strict=True)]
    times = await interleaved(scale.rounds, *fresh, *again)
    return {"step.map": compared(*times[:2]), "the same, replayed": compared(*times[2:])}


def _replay(flow: Callable[..., Coroutine[Any, Any, None]], state: ResumeState) -> Block:
    """Replay all steps: what was journaled is all there, and how the run ended is not."""
    unfinished = append_entries(Runner().start(flow, len(state.steps)), *state.steps.values())
    watch = Stopwatch()

    async def block() -> float:
        watch.start()
        kept = await resume(flow, unfinished)
        watch.stop()
        del kept
        return watch.taken()

    return block


# --- policies -----------------------------------------------------------------------------------


async def unused_options(scale: Scale) -> Ratio:
    """Steps under options that have nothing to do, against steps without."""
    steps = scale.steps[-1]
    blocks = (
        _whole(lambda n: run(runs.journal_with_options, n))(steps, 1),
        _whole(lambda n: run(runs.journal_orders, n))(steps, 1),
    )
    return compared(*await interleaved(scale.rounds, *blocks))


async def retried_replays(scale: Scale) -> Ratio:
    """A replayed step that was tried twice: in a long run against one in a shorter."""
    before, last = scale.steps[-2:]
    blocks = [_replay_retried(await runs.retried(size), last // size) for size in (last, before)]
    return compared(*await interleaved(scale.rounds, *blocks))  # as many steps in each


def _replay_retried(state: ResumeState, times: int) -> Block:
    watch = Stopwatch()

    async def block() -> float:
        for _ in range(times):
            watch.start()
            kept = await resume(runs.journal_retried, state)
            watch.stop()
            del kept
        return watch.taken()

    return block


# --- suspended runs -----------------------------------------------------------------------------


async def round_trips(scale: Scale) -> Family:
    """Suspend, to_bytes, from_bytes, inject and resume, against R."""
    return await _family(scale, _our_round_trip, _round_trip_by_hand)


def _our_round_trip(steps: int, times: int) -> Block:
    watch = Stopwatch()
    workflow = runs.approval(at_wait=watch.start)

    async def block() -> float:
        for _ in range(times):
            await runs.resumed(workflow, await runs.suspended(workflow, steps))
            watch.stop()
        return watch.taken()

    return block


def _round_trip_by_hand(steps: int, times: int) -> Block:
    watch = Stopwatch()

    async def block() -> float:
        for _ in range(times):
            await limits.resumed(await limits.suspended(steps, _run_id(), watch.start))
            watch.stop()
        return watch.taken()

    return block


async def many_runs(scale: Scale, steps: int = 5) -> Ratio:
    """Many short runs, all suspended to bytes and then all resumed, against the same by hand."""
    workflow = runs.approval(at_wait=_nothing)
    watch = Stopwatch()

    async def ours() -> float:
        watch.start()
        held = [await runs.suspended(workflow, steps) for _ in range(scale.runs)]
        for data in held:
            await runs.resumed(workflow, data)
        watch.stop()
        return watch.taken()

    async def by_hand() -> float:
        watch.start()
        held = [await limits.suspended(steps, _run_id(), _nothing) for _ in range(scale.runs)]
        for data in held:
            await limits.resumed(data)
        watch.stop()
        return watch.taken()

    return compared(*await interleaved(scale.rounds, ours, by_hand))


def _nothing() -> None:
    """Do nothing: the watch runs already, or there is none."""


def _run_id() -> str:
    return os.urandom(16).hex()


# --- sizes --------------------------------------------------------------------------------------


async def overhead_per_step(steps: int) -> float:
    """Give the bytes of a finished run, beyond keys and payloads, for each of its steps."""
    outcome = await run(runs.journal_orders, steps)
    state = outcome.state
    entries = state.steps.values()
    carried = sum(len(entry.key.encode()) + len(bytes(entry.payload)) for entry in entries)
    return (len(state.to_bytes()) - carried) / steps


async def suspended_size(steps: int = 5) -> int:
    """Give the bytes of a suspended run."""
    return len(await runs.suspended(runs.approval(at_wait=_nothing), steps))


# --- hooks of long runs -------------------------------------------------------------------------


async def hook_calls(scale: Scale) -> dict[str, Ratio]:
    """Compare calls on a state of many entries with the same calls on one of few."""
    few, many = [await _waiting_after(entries) for entries in scale.entries]
    calls: dict[str, Callable[[ResumeState], object]] = {
        "inject_hook": lambda state: inject_hook(state, HOOK, ANSWER),
        "get_pending_hooks": get_pending_hooks,
    }
    ratios: dict[str, Ratio] = {}
    for name, call in calls.items():
        blocks = [_calls(call, state, scale.calls) for state in (many, few)]
        ratios[name] = compared(*await interleaved(scale.rounds, *blocks))
    return ratios


async def _waiting_after(entries: int) -> ResumeState:
    return ResumeState.from_bytes(await runs.suspended(runs.approval(at_wait=_nothing), entries))


def _calls(call: Callable[[ResumeState], object], state: ResumeState, times: int) -> Block:
    watch = Stopwatch()

    async def block() -> float:
        watch.start()
        for _ in range(times):
            call(state)
        watch.stop()
        return watch.taken() / times

    return block
