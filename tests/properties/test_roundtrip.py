"""A state and its bytes, and a state and its JSON, are the same thing."""

from __future__ import annotations

import asyncio
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from awaitpy import (
    Err,
    Ok,
    ResumeState,
    create_hook,
    forget,
    inject_hook,
    pending_hook,
    resume,
    run,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTS = st.integers(-(2**63), 2**64 - 1)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    INTS,
    st.floats(allow_nan=False),
    st.just(math.nan),
    TEXT,
    st.binary(max_size=8),
    st.sampled_from(["$bytes", "$map", "$time", "$float", "$ext"]),
)
KEYS = st.one_of(TEXT, INTS, st.sampled_from(["$bytes", "$map", "$time", "$float", "$ext", "$", "kind"]))
PLAIN = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=10,
)
NAMES = st.lists(TEXT.filter(bool), min_size=1, max_size=5, unique=True)


async def flow(step, values, names):
    for name, value in zip(names, values, strict=False):
        await step(f"s {name}", lambda value=value: value)
        await step.attempt(f"e {name}", lambda value=value: Err(value))
        hook = await step(f"h {name}", create_hook)
        await step(f"w {name}", pending_hook, hook.hook_id, metadata={"m": value})
    return values


@settings(max_examples=80)
@given(st.lists(PLAIN, min_size=1, max_size=4), NAMES, st.integers(0, 4))
def test_a_state_is_the_same_after_bytes_and_after_json(values, names, legs):
    async def states():
        outcome = await run(flow, values, names)
        yield outcome.state
        for value in values[:legs]:
            if outcome.state.pending:
                hook_id = outcome.state.pending[0].hook_id
                state = inject_hook(outcome.state, hook_id, value, delivery_id=names[0])
                yield state
                outcome = await resume(flow, state)
                yield outcome.state
        for key in outcome.state.steps:
            yield forget(outcome.state, key)

    async def check():
        async for state in states():
            _same(ResumeState.from_bytes(state.to_bytes()), state)
            _same(ResumeState.from_json(state.to_json()), state)
            _same(ResumeState.from_json(state.to_json(indent=0).encode()), state)

    asyncio.run(check())


def _same(back, state):
    assert back == state
    assert back.to_bytes() == state.to_bytes()
    assert hash(back) == hash(state)
    assert repr(back) == repr(state)
    assert list(back.steps) == list(state.steps)
    assert back.to_json() == state.to_json()


@settings(max_examples=80)
@given(PLAIN)
def test_what_is_injected_is_what_the_workflow_gets(value):
    seen = []

    async def waiting(step):
        seen.append(await step("w", pending_hook, "h"))

    async def play():
        state = inject_hook((await run(waiting)).state, "h", value)
        for again in (state, ResumeState.from_json(state.to_json())):
            done = await resume(waiting, again)
            assert done.result == Ok(None)
            await resume(waiting, forget(done.state, "w"))

    asyncio.run(play())
    assert [repr(s) for s in seen] == [repr(value)] * 2
