"""Hostile bytes are only bytes: a state or a StateError comes of them, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from awaitpy import (
    Err,
    HookError,
    ResumeState,
    Retry,
    Runner,
    StateError,
    cancel,
    create_hook,
    first_of,
    forget,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
)


async def eventful(step, amount: int):
    """Leave everything in the state that a state can hold."""
    await step("value", lambda: {"n": [1, 2.5, None, b"x"], "t": "é"})
    await step.attempt("error", lambda: Err("no"))
    hook = await step("make", create_hook)
    await step.attempt("timeout", pending_hook, "late", timeout=60)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.001):
            await step("cut", asyncio.Event().wait)
    await step.options(timeout=0.001).attempt("slow", asyncio.sleep, 60)
    await step.sleep("nap", 0)
    await step("race", first_of, pending_hook("r1"), pending_hook("r2"))
    await asyncio.gather(
        step("w1", pending_hook, "h1", metadata={"a": [1]}, timeout=600, methods=["post"]),
        step("w2", pending_hook, hook.hook_id),
        step("many", pending_hook, "box", many=True, accept=lambda _: None),
        step.sleep("night", 3600),
        step.options(retry=Retry(delay=60))("flaky", lambda: 1 // 0),
    )


def a_real_state() -> ResumeState:
    now = 1_700_000_000.0
    runner = Runner(clock=lambda: now, run_id="run-1")

    async def play():
        nonlocal now
        outcome = await runner.run(eventful, 5)
        now += 60
        outcome = await runner.resume(eventful, outcome.state)
        state = inject_hook(outcome.state, "r2", "won", delivery_id="d1", now=now)
        state = (await runner.resume(eventful, state)).state
        state = inject_hook(state, "box", {"k": "v"}, delivery_id="d2", now=now)
        return cancel(forget(state, "error"), "why")

    return asyncio.run(play())


REAL = a_real_state()
DATA, TEXT = REAL.to_bytes(), REAL.to_json()


def read(data: bytes) -> ResumeState | None:
    """Read bytes; whatever can be read can be looked at, too."""
    try:
        state = ResumeState.from_bytes(data)
    except StateError:
        return None
    look_at(state)
    return state


def look_at(state: ResumeState) -> None:
    assert repr(state)
    state.to_bytes()
    get_pending_hooks(state)
    next_wakeup(state)
    with contextlib.suppress(StateError):
        state.to_json()
    with contextlib.suppress(StateError):
        assert len(state.pending) <= len(state.hooks)
    assert len(state.timers) <= len(state.underway)
    cancel(state)
    with contextlib.suppress(HookError):
        inject_hook(state, "h1", 1)


def test_the_real_state_holds_one_of_everything():
    kinds = {entry.kind_name for entry in REAL.steps.values()}
    assert kinds == {"value", "hook", "timeout", "cut", "answer", "policy", "elapsed"}
    assert [timer.step_key for timer in REAL.timers] == ["night", "flaky"]
    assert REAL.forgotten == ("error",)
    assert get_pending_hooks(REAL)[0] == "h1"
    assert read(DATA) == REAL


def test_every_flip_of_a_byte_gives_a_state_or_a_state_error():
    for place in range(len(DATA)):
        for bits in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            flipped = bytearray(DATA)
            flipped[place] ^= bits
            read(bytes(flipped))


def test_every_truncation_is_a_state_error():
    for length in range(len(DATA)):
        assert read(DATA[:length]) is None


def test_every_byte_too_many_is_a_state_error():
    for more in (b"\x00", b"\xc0", DATA):
        assert read(DATA + more) is None


def test_every_flip_and_truncation_of_the_json_gives_a_state_or_a_state_error():
    text = TEXT.encode()
    for place in range(len(text)):
        for bits in (1, 16, 255):
            flipped = bytearray(text)
            flipped[place] ^= bits
            with contextlib.suppress(StateError):
                look_at(ResumeState.from_json(bytes(flipped)))
        with pytest.raises(StateError):
            ResumeState.from_json(text[:place])


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_give_a_state_or_a_state_error(data):
    read(data)


@settings(max_examples=300)
@given(st.integers(0, len(DATA)), st.integers(0, 20), st.binary(max_size=20))
def test_a_random_cut_and_paste_gives_a_state_or_a_state_error(place, gone, new):
    read(DATA[:place] + new + DATA[place + gone :])


SPECIAL = st.sampled_from(
    ["$bytes", "$float", "$time", "$ext", "$map", "entries", "kind", "key", "awaitpy", "hooks"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(SPECIAL | st.text(max_size=3), below, max_size=3)
        | st.tuples(SPECIAL, below).map(lambda pair: {pair[0]: pair[1]})
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(JSON, st.booleans())
@example({"$ext": []}, False)
@example({"$ext": [1]}, False)
@example({"$ext": [300, ""]}, False)
@example({"$map": [[{"$map": []}, 1]]}, False)
@example({"$time": "9999-12-31T23:59:59-23:00"}, True)
def test_random_json_gives_a_state_or_a_state_error(tree, inside):
    if inside:
        tree = {**json.loads(TEXT), "kwargs": {"x": {"value": tree}}}
    with contextlib.suppress(StateError):
        look_at(ResumeState.from_json(json.dumps(tree)))


@settings(max_examples=100)
@given(st.text(max_size=30) | st.sampled_from(["", "null", "{}", "[]", "\ud800", "{" * 9, '"']))
def test_random_text_gives_a_state_error(text):
    with pytest.raises(StateError):
        ResumeState.from_json(text)


def test_what_is_no_bytes_and_no_text_is_refused_as_well():
    for thing in (None, 5, "text", [], {}):
        with pytest.raises(StateError):
            ResumeState.from_bytes(thing)
    for thing in (None, 5, [], {}):
        with pytest.raises(StateError):
            ResumeState.from_json(thing)


HEAD = (
    b"\x87\xa7awaitpy\x01\xa6run_id\xa1r\xa8workflow\xa1w\xa7version\x01"
    b"\xa8revision\x01\xa6status\xa7running"
)
FIELDS = ("args", "kwargs", "entries", "hooks", "closed", "forgotten", "end", "more", "other")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("length", [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x10\x00\x00\x00", b"\x00\x10\x00\x00"])
def test_a_length_that_is_a_lie_takes_neither_memory_nor_time(field, length, size):
    name = bytes([0xA0 + len(field)]) + field.encode()
    for rest in (b"", b"\x00" * 20, DATA):
        assert read(HEAD + name + length + size + rest) is None


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01", b"\x91\x81\xa5value"])
@pytest.mark.parametrize("depth", [100, 1_000, 200_000])
def test_nesting_however_deep_is_a_state_or_a_state_error(field, opening, depth):
    name = bytes([0xA0 + len(field)]) + field.encode()
    read(HEAD + name + opening * depth)
    read(HEAD + name + opening * depth + b"\x01")
    read(opening * depth + b"\x01")


@pytest.mark.parametrize("depth", [100, 1_000, 200_000])
@pytest.mark.parametrize(
    ("opening", "end"), [("[", "]"), ('{"a":', "}"), ('{"$map":[[', ",1]]}"), ('{"$map":', "}")]
)
def test_nesting_of_json_however_deep_is_a_state_error(opening, end, depth):
    for text in (opening * depth, opening * depth + "1" + end * depth):
        with pytest.raises(StateError):
            ResumeState.from_json(text)
        with pytest.raises(StateError):
            ResumeState.from_json('{"awaitpy": 1, "args": ' + text + "}")


@pytest.mark.parametrize("depth", [50, 150, 300, 600, 1500])
def test_a_payload_that_is_nested_deep_is_read_or_refused_whole(depth):
    """What can be read from bytes can be written as JSON, or says that it can't."""
    deep = b"\x91" * depth + b"\x01"
    state = read(HEAD + b"\xa4args\x91\x81\xa5value" + deep)
    if state is not None:
        with contextlib.suppress(StateError):
            assert ResumeState.from_json(state.to_json()) == state


def test_a_newer_format_is_named():
    newer = DATA.replace(b"\xa7awaitpy\x01", b"\xa7awaitpy\x02")
    with pytest.raises(StateError, match=r"format 2.*reads format"):
        ResumeState.from_bytes(newer)
    with pytest.raises(StateError, match="format 2"):
        ResumeState.from_json(TEXT.replace('"awaitpy": 1', '"awaitpy": 2'))


def test_a_pickle_is_not_read():
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code of the bytes ran",))

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert read(pickle.dumps(Bomb(), protocol)) is None
