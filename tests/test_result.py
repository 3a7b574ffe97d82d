"""Laws of `Ok` and `Err`."""

from __future__ import annotations

import pickle
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitpy import Err, Ok, Result, is_err, is_ok
from awaitpy.result import UnwrapError

values = st.integers() | st.text() | st.none() | st.booleans()
results = st.builds(Ok, values) | st.builds(Err, values)
steps = st.functions(like=lambda value: ..., returns=results, pure=True)
maps = st.functions(like=lambda value: ..., returns=values, pure=True)


def unreachable(value):
    raise AssertionError(f"called with {value!r}")


@given(values, maps)
def test_map_changes_the_value_and_leaves_an_error_alone(value, fn):
    assert Ok(value).map(fn) == Ok(fn(value))
    assert Err(value).map(unreachable) == Err(value)


@given(values, maps)
def test_map_err_changes_the_error_and_leaves_a_value_alone(value, fn):
    assert Err(value).map_err(fn) == Err(fn(value))
    assert Ok(value).map_err(unreachable) == Ok(value)


@given(results)
def test_mapping_with_the_identity_changes_nothing(result):
    assert result.map(lambda value: value) == result
    assert result.map_err(lambda error: error) == result


@given(results, maps, maps)
def test_two_maps_in_a_row_are_one_map_of_both(result, first, second):
    assert result.map(first).map(second) == result.map(lambda value: second(first(value)))
    assert result.map_err(first).map_err(second) == result.map_err(lambda error: second(first(error)))


@given(values, steps)
def test_and_then_goes_on_with_the_value_or_stays_with_the_error(value, fn):
    assert Ok(value).and_then(fn) == fn(value)
    assert Err(value).and_then(unreachable) == Err(value)


@given(values, steps)
def test_or_else_recovers_from_the_error_or_stays_with_the_value(value, fn):
    assert Err(value).or_else(fn) == fn(value)
    assert Ok(value).or_else(unreachable) == Ok(value)


@given(results)
def test_going_on_with_ok_and_recovering_with_err_change_nothing(result):
    assert result.and_then(Ok) == result
    assert result.or_else(Err) == result


@given(results, steps, steps)
def test_and_then_and_or_else_do_not_mind_how_they_are_nested(result, first, second):
    assert result.and_then(first).and_then(second) == result.and_then(
        lambda value: first(value).and_then(second)
    )
    assert result.or_else(first).or_else(second) == result.or_else(
        lambda error: first(error).or_else(second)
    )


@given(values, values)
def test_each_side_unwraps_what_it_holds(value, default):
    assert Ok(value).unwrap() == value
    assert Ok(value).unwrap_or(default) == value
    assert Err(value).unwrap_err() == value
    assert Err(value).unwrap_or(default) == default


@given(results)
def test_a_result_is_either_ok_or_err(result):
    assert is_ok(result) is not is_err(result)
    assert is_ok(result) is isinstance(result, Ok)


@given(values)
def test_ok_and_err_of_one_value_differ_and_equals_hash_alike(value):
    assert Ok(value) != Err(value)
    assert hash(Ok(value)) == hash(Ok(value))
    assert hash(Err(value)) == hash(Err(value))


@given(results)
def test_a_result_survives_pickle(result):
    assert pickle.loads(pickle.dumps(result)) == result


def test_unwrap_of_an_err_names_the_error_and_the_mend():
    with pytest.raises(UnwrapError) as raised:
        Err("no funds").unwrap()
    assert str(raised.value) == (
        "unwrap() asks for a value, and Err(error='no funds') is a failure. "
        "Check with is_ok(result) first, match on the result, or use unwrap_or(default)."
    )
    assert raised.value.__cause__ is None


def test_unwrap_of_an_err_that_holds_an_exception_is_caused_by_it():
    cause = OSError("disk full")
    with pytest.raises(UnwrapError) as raised:
        Err(cause).unwrap()
    assert raised.value.__cause__ is cause


def test_unwrap_err_of_an_ok_names_the_value_and_the_mend():
    with pytest.raises(UnwrapError) as raised:
        Ok(3).unwrap_err()
    assert str(raised.value) == (
        "unwrap_err() asks for an error, and Ok(value=3) is a success. "
        "Check with is_err(result) first, or match on the result."
    )


def test_both_sides_match_by_position():
    match Ok(3):
        case Ok(value):
            assert value == 3
    match Err("no"):
        case Err(error):
            assert error == "no"


@pytest.mark.parametrize("result", [Ok(1), Err(1)])
def test_a_result_can_not_be_changed_and_takes_no_other_attribute(result):
    with pytest.raises(AttributeError):
        result.value = 2
    with pytest.raises(AttributeError):
        result.error = 2
    with pytest.raises(AttributeError):
        result.more = 2
    assert not hasattr(result, "__dict__")


def test_a_result_type_is_a_union_at_run_time():
    assert typing.get_args(Result[int, str]) == (Ok[int], Err[str])

    def parse(text: str) -> Result[int, str]:
        return Ok(int(text))

    assert typing.get_type_hints(parse)["return"] == Result[int, str]


@pytest.mark.parametrize("side", [Ok, Err])
def test_both_sides_have_the_seven_methods_and_no_more(side):
    public = {name for name in vars(side) if not name.startswith("_")} - {"value", "error"}
    assert public == {
        "and_then",
        "map",
        "map_err",
        "or_else",
        "unwrap",
        "unwrap_err",
        "unwrap_or",
    }
