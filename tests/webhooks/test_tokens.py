"""Callback URLs that can't be guessed."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitpy.webhooks import HookTokenRefused, check_hook_token, hook_token

KEY = b"k" * 32
ids = st.text(min_size=1)


@given(hook_id=ids)
def test_a_token_gives_back_its_hook_id_and_fits_into_a_url_path(hook_id):
    token = hook_token(hook_id, KEY)
    assert check_hook_token(token, KEY) == hook_id
    assert set(token) <= set(string.ascii_letters + string.digits + "-_.")


def test_a_token_is_the_same_every_time_so_that_it_need_not_be_stored():
    assert hook_token("a", KEY) == hook_token("a", KEY.decode())
    assert hook_token("a", KEY) != hook_token("b", KEY)


def test_a_token_of_another_key_is_an_address_that_does_not_exist():
    with pytest.raises(HookTokenRefused) as caught:
        check_hook_token(hook_token("a", b"other"), KEY)
    assert caught.value.status == 404
    assert "a" not in caught.value.hook_id


def test_while_keys_rotate_any_of_them_may_have_made_the_token():
    assert check_hook_token(hook_token("a", b"old"), [KEY, b"old"]) == "a"


@given(token=st.text(st.characters()) | ids.map(lambda hook_id: hook_token(hook_id, b"other")))
def test_whatever_the_token_the_refusal_is_typed(token):
    with pytest.raises(HookTokenRefused):
        check_hook_token(token, KEY)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data):
    token = hook_token("hook-1", KEY)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.=+/ ").filter(lambda c: c != token[at]))
    with pytest.raises(HookTokenRefused):
        check_hook_token(token[:at] + other + token[at + 1 :], KEY)


def test_a_huge_token_is_refused_before_it_is_decoded():
    with pytest.raises(HookTokenRefused):
        check_hook_token(hook_token("x" * 5000, KEY), KEY)


@pytest.mark.parametrize("key", [b"", "", ["ok", ""], []])
def test_an_empty_key_is_a_mistake_of_the_program(key):
    with pytest.raises(ValueError, match="key"):
        check_hook_token(hook_token("a", KEY), key)
