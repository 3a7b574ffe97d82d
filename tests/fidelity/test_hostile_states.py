"""Hostile bytes are only bytes: any input gives a state or a StateError that says what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awaitpy import (
    AwaitpyError,
    Entry,
    HookAlreadyResolved,
    PendingHook,
    PendingRecord,
    ResumeState,
    Retry,
    Runner,
    StateError,
    Step,
    UnexpectedError,
    append_entries,
    cancel,
    create_hook,
    forget,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    rewind,
)
from awaitpy._state import changed
from awaitpy._wire import KINDS

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@attrs.frozen
class Order:
    id: str
    note: str | None = None


def order() -> Order:
    return Order("o-1")


def flaky() -> int:
    raise LookupError


async def flow(step: Step[PendingHook], name: str) -> str:
    try:
        await step("order", order)
        await step("open", create_hook, new_id=lambda: "h")
        await step("plain", lambda: [1, "zwei", {"drei": 3.5}])
        await step("first", pending_hook, "first", dict)
        await step.attempt("late", pending_hook, "late", timeout=1)
        mine = step.options(undo=print, retry=Retry(delay=60), timeout=60, on_unknown="fail")
        await mine.sleep("nap", 1)
        await step.options(timeout=0.001).attempt("slow", asyncio.sleep, 60)
        await asyncio.gather(
            step("wait", pending_hook, "h", metadata={"who": "me", "n": 1}),
            mine.sleep("night", 3600),
            mine("flaky", flaky),
        )
    except Exception as error:
        raise AssertionError("a workflow must not see this") from error
    return name


async def no_sleep(_: float) -> None: ...


async def a_state() -> ResumeState:
    """A state with an entry of each kind, and a wait with metadata."""
    state = (await Runner(clock=lambda: NOW, run_id="r").run(flow, "n")).state
    state = inject_hook(state, "first", {"a": 1}, delivery_id="d", now=NOW)
    state = (await Runner(clock=lambda: NOW).resume(flow, state)).state
    later = Runner(clock=lambda: NOW + timedelta(seconds=5), sleep=no_sleep)
    return (await later.resume(flow, state)).state


STATE = asyncio.run(a_state())
DATA = STATE.to_bytes()
JSON = STATE.to_json(indent=0)


def test_the_state_under_attack_has_entries_of_every_kind():
    kinds = {entry.kind_name for entry in STATE.steps.values()}
    assert kinds >= {"value", "hook", "answer", "timeout", "elapsed", "policy"}
    assert get_pending_hooks(STATE) == ["h"]
    assert [(timer.step_key, timer.attempts) for timer in STATE.timers] == [("night", 0), ("flaky", 1)]


def used(state: ResumeState, loop: Any) -> None:
    """Whatever a user does with a state of unknown origin: only awaitpy's own errors."""
    for look in (
        lambda: state.pending,
        lambda: state.timers,
        lambda: cancel(state, "why"),
        lambda: forget(state, "flaky"),
        lambda: rewind(state, "plain"),
        lambda: repr(state),
        lambda: next_wakeup(state),
        lambda: ResumeState.from_json(state.to_json()),
        lambda: ResumeState.from_bytes(state.to_bytes()),
        lambda: inject_hook(state, "h", 1, delivery_id="x", now=NOW),
    ):
        with contextlib.suppress(AwaitpyError):
            look()
    for tried in (state, cancel(state)):
        result = loop.wait(Runner(clock=lambda: NOW, sleep=no_sleep).resume(flow, tried)).result
        error = getattr(result, "error", None)
        if isinstance(error, UnexpectedError):
            assert isinstance(error.cause, (AwaitpyError, LookupError)), repr(error.cause)


def read(reader: Any, data: Any) -> ResumeState | None:
    """Read what may be a state: anything but a state or a `StateError` is a failure."""
    try:
        state = reader(data)
    except StateError:
        return None
    assert isinstance(state, ResumeState)
    return state


many = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


@many
@given(st.binary(max_size=60))
def test_random_bytes_are_a_state_or_an_error(data):
    read(ResumeState.from_bytes, data)
    read(ResumeState.from_json, data)


@many
@given(st.text(max_size=60))
def test_random_text_is_a_state_or_an_error(text):
    read(ResumeState.from_json, text)


def test_every_flipped_byte_gives_a_state_that_can_be_used_or_an_error(law):
    for place in range(len(DATA)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(DATA)
            damaged[place] ^= flip
            state = read(ResumeState.from_bytes, bytes(damaged))
            if state is not None:
                used(state, law)


def test_every_cut_off_state_is_said_to_be_truncated(law):
    for end in range(1, len(DATA)):
        with pytest.raises(StateError, match="truncated"):
            ResumeState.from_bytes(DATA[:end])
    for end in range(len(JSON)):
        with pytest.raises(StateError):
            ResumeState.from_json(JSON[:end])


trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "$map",
                    "$ext",
                    "$bytes",
                    "$time",
                    "$float",
                    "$",
                    "awaitpy",
                    "entries",
                    "key",
                    "kind",
                    "payload",
                ]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@many
@given(
    trees,
    st.sampled_from(
        ["entries", "hooks", "args", "kwargs", "closed", "end", "status", "surplus", "revision"]
    ),
)
def test_any_json_in_any_place_is_a_state_or_an_error(law, tree, place):
    read(ResumeState.from_json, json.dumps(tree))
    whole = {**json.loads(JSON), place: tree}
    state = read(ResumeState.from_json, json.dumps(whole))
    if state is not None:
        used(state, law)


@many
@given(trees, st.integers(0, len(STATE.steps) - 1))
def test_any_payload_in_any_entry_is_read_or_said_to_be_unreadable(law, tree, place):
    whole = json.loads(JSON)
    whole["entries"][place]["payload"] = tree
    state = read(ResumeState.from_json, json.dumps(whole))
    if state is not None:
        used(state, law)


@pytest.mark.parametrize(
    "payload",
    [
        b"\xc1",
        b"\xa1\xff",
        b"\x81\x80\x01",
        b"\x81\x90\x01",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xd4\x05\x00",
    ],
    ids=repr,
)
@pytest.mark.parametrize("key", list(STATE.steps))
def test_a_payload_that_is_no_messagepack_is_only_unreadable(law, payload, key):
    raw = msgspec.Raw(payload)
    entries = {
        k: msgspec.structs.replace(e, payload=raw) if k == key else e for k, e in STATE.steps.items()
    }
    used(changed(STATE, entries=entries), law)
    hook = msgspec.structs.replace(STATE.hooks["h"], metadata=raw)
    used(changed(STATE, hooks={"h": hook}), law)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (None, "not from NoneType"),
        ("text", "not from str"),
        (b"\x81", "truncated"),
        (b"\xc1", "no awaitpy state"),
        (b"hello", "no awaitpy state"),
        (msgspec.msgpack.encode([1, 2]), "no awaitpy state"),
        (msgspec.msgpack.encode({"a": 1}), "awaitpy"),
        (msgspec.msgpack.encode({"awaitpy": "x"}), "no awaitpy state"),
        (msgspec.msgpack.encode({"awaitpy": 7}), "format 7"),
        (DATA.replace(b"\xa7awaitpy\x01", b"\xa7awaitpy\x00"), "format 0"),
        (DATA.replace(b"\xa7awaitpy\x01", b"\xa7awaitpy\x05"), "format 5"),
        (DATA.replace(b"suspended", b"suspendet"), "no awaitpy state"),
        (DATA + b"\x00", "no awaitpy state"),
        (b"\x91" * 1_000_000, "no awaitpy state"),
        (b"\xdd\xff\xff\xff\xff", "no awaitpy state"),
    ],
    ids=lambda part: f"{part!r:.30}",
)
def test_bytes_that_are_no_state_are_told_what_they_are(data, words):
    with pytest.raises(StateError, match=words):
        ResumeState.from_bytes(data)


def test_a_state_with_a_payload_that_is_nested_too_deep_is_refused():
    raw = msgspec.Raw(b"\x91" * 1_000_000 + b"\xc0")  # Python 3.14 goes as deep as its stack
    entry = msgspec.structs.replace(STATE.steps["plain"], payload=raw)
    data = changed(STATE, entries={"plain": entry}).to_bytes()
    with pytest.raises(StateError, match="nested too deep"):
        ResumeState.from_bytes(data)


def test_a_damaged_answer_equals_no_delivery():
    answer = msgspec.structs.replace(STATE.steps["first"], payload=msgspec.Raw(b"\xc1"), delivery_id=None)
    damaged = changed(STATE, entries={**STATE.steps, "first": answer})
    with pytest.raises(HookAlreadyResolved):
        inject_hook(damaged, "first", {"a": 1}, now=NOW)


def test_other_kinds_of_bytes_are_read_too():
    assert ResumeState.from_bytes(bytearray(DATA)) == STATE
    assert ResumeState.from_bytes(memoryview(DATA)) == STATE
    assert ResumeState.from_json(JSON.encode()) == STATE


def with_part(**parts: Any) -> str:
    return json.dumps({**json.loads(JSON), **parts})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON, or it is truncated"),
        ("{", "no JSON, or it is truncated"),
        (b"\xff", "no JSON|no awaitpy state"),
        ("[]", "no awaitpy state"),
        ("5", "no awaitpy state"),
        ("null", "no awaitpy state"),
        ("{}", "awaitpy"),
        (None, "no awaitpy state"),
        ("[" * 100_000, "nested too deep|no JSON"),
        ("[" * 5_000 + "]" * 5_000, "nested too deep"),
        ('"\ud800"', "no awaitpy state|no JSON"),
        (with_part(awaitpy=9), "format 9"),
        (with_part(status="asleep"), "no awaitpy state"),
        (with_part(entries=5), "no awaitpy state"),
        (with_part(entries=[5]), "no awaitpy state"),
        (with_part(entries=[{"key": "a"}]), "no awaitpy state"),
        (with_part(entries=[{"key": "a", "kind": "b", "payload": 1}]), "no awaitpy state"),
        (with_part(entries=[{"key": "a", "kind": "value"}]), "no awaitpy state"),
        (with_part(revision=2**80), "no awaitpy state"),
        (with_part(x={"$ext": []}), "no awaitpy state"),
        (with_part(x={"$ext": [1]}), "no awaitpy state"),
        (with_part(x={"$ext": [300, ""]}), "no awaitpy state"),
        (with_part(x={"$ext": [1, "?"]}), "no awaitpy state"),
        (with_part(x={"$bytes": "?"}), "no awaitpy state"),
        (with_part(x={"$bytes": 5}), "no awaitpy state"),
        (with_part(x={"$float": "x"}), "no awaitpy state"),
        (with_part(x={"$time": "x"}), "no awaitpy state"),
        (with_part(x={"$map": [[1]]}), "no awaitpy state"),
        (with_part(x={"$map": [[{"a": 1}, 1]]}), "no awaitpy state"),
        (with_part(x={"$map": 5}), "no awaitpy state"),
    ],
    ids=lambda part: f"{part!r:.20}-{str(part)[-30:]}" if part else "empty",
)
def test_json_that_is_no_state_is_told_what_it_is(text, words):
    with pytest.raises(StateError, match=words):
        ResumeState.from_json(text)


def test_a_key_or_a_hook_that_is_there_twice_is_damage():
    tree = json.loads(JSON)
    for part in ("entries", "hooks"):
        twice = {**tree, part: [*tree[part], tree[part][-1]]}
        with pytest.raises(StateError, match="twice"):
            ResumeState.from_json(json.dumps(twice))


def test_a_wait_since_no_time_is_damage():
    tree = json.loads(JSON)
    del tree["hooks"][0]["since"]
    with pytest.raises(StateError, match="damaged"):
        assert ResumeState.from_json(json.dumps(tree)).pending


def test_every_kind_of_value_goes_through_json_as_it_is(law):
    values = {
        "ext": msgspec.msgpack.Ext(5, b"\x00"),
        "time": NOW,
        "bytes": b"\x00",
        "floats": [float("inf"), float("-inf"), -0.0, 1e300, 5e-324],
        "ints": [2**64 - 1, -(2**63)],
        "keys": {1: "a", (1, (2, b"x")): "b", 1.5: "c", None: "d", b"x": "f"},
        "dollars": [{"$float": "nan"}, {"$": 1}, {"$map": [], "b": 1}, {"$time": None}],
        "deep": {"a": [{"b": ({},)}]},
    }
    raw = msgspec.Raw(msgspec.msgpack.encode(values))
    entry = msgspec.structs.replace(STATE.steps["plain"], payload=raw)
    state = changed(STATE, entries={**STATE.steps, "plain": entry})
    again = ResumeState.from_json(state.to_json())
    assert again.to_bytes() == state.to_bytes()
    assert again.steps["plain"].payload == raw


def test_a_state_is_a_value():
    twin = ResumeState.from_bytes(DATA)
    assert twin == STATE
    assert hash(twin) == hash(STATE)
    assert STATE == STATE  # noqa: PLR0124  a state equals itself
    assert (STATE == DATA) is False
    assert inject_hook(STATE, "h", 1, now=NOW) != STATE
    assert repr(STATE).startswith("<ResumeState flow run r revision ")
    assert "waits for 'h'" in repr(STATE)
    assert isinstance(STATE.pending[0], PendingRecord)
    with pytest.raises(TypeError):
        STATE.steps["new"] = STATE.steps["plain"]
    with pytest.raises(AttributeError):
        STATE.status = "completed"


NEW_KINDS = ["note", "policy", "elapsed", "undo", "race"]
PAYLOADS = [
    None, 5, "text", b"x", [], ["a"], [1], {}, {"key": 1}, {"key": "plain"}, ["StepTimeout", {}],
    ["StepTimeout", {"step_key": 1, "seconds": 2.0}], ["Popen", "ls"], [["StepTimeout"], 1],
    ["w", ["flaky"], ["h"]],
    {"key": "plain", "attempts": 2**62, "began": True}, {"key": "plain", "until": "2030-01-01T00:00:00"},
]  # fmt: skip


@pytest.mark.parametrize("kind", NEW_KINDS)
@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
def test_an_entry_of_a_new_kind_with_any_payload_is_a_state_error_or_unreadable(law, kind, payload):
    for key in ("order", "open", "plain", "slow", "nap", "new"):
        new = Entry(key, KINDS.index(kind), msgspec.Raw(msgspec.msgpack.encode(payload)))
        used(changed(STATE, entries={**STATE.steps, key: new}), law)
        with contextlib.suppress(StateError):
            used(append_entries(ResumeState.from_bytes(DATA), new), law)
        ended = changed(STATE, entries={**STATE.steps, key: new}, undoing=("order", "never"))
        used(ended, law)


@pytest.mark.parametrize(
    "more",
    [
        {"underway": [{"key": "plain", "attempts": 3}]},
        {
            "underway": [
                {"key": "flaky", "attempts": 2**62, "until": {"$time": "2030-01-01T00:00:00+00:00"}}
            ]
        },
        {"underway": [{"key": "flaky", "until": {"$time": "9999-12-31T00:00:00+00:00"}}]},
        {"underway": [{"key": "flaky", "began": True, "until": {"$time": "1970-01-01T00:00:00+00:00"}}]},
        {"underway": [{"key": "wait", "until": {"$time": "2030-01-01T00:00:00+00:00"}}]},
        {"undoing": ["plain", "plain"]},
        {"undoing": ["never"]},
        {"undoing": [""], "cancelled": "x"},
        {"cancelled": ""},
    ],
    ids=str,
)
def test_what_is_said_of_steps_under_way_may_be_anything(law, more):
    used(ResumeState.from_json(with_part(more=more)), law)


@pytest.mark.parametrize(
    "parts",
    [
        {"more": {"underway": [{"key": "flaky", "until": {"$time": "2030-01-01T00:00:00"}}]}},
        {"more": {"underway": [{"attempts": 1}]}},
        {"more": {"underway": [{"key": "flaky", "attempts": -(2**62)}]}},
        {"more": {"undoing": "plain"}},
        {"more": {"cancelled": 5}},
        {"hooks": [{"hook_id": "h", "since": {"$time": "2030-01-01T00:00:00"}}]},
        {"hooks": [{"hook_id": "h", "deadline": "2030-01-01T00:00:00"}]},
    ],
    ids=str,
)
def test_a_time_without_a_zone_and_what_is_no_note_are_damage(parts):
    with pytest.raises(StateError, match="no awaitpy state"):
        ResumeState.from_json(with_part(**parts))


def test_a_note_that_is_damaged_is_told_by_its_key():
    with pytest.raises(StateError, match="'a' is damaged"):
        append_entries(STATE, Entry("a", KINDS.index("note"), msgspec.Raw(b"\x05")))
