"""A check of exactness, generated once for each type.

`exact(tp)` gives a function that says in one pass whether msgspec will restore a value of this type
as it is. It answers no, rather than yes, wherever that can't be known from the type: the caller then
makes the slow proof by a round trip. It is generated as source, like attrs and cattrs do, because it
runs at every step.
"""

from __future__ import annotations

import enum
import inspect
import typing
from collections import abc
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin
from uuid import UUID

import attrs
import msgspec

from awaitpy._annotations import bare, members
from awaitpy._fidelity import dataclass_fields, has_dict, plain, shallow, struct

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Any], bool]

_LEAVES: Final[dict[Any, str]] = {
    **{t: f"{{v}}.__class__ is {t.__name__}" for t in (str, int, float, bool, bytes, date, timedelta)},
    **{t: f"{{v}}.__class__ is {t.__name__}" for t in (Decimal, UUID)},
    None: "{v} is None",
    type(None): "{v} is None",
    datetime: "{v}.__class__ is datetime and {v}.fold == 0 and ({v}.tzinfo is None or {v}.tzinfo is utc)",
    time: "{v}.__class__ is time and {v}.fold == 0 and {v}.tzinfo is None",
    Any: "plain({v})",
    object: "plain({v})",
}
_NAMES: Final[dict[str, Any]] = {
    **{t.__name__: t for t in (date, datetime, time, timedelta, Decimal, UUID)},
    "utc": UTC,
    "plain": plain,
}
_SEQUENCES: Final[dict[Any, str]] = {
    list: "list",
    abc.Sequence: "list",
    abc.MutableSequence: "list",
    abc.Collection: "list",
    abc.Iterable: "list",
    set: "set",
    abc.Set: "set",
    abc.MutableSet: "set",
    frozenset: "frozenset",
}
_MAPPINGS: Final = frozenset({dict, abc.Mapping, abc.MutableMapping})
_KEYS: Final = frozenset({str, int, bytes, UUID, date})
_QUALIFIERS: Final = frozenset({typing.Required, typing.NotRequired, typing.Final, typing.ClassVar})
_DEPTH: Final = 4


_PLAIN: Final[frozenset[Any]] = frozenset(
    {list, dict, str, int, float, bool, bytes, None, type(None), Any, object}
)


def is_plain(tp: Any) -> bool:
    """Whether all values of a type read the same without it: scalars, lists and dicts of these."""
    parts: tuple[Any, ...] = members(tp)
    if len(parts) > 1:
        return all(is_plain(part) for part in parts)
    tp = bare(tp)
    if get_origin(tp) in {list, dict}:
        return all(is_plain(argument) for argument in get_args(tp))
    return _hashable(tp) and tp in _PLAIN


class _NotKnown(Exception):
    """Exactness can't be told from the type."""


def exact(tp: Any) -> Check | None:
    """Generate the check of a type; None when exactness can't be told from the type."""
    writer = _Writer()
    try:
        check = writer.compiled(writer.function(tp))
    except (_NotKnown, NameError, TypeError, KeyError, AttributeError, SyntaxError, RecursionError):
        return None
    return (lambda value: check(value) and shallow(value)) if writer.recursive else check


class _Writer:
    """Writes functions: one for the type, and one for each part that recurs or is nested deep."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = dict(_NAMES)
        self.lines: list[str] = []
        self.known: dict[Any, str] = {}
        self.open: list[Any] = []
        self.writing: list[Any] = []
        self.recursive = False
        self.count = 0

    def compiled(self, name: str) -> Check:
        exec("\n".join(self.lines), self.names)  # noqa: S102  the source is made of names only, above
        check: Check = self.names[name]
        return check

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def constant(self, value: Any) -> str:
        name = self.fresh("c")
        self.names[name] = value
        return name

    def function(self, tp: Any) -> str:
        """Write the function of a type, once, and give its name."""
        tp = _stripped(tp)
        if tp in self.known:
            self.recursive = self.recursive or tp in self.writing
            return self.known[tp]
        name = self.known[tp] = self.fresh("check")
        body: list[str] = []
        outer, self.open = self.open, [tp]
        self.writing.append(tp)
        test = self.leaf(tp)
        if test is not None:
            body.append(f"    if not ({test.format(v='v')}): return False")
        else:
            self.emit_compound(tp, "v", "    ", body)
        self.open = outer
        self.writing.pop()
        self.lines += [f"def {name}(v):", *body, "    return True"]
        return name

    def emit(self, tp: Any, v: str, pad: str, out: list[str]) -> None:
        """Write statements that return False unless the expression `v` is exactly a `tp`."""
        tp = _stripped(tp)
        test = self.leaf(tp)
        if test is not None:
            out.append(f"{pad}if not ({test.format(v=v)}): return False")
        elif tp in self.open or len(self.open) > _DEPTH:
            self.recursive = self.recursive or tp in self.open
            out.append(f"{pad}if not {self.function(tp)}({v}): return False")
        else:
            self.open.append(tp)
            local = self.fresh("x")
            out.append(f"{pad}{local} = {v}")
            self.emit_compound(tp, local, pad, out)
            self.open.pop()

    def leaf(self, tp: Any) -> str | None:
        """Give the test of a type that one expression can tell; None for any other."""
        test = _LEAVES.get(tp) if _hashable(tp) else None
        if test is not None:
            return test
        if get_origin(tp) is Literal:
            return self.literal(get_args(tp))
        if isinstance(tp, type) and issubclass(tp, enum.Enum):
            return self.enumeration(tp)
        if any(m is Any or m is object for m in members(tp)):
            return _LEAVES[Any]  # msgspec reads such a union as Any
        if len(members(tp)) > 1:
            return " or ".join(f"({self.member(m)})" for m in members(tp))
        return None

    def member(self, tp: Any) -> str:
        return self.leaf(_stripped(tp)) or f"{self.function(tp)}({{v}})"

    def literal(self, values: tuple[Any, ...]) -> str:
        kinds = self.constant(frozenset(value.__class__ for value in values))
        return f"{{v}}.__class__ in {kinds} and {{v}} in {self.constant(frozenset(values))}"

    def enumeration(self, tp: type[enum.Enum]) -> str:
        if issubclass(tp, enum.Flag) or any(type(m.value) not in (str, int) for m in tp):
            raise _NotKnown
        return f"{{v}}.__class__ is {self.constant(tp)}"

    def emit_compound(self, tp: Any, v: str, pad: str, out: list[str]) -> None:
        origin = get_origin(tp) or tp
        if origin in _SEQUENCES:
            self.emit_sequence(_SEQUENCES[origin], _argument(tp), v, pad, out)
        elif origin in _MAPPINGS:
            self.emit_mapping(tp, v, pad, out)
        elif origin is tuple:
            self.emit_tuple(tp, v, pad, out)
        elif typing.is_typeddict(origin):
            self.emit_typeddict(tp, v, pad, out)
        elif isinstance(origin, type):
            self.emit_object(origin, tp, v, pad, out)
        else:
            raise _NotKnown

    def emit_sequence(self, kind: str, item: Any, v: str, pad: str, out: list[str]) -> None:
        out.append(f"{pad}if {v}.__class__ is not {kind}: return False")
        each = self.fresh("e")
        out.append(f"{pad}for {each} in {v}:")
        self.emit(item, each, pad + "    ", out)

    def emit_mapping(self, tp: Any, v: str, pad: str, out: list[str]) -> None:
        key, item = get_args(tp) or (Any, Any)
        key, each, name = _stripped(key), self.fresh("e"), self.fresh("k")
        out.append(f"{pad}if {v}.__class__ is not dict: return False")
        out.append(f"{pad}for {name}, {each} in {v}.items():")
        if key is Any:
            out.append(
                f"{pad}    if {name}.__class__ is not str and {name}.__class__ is not int: return False"
            )
        elif (
            key in _KEYS
            or get_origin(key) is Literal
            or (isinstance(key, type) and issubclass(key, enum.Enum))
        ):
            self.emit(key, name, pad + "    ", out)
        else:
            raise _NotKnown
        self.emit(item, each, pad + "    ", out)

    def emit_tuple(self, tp: Any, v: str, pad: str, out: list[str]) -> None:
        items = get_args(tp)
        if not items and tp is tuple:
            items = (Any, ...)
        if len(items) == 2 and items[1] is ...:  # noqa: PLR2004  tuple[T, ...]
            self.emit_sequence("tuple", items[0], v, pad, out)
            return
        out.append(f"{pad}if {v}.__class__ is not tuple or len({v}) != {len(items)}: return False")
        for i, item in enumerate(items):
            self.emit(item, f"{v}[{i}]", pad, out)

    def emit_typeddict(self, tp: Any, v: str, pad: str, out: list[str]) -> None:
        origin = get_origin(tp) or tp
        hints = _hints(origin, tp)
        required = _required(origin, hints)
        seen = self.fresh("n")
        out.append(f"{pad}if {v}.__class__ is not dict: return False")
        out.append(f"{pad}{seen} = {len(required)}")
        for key, hint in hints.items():
            out.append(f"{pad}if {key!r} in {v}:")
            if key not in required:
                out.append(f"{pad}    {seen} += 1")
            self.emit(hint, f"{v}[{key!r}]", pad + "    ", out)
            if key in required:
                out.append(f"{pad}else: return False")
        out.append(f"{pad}if len({v}) != {seen}: return False")

    def emit_object(self, cls: type, tp: Any, v: str, pad: str, out: list[str]) -> None:
        hints = _hints(cls, tp)
        fields = [(f"{v}.{name}", hints[name]) for name in _fields(cls)]
        tests = [(place, hint, self.leaf(_stripped(hint))) for place, hint in fields]
        leaves = [f"({test.format(v=place)})" for place, _, test in tests if test is not None]
        out.append(f"{pad}if {v}.__class__ is not {self.constant(cls)}: return False")
        if has_dict(cls) and not issubclass(cls, tuple):  # an attribute beside the fields would be lost
            out.append(f"{pad}if len({v}.__dict__) != {_in_dict(cls)}: return False")
        if leaves:
            out.append(f"{pad}if not ({' and '.join(leaves)}): return False")
        for place, hint, test in tests:
            if test is None:
                self.emit(hint, place, pad, out)


def _stripped(tp: Any) -> Any:
    """Take off Annotated and the like; what msgspec would check of it can't be told here."""
    if get_origin(tp) is Annotated and any(isinstance(m, msgspec.Meta) for m in tp.__metadata__):
        raise _NotKnown
    stripped = bare(tp)
    if get_origin(stripped) in _QUALIFIERS:
        return _stripped(get_args(stripped)[0])
    return stripped if stripped is tp else _stripped(stripped)


def _required(cls: Any, fields: dict[str, Any]) -> frozenset[str]:
    """Give the keys that a TypedDict must have; `__required_keys__` is wrong for string annotations."""
    return frozenset(
        name
        for name, hint in fields.items()
        if get_origin(hint) is not typing.NotRequired
        and (get_origin(hint) is typing.Required or name in cls.__required_keys__)
    )


def _argument(tp: Any) -> Any:
    return (get_args(tp) or (Any,))[0]


def _hints(cls: Any, tp: Any) -> dict[str, Any]:
    """Give the types of a class's fields, with the arguments of a generic put in."""
    hints = typing.get_type_hints(cls, include_extras=True)
    arguments = dict(zip(getattr(cls, "__parameters__", ()), get_args(tp), strict=False))
    own = getattr(cls, "__annotations__", {})
    # A parameter in an inherited field is the base's, even if it has the same name.
    return {name: _substituted(hint, arguments if name in own else {}) for name, hint in hints.items()}


def _substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        if hint not in arguments:
            raise _NotKnown
        return arguments[hint]
    parameters = getattr(hint, "__parameters__", ())
    if not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(_substituted(p, arguments) for p in parameters)]


_RUNS: Final = frozenset({"__attrs_post_init__", "__attrs_pre_init__"})


def _in_dict(cls: Any) -> int:
    """Count the fields that live in the `__dict__` of an instance, and not in slots or a tuple."""
    return sum(not inspect.ismemberdescriptor(getattr(cls, name, None)) for name in _fields(cls))


def _fields(cls: Any) -> tuple[str, ...]:
    """Give the fields of a class that msgspec restores without running code of the class."""
    if struct(cls) and not hasattr(cls, "__post_init__"):
        return tuple(cls.__struct_fields__)
    if attrs.has(cls) and not (_RUNS & set(dir(cls))):
        fields = attrs.fields(cls)
        # Validators are run by msgspec, and may refuse what the value has become.
        if all(f.init and f.validator is None and not f.name.startswith("_") for f in fields):
            return tuple(f.name for f in fields)
    elif hasattr(cls, "__dataclass_fields__") and not hasattr(cls, "__post_init__"):
        own = dataclass_fields(cls)
        if all(f.init and not f.name.startswith("_") for f in own):
            return tuple(f.name for f in own)
    named: Any = getattr(cls, "_fields", None)
    if named is not None and issubclass(cls, tuple):
        return tuple(named)
    raise _NotKnown


def _hashable(tp: Any) -> bool:
    try:
        hash(tp)
    except TypeError:
        return False
    return True
