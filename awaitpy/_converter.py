"""The converter for what MessagePack can't carry: cattrs, with awaitpy's own hooks.

Imported only when a value needs it. Whatever a converter does is proved by a round trip each time, so
a hook can be wrong but never change a value in silence.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from cattrs import BaseValidationError, Converter

from awaitpy._annotations import class_of, members, tags, tags_of
from awaitpy._fidelity import struct

if TYPE_CHECKING:
    from collections.abc import Callable


def make_converter() -> Converter:
    """Give a cattrs converter that knows zoned datetimes, unions of classes and msgspec Structs.

    Register hooks on it for your own types and hand it to `Runner(converter=...)`.
    """
    converter = Converter(unstruct_collection_overrides={set: list, frozenset: list})
    for cls, write, read in _PAIRS:
        converter.register_unstructure_hook(cls, write)
        converter.register_structure_hook(cls, read)
    converter.register_unstructure_hook_factory(_is_struct, partial(_struct_writer, converter))
    converter.register_structure_hook_factory(_is_struct, partial(_struct_reader, converter))
    converter.register_unstructure_hook_factory(_is_tagged, partial(_union_writer, converter))
    converter.register_structure_hook_factory(_is_tagged, partial(_union_reader, converter))
    return converter


def _write_datetime(value: datetime) -> list[Any]:
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return [value.isoformat(), zone, value.fold]


def _read_datetime(raw: Any, _: Any) -> datetime:
    text, zone, fold = raw
    value = datetime.fromisoformat(text).replace(fold=fold)
    return value if zone is None else value.replace(tzinfo=_zone(zone))


def _zone(key: str) -> tzinfo:
    return ZoneInfo(key)


def _as_is(value: Any) -> Any:
    return value


def _read_duration(raw: Any, _: Any) -> timedelta:
    return timedelta(*raw)


_PAIRS: list[tuple[Any, Callable[[Any], Any], Callable[[Any, Any], Any]]] = [
    (datetime, _write_datetime, _read_datetime),
    (date, date.isoformat, lambda raw, _: date.fromisoformat(raw)),
    (
        time,
        lambda v: [v.isoformat(), v.fold],
        lambda raw, _: time.fromisoformat(raw[0]).replace(fold=raw[1]),
    ),
    (timedelta, lambda v: [v.days, v.seconds, v.microseconds], _read_duration),
    (Decimal, str, lambda raw, _: Decimal(raw)),
    (UUID, str, lambda raw, _: UUID(raw)),
    (complex, lambda v: [v.real, v.imag], lambda raw, _: complex(*raw)),
    (bytes, _as_is, lambda raw, _: raw),
    (type(None), _as_is, lambda raw, _: raw),
]


def _is_struct(tp: Any) -> bool:
    return struct(class_of(tp))


def _struct_writer(converter: Converter, cls: Any) -> Callable[[Any], Any]:
    fields = [(f.name, f.type) for f in msgspec.structs.fields(cls)]
    return lambda v: {n: converter.unstructure(getattr(v, n), unstructure_as=t) for n, t in fields}


def _struct_reader(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    types = {f.name: f.type for f in msgspec.structs.fields(cls)}
    made = class_of(cls)
    return lambda raw, _: made(**{n: converter.structure(v, types[n]) for n, v in raw.items()})


def _is_tagged(tp: Any) -> bool:
    """Whether a type is a union of two members besides None, which only a tag tells apart surely."""
    return sum(part is not type(None) for part in members(tp)) > 1


def _union_writer(converter: Converter, tp: Any) -> Callable[[Any], Any]:
    named = tags(tp)

    def write(value: Any) -> Any:
        found = tags_of(value, named)
        if len(found) != 1:
            raise TypeError(f"{type(value).__qualname__} is not one member of {tp}")
        tag = found[0]
        return [tag, converter.unstructure(value, unstructure_as=named[tag])]

    return write


def _union_reader(converter: Converter, tp: Any) -> Callable[[Any, Any], Any]:
    named = tags(tp)
    return lambda raw, _: converter.structure(raw[1], named[raw[0]])


# --- data that awaitpy did not write -----------------------------------------------------------


def read_foreign(data: Any, tp: Any) -> Any:
    """Read a payload from outside as a type that msgspec can't read alone.

    A union is told apart by the form and the fields of its members: the first that fits. All else is
    read as strictly as by msgspec.
    """
    return _foreign().structure(data, tp)


@cache
def _foreign() -> Converter:
    converter = Converter()
    converter.register_structure_hook_func(_is_native, msgspec.convert)
    converter.register_structure_hook_factory(_is_tagged, partial(_first_that_fits, converter))
    return converter


def _is_native(tp: Any) -> bool:
    try:
        msgspec.json.Decoder(tp)
    except Exception:  # noqa: BLE001  msgspec evaluates foreign annotations, which may raise anything
        return False
    return True


def _first_that_fits(converter: Converter, tp: Any) -> Callable[[Any, Any], Any]:
    def read(data: Any, _: Any) -> Any:
        for part in members(tp):
            try:
                return converter.structure(data, part)
            except (BaseValidationError, msgspec.ValidationError, TypeError, ValueError):
                continue
        raise msgspec.ValidationError(f"Expected `{' | '.join(tags(tp))}`")

    return read
