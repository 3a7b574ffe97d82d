"""Tests of containers in data of any kind, which tell the type checkers that their parts are of any too."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_map(value: Any) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is a dict."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a list."""
    return isinstance(value, list)


def is_row(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a value is a list or a tuple."""
    return isinstance(value, (list, tuple))


def is_set(value: Any) -> TypeGuard[set[Any] | frozenset[Any]]:
    """Whether a value is a set or a frozenset."""
    return isinstance(value, (set, frozenset))
