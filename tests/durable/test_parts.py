"""A run taken apart and put together is the run it was; what is damaged is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitpy import Entry, Runner, StateError, append_entries, create_hook, pending_hook, run
from awaitpy._wire import CUT, CUT_OFF, HOOK, NOTE, VALUE, encode
from awaitpy.durable import Head, StoredRun
from awaitpy.durable import _parts as parts


def stored(state, journal, settled):
    head = Head(workflow="w", version=1, status=state.status, state=parts.bare(state), settled=settled)
    lines = tuple(each if isinstance(each, bytes) else parts.line(each).data for each in journal)
    return StoredRun(run_id="r", revision=1, head=head, created=0, updated=0, lines=lines)


def entry(key, value=None, kind=VALUE):
    return Entry(key, kind, CUT_OFF if kind == CUT else msgspec.Raw(encode(value)))


async def nothing(step) -> None: ...


EMPTY = Runner().start(nothing)


@given(
    st.lists(st.tuples(st.text(min_size=1), st.integers(-(2**63), 2**63)), unique_by=lambda pair: pair[0]),
    st.data(),
)
def test_wherever_the_head_ends_the_same_state_comes_of_the_journal(pairs, data):
    entries = [entry(key, value) for key, value in pairs]
    settled = data.draw(st.integers(0, len(entries)))
    whole = append_entries(EMPTY, *entries)
    joined = parts.join(stored(EMPTY, entries, settled))
    assert list(joined.steps.items()) == list(whole.steps.items())


async def test_a_state_with_hooks_is_joined_as_it_was():
    async def flow(step) -> None:
        hook = await step("hook", create_hook)
        await step("wait", pending_hook, hook.hook_id)

    state = (await run(flow)).state
    assert parts.join(stored(state, state.steps.values(), 1)) == state
    (created,) = state.entries.values()
    line = parts.line(created)
    assert line.hook_id == state.pending[0].hook_id
    assert parts.lines(state) == [parts.Line(line.data)]
    assert parts.new_hooks(state) == ()


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_a_line_that_was_read_twice_is_refused(settled):
    with pytest.raises(StateError, match="step 'a' twice"):
        parts.join(stored(EMPTY, [entry("a", 1), entry("a", 1)], settled))


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_of_a_step_that_was_cut_off_the_later_line_counts(settled):
    value, cut = entry("a", 1), entry("a", kind=CUT)
    assert parts.join(stored(EMPTY, [value, cut], settled)).steps["a"].kind == CUT
    assert parts.join(stored(EMPTY, [cut, value], settled)).steps["a"].kind == VALUE


def test_notes_that_the_head_accounts_for_are_skipped():
    note = Entry("a", NOTE, msgspec.Raw(encode(None)))
    joined = parts.join(stored(EMPTY, [note, note, entry("a", 1), note, entry("b", 2), note], 4))
    assert list(joined.steps) == ["a", "b"]


@pytest.mark.parametrize("line", [b"", b"\xc1", encode(["a"]), encode([1, 2, 3]), encode("a")])
@pytest.mark.parametrize("settled", [0, 1])
def test_a_damaged_line_is_refused(line, settled):
    with pytest.raises(StateError, match="damaged"):
        parts.join(stored(EMPTY, [line], settled))


def test_lines_that_are_missing_are_noticed():
    with pytest.raises(StateError, match="Lines were lost"):
        parts.join(stored(EMPTY, [entry("a")], 2))


ENTRIES = st.builds(entry, st.text(min_size=1), st.text()).map(encode)


@given(st.binary() | ENTRIES | st.tuples(ENTRIES, st.binary()).map(lambda pair: pair[0][:-1] + pair[1]))
def test_any_bytes_for_a_line_are_an_entry_or_refused(data):
    try:
        joined = parts.join(stored(EMPTY, [data], 0))
    except StateError:
        return
    read = msgspec.msgpack.decode(data, type=Entry)
    assert [*joined.steps.values()] == ([read] if parts.is_final(read) else [])


def test_a_hook_makes_itself_known_and_other_entries_do_not():
    hook = Entry("h", HOOK, msgspec.Raw(encode(None)), 0, "id")
    assert parts.line(hook).hook_id == "id"
    assert parts.line(entry("a")).hook_id is None
