"""The converter for what MessagePack can't carry: cattrs, with awaitpy's own hooks.

Imported only when a value needs it. Whatever a converter does is proved by a round trip each time, so
a hook can be wrong but never change a value in silence.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from cattrs import Converter

from awaitpy._annotations import class_of, members, tag_of, tags
from awaitpy._fidelity import fields_of, struct

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
    converter.register_unstructure_hook_factory(struct, partial(_struct_writer, converter))
    converter.register_structure_hook_factory(struct, partial(_struct_reader, converter))
    converter.register_unstructure_hook_factory(_is_class_union, partial(_union_writer, converter))
    converter.register_structure_hook_factory(_is_class_union, partial(_union_reader, converter))
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
]


def _struct_writer(converter: Converter, cls: Any) -> Callable[[Any], Any]:
    fields = [(f.name, f.type) for f in msgspec.structs.fields(cls)]
    return lambda v: {n: converter.unstructure(getattr(v, n), unstructure_as=t) for n, t in fields}


def _struct_reader(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    types = {f.name: f.type for f in msgspec.structs.fields(cls)}
    return lambda raw, _: cls(**{n: converter.structure(v, types[n]) for n, v in raw.items()})


def _is_object(tp: Any) -> bool:
    cls = class_of(tp)
    return isinstance(cls, type) and (fields_of(cls) is not None)


def _is_class_union(tp: Any) -> bool:
    """Whether a type is a union that needs a tag: two members that are written alike."""
    parts = members(tp)
    return (
        len(parts) > 1 and sum(part is not type(None) for part in parts) > 1 and any(map(_is_object, parts))
    )


def _union_writer(converter: Converter, tp: Any) -> Callable[[Any], Any]:
    named = tags(tp)

    def write(value: Any) -> Any:
        tag = tag_of(value, named)
        if tag is None:
            raise TypeError(f"{type(value).__qualname__} is no member of {tp}")
        return [tag, converter.unstructure(value, unstructure_as=named[tag])]

    return write


def _union_reader(converter: Converter, tp: Any) -> Callable[[Any, Any], Any]:
    named = tags(tp)
    return lambda raw, _: converter.structure(raw[1], named[raw[0]])


def read_foreign(converter: Converter, data: Any, tp: Any) -> Any:
    """Read data that awaitpy did not write as a type that msgspec can't.

    A union of classes is told apart by the fields of its members: the first that fits.
    """
    parts = members(tp)
    if len(parts) == 1:
        return converter.structure(data, tp)
    for part in parts:
        try:
            return msgspec.convert(data, part)
        except (msgspec.ValidationError, TypeError):
            continue
    raise msgspec.ValidationError("Expected one of " + ", ".join(map(str, tags(tp))))
