"""What needs no type: scalars, lists, and dicts whose keys are str or int, however many there are."""

from __future__ import annotations

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitpy import _fidelity


class Word(enum.StrEnum):
    """A str of another class."""

    one = "1"


_MANY = list(range(200))
_FINE = ["", "text", 1, -0.0, True, None, b"", [], {}, {"a": 1, 2: ["b"]}, [[1], {"k": {"l": None}}]]
_KEYS = [(), True, Word.one, 1.0, None]
_OFFENDERS = [(), (1,), set(), Word.one, 1j, object(), bytearray(b""), *({key: 1} for key in _KEYS)]


@pytest.mark.parametrize("value", _FINE, ids=repr)
def test_scalars_lists_and_dicts_need_no_type(value):
    assert _fidelity.plain(value)
    assert _fidelity.plain([_MANY, value])
    assert _fidelity.plain({"many": _MANY, "value": value})
    assert _fidelity.plain({**{f"k{n}": [n] for n in _MANY}, "value": value})


@pytest.mark.parametrize("value", _OFFENDERS, ids=lambda value: type(value).__name__)
def test_anything_else_does_wherever_it_is(value):
    assert not _fidelity.plain(value)
    assert not _fidelity.plain([_MANY, value])
    assert not _fidelity.plain({"many": _MANY, "value": value})
    assert not _fidelity.plain([{**{f"k{n}": [n] for n in _MANY}, "value": [value]}])


def _nested(depth: int, inner: object) -> object:
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize("wide", [[], _MANY], ids=["narrow", "wide"])
def test_a_value_is_plain_up_to_a_depth_however_wide_it_is(wide):
    fits = _fidelity.DEPTH - 1
    assert _fidelity.plain(_nested(fits - 1, wide))
    assert not _fidelity.plain(_nested(fits + 1, wide))


def test_a_value_that_contains_itself_is_not():
    ring: list[object] = []
    ring.append(ring)
    fan: list[object] = []
    fan += [fan, fan]
    assert not _fidelity.plain(ring)
    assert not _fidelity.plain(fan)


_leaves = st.sampled_from(["a", 1, 1.5, True, None, b"x", (), {1}, Word.one])
_keys = st.sampled_from(["a", "b", 1, 2, *_KEYS])
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4) | st.just(_MANY),
    max_leaves=12,
)


def _told_by_recursion(value: object) -> bool:
    if type(value) is dict:
        return all(type(k) in {str, int} and _told_by_recursion(v) for k, v in value.items())
    if type(value) is list:
        return all(map(_told_by_recursion, value))
    return type(value) in _fidelity.SCALARS


@given(_values)
def test_it_is_what_a_walk_through_the_whole_value_tells(value):
    assert _fidelity.plain(value) is _told_by_recursion(value)
