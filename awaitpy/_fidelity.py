"""Whether a value came back as it was: equal, and of the same type, at every depth.

`==` alone forgives too much: `1 == True == 1.0`, `-0.0 == 0.0`, a datetime equals itself in another
zone. `difference` is the exact judge, used where `_check` has no cheaper answer and to say where in a
value the trouble is.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime, time
from decimal import Decimal
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from awaitpy._guards import is_map, is_row, is_set

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALARS: Final[frozenset[Any]] = frozenset({str, int, float, bool, type(None), bytes})
_KEYS: Final[frozenset[Any]] = frozenset({str, int})
DEPTH: Final = 100
_LARGE: Final = 1_000_000
"""How deep a value may be nested: so deep that no one means it, and each state still has its JSON."""


def plain(value: Any) -> bool:
    """Whether a value survives without any type: scalars, lists, dicts with str or int keys.

    It says no to a value that is nested too deep, or too large to tell whether it contains itself.
    """
    parts: list[Any] = [value]
    for part in islice(parts, DEPTH):  # not by recursion: this runs at each untyped step
        kind = part.__class__
        if kind is dict:
            for key, item in part.items():
                if type(key) is not str and type(key) is not int:
                    return False
                if type(item) is not str and type(item) is not int:
                    parts.append(item)
        elif kind is list:
            parts += part
        elif kind not in SCALARS:
            return False
    # Of so few parts none can be nested too deep, nor contain itself.
    return len(parts) <= DEPTH or _plain_by_levels(value)


def _plain_by_levels(value: Any) -> bool:
    """Tell it of a value of many parts, which may be deep."""
    level: list[Any] = [value]
    for _ in range(DEPTH):
        below: list[Any] = []
        for part in level:
            kind = part.__class__
            if kind is dict:
                if not _KEYS.issuperset(map(type, part)):
                    return False
                below += [item for item in part.values() if type(item) not in _KEYS]
            elif kind is list:
                below += part
            elif kind not in SCALARS:
                return False
        if len(below) > _LARGE:
            return False
        level = below
    return not level


def shallow(value: Any, depth: int = 0) -> bool:
    """Whether a value is nested less deep than any state has to hold."""
    if depth > DEPTH:
        return False
    fields = fields_of(value.__class__)
    if fields is not None:
        return all(shallow(getattr(value, name), depth + 1) for name in fields)
    if is_map(value):
        return all(shallow(item, depth + 1) for item in value.values())
    return not is_row(value) or all(shallow(item, depth + 1) for item in value)


def difference(was: Any, back: Any, path: str = "$") -> tuple[str, str] | None:
    """Give the first place where a value did not come back exactly, and what is wrong there."""
    if type(was) is not type(back):
        return path, f"{_named(was)} would come back as {_named(back)}"
    if is_map(was):
        return _mapping_difference(was, back, path)
    if is_row(was) or isinstance(was, deque):
        return _row_difference(was, back, path)
    if is_set(was):
        return _set_difference(was, back, path)
    fields = fields_of(was.__class__)
    if fields is not None:
        return _object_difference(fields, was, back, path)
    try:
        same = _leaf_same(was, back)
    except Exception:  # noqa: BLE001  the value's own comparison may raise anything
        same = False
    return None if same is True else (path, f"{_named(was)} would come back changed")


def _first(differences: Iterator[tuple[str, str] | None]) -> tuple[str, str] | None:
    return next((found for found in differences if found is not None), None)


def _mapping_difference(was: Any, back: Any, path: str) -> tuple[str, str] | None:
    if len(was) != len(back):
        return path, f"{_named(was)} would come back with other keys"
    if getattr(was, "default_factory", None) is not getattr(back, "default_factory", None):
        return path, f"{_named(was)} would come back with another default_factory"
    for (key, item), (other, found) in zip(was.items(), back.items(), strict=True):
        if fields_of(key.__class__) is not None:
            return path, f"{_named(key)} can't be a key: JSON has no form for it"
        trouble = difference(key, other, _at(path, key)) or difference(item, found, _at(path, key))
        if trouble is not None:
            return trouble
    return None


def _at(path: str, key: Any) -> str:
    return f"{path}[{key!r:.40}]"


def _row_difference(was: Any, back: Any, path: str) -> tuple[str, str] | None:
    if len(was) != len(back) or getattr(was, "maxlen", None) != getattr(back, "maxlen", None):
        return path, f"{_named(was)} would come back with another length"
    pairs = enumerate(zip(was, back, strict=True))
    return _first(difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)


def _object_difference(fields: tuple[str, ...], was: Any, back: Any, path: str) -> tuple[str, str] | None:
    beside = set(getattr(was, "__dict__", ())) - set(fields) - _cached(was.__class__)
    if has_dict(was.__class__) and beside:
        return f"{path}.{min(beside)}", "an attribute that is no field would be lost"
    return _first(difference(getattr(was, f, None), getattr(back, f, None), f"{path}.{f}") for f in fields)


def _cached(cls: Any) -> set[str]:
    """Give the names that a class computes again: what was cached need not come back."""
    bases: tuple[type, ...] = cls.__mro__
    names = [name for base in bases for name in vars(base)]
    return {name for name in names if isinstance(getattr(cls, name, None), cached_property)}


def has_dict(cls: Any) -> bool:
    """Whether instances of a class can have attributes that the class does not name."""
    return any("__dict__" in vars(base) for base in cls.__mro__)


def _set_difference(was: Any, back: Any, path: str) -> tuple[str, str] | None:
    theirs = {item: item for item in back}
    if len(was) != len(back) or any(item not in theirs for item in was):
        return path, f"{_named(was)} would come back with other members"
    return _first(difference(item, theirs[item], f"{path}{{}}") for item in was)


def _leaf_same(was: Any, back: Any) -> Any:
    if isinstance(was, float):
        return (was == back and math.copysign(1, was) == math.copysign(1, back)) or (
            math.isnan(was) and math.isnan(back)
        )
    if isinstance(was, complex):
        return _leaf_same(was.real, back.real) and _leaf_same(was.imag, back.imag)
    if isinstance(was, Decimal):
        return was.as_tuple() == back.as_tuple()
    if isinstance(was, (datetime, time)):
        return _moment(was) == _moment(back)
    return was == back


def _moment(value: datetime | time) -> tuple[Any, ...]:
    return value.isoformat(), value.fold, type(value.tzinfo), value.tzinfo, value.tzname()


def fields_of(cls: Any) -> tuple[str, ...] | None:
    """Give the field names of an attrs class, dataclass or Struct; None for any other."""
    if hasattr(cls, "__struct_fields__"):
        return tuple(cls.__struct_fields__)
    if attrs.has(cls):
        return tuple(a.name for a in attrs.fields(cls))
    if hasattr(cls, "__dataclass_fields__"):
        return tuple(f.name for f in dataclass_fields(cls))
    return None


def dataclass_fields(cls: Any) -> tuple[Any, ...]:
    """Give the fields of a dataclass."""
    # Whoever has a dataclass has imported this already; others need not.
    from dataclasses import fields  # noqa: PLC0415

    return fields(cls)


def offender(value: Any, path: str = "$", depth: int = 0) -> tuple[str, str] | None:
    """Find the first place in an untyped value that would not survive, and say why."""
    if depth > DEPTH:
        return path, "the value contains itself or is nested too deep"
    kind: Any = value.__class__
    if kind is dict:
        for key, item in value.items():
            if type(key) not in _KEYS:
                return (
                    f"{path}[key {key!r:.40}]",
                    f"a key is {_named(key)}, and only str and int survive",
                )
            if (found := offender(item, _at(path, key), depth + 1)) is not None:
                return found
        return None
    if kind is list:
        return _first(offender(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
    return None if type(value) in SCALARS else (path, f"{_named(value)} needs a type to be restored")


def _named(value: Any) -> str:
    if value is None:
        return "None"
    return with_article(type(value).__qualname__)


def with_article(name: str) -> str:
    """Give a name with its article."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def unsupported(value: Any, name: str, path: str = "$", depth: int = 0) -> str:
    """Find the place of the first object whose type has this name, for a message."""
    if depth > DEPTH or type(value).__name__ == name:
        return path
    parts: Iterator[tuple[str, Any]] = iter(())
    fields = fields_of(value.__class__)
    if is_map(value):
        parts = ((_at(path, key), item) for key, item in value.items())
    elif is_row(value) or is_set(value):
        parts = ((f"{path}[{i}]", item) for i, item in enumerate(value))
    elif fields is not None:
        parts = ((f"{path}.{f}", getattr(value, f, None)) for f in fields)
    return next(
        (found for p, item in parts if (found := unsupported(item, name, p, depth + 1)) != "$"), "$"
    )


def struct(tp: Any) -> bool:
    """Whether a type is a msgspec Struct class."""
    return isinstance(tp, type) and issubclass(tp, msgspec.Struct)
