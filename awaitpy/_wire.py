"""What a resume state looks like outside of memory: MessagePack, and the same content as JSON.

`docs/state-format.md` is the description for readers. Payloads stay encoded (`msgspec.Raw`): joining
them is all that `to_bytes` does, and nothing is decoded before its step asks for it.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from awaitpy._guards import is_list, is_map, is_row
from awaitpy.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT: Final = 1

VALUE: Final = 0
ERROR: Final = 1
HOOK: Final = 2
ANSWER: Final = 3
TIMEOUT: Final = 4
CUT: Final = 5
NOTE: Final = 6
POLICY: Final = 7
ELAPSED: Final = 8
UNDO: Final = 9
RACE: Final = 10
CHILD: Final = 11
KINDS: Final = (
    "value",
    "error",
    "hook",
    "answer",
    "timeout",
    "cut",
    "note",
    "policy",
    "elapsed",
    "undo",
    "race",
    "child",
)
"""Of an entry. A note is never among the entries of a state: it is told to `checkpoint`, and says how
far a step has come that has no entry yet. Nor is a child: it holds what is new of a run within the run."""

PLAIN: Final = 0
NATIVE: Final = 1
CONVERTED: Final = 2
TAGGED: Final = 3
"""Forms of a payload: scalars, lists and dicts that need no type; as msgspec writes a typed value; by
way of the converter; or [class name, form, payload] for a member of a union."""

UNDOING: Final = "undo:"
"""The key of the entry that says which steps are undone, and what the keys of the undo steps begin with."""

Kind = Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
Form = Literal[0, 1, 2, 3]
Status = Literal["running", "suspended", "completed", "failed", "interrupted"]
Closed = tuple[Literal["answered", "expired", "lost"], str]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time in a state: text without a zone, which would fit a datetime too, is damage."""


encode: Final = msgspec.msgpack.Encoder().encode
NIL: Final = msgspec.Raw(encode(None))
CUT_OFF: Final = msgspec.Raw(encode("cut off"))
"""The payload of a cut step: no other payload may pass for it, as a replay waits for what cuts it."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One journaled step: what it gave, encoded. Entries are only ever added.

    They hold no containers, so the collector need not look at a long journal again and again.
    """

    key: str
    kind: Kind
    payload: msgspec.Raw
    form: Form = PLAIN
    hook_id: str | None = None
    delivery_id: str | None = None

    @property
    def kind_name(self) -> str:
        """One of value, error, hook, answer, timeout, cut, note, policy, elapsed, undo, race, child."""
        return KINDS[self.kind]


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """An encoded value and its form."""

    value: msgspec.Raw
    form: Form = PLAIN


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value that was injected and not yet taken by a wait."""

    value: msgspec.Raw
    at: Moment
    delivery_id: str | None = None


class OpenHook(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hook that was created or is waited for, and is not closed."""

    hook_id: str
    many: bool = False
    step_key: str | None = None
    since: Moment | None = None
    deadline: Moment | None = None
    metadata: msgspec.Raw = NIL
    methods: tuple[str, ...] | None = None
    deliveries: tuple[Delivery, ...] = ()
    taken: tuple[str, ...] = ()
    race: tuple[str, ...] = ()
    judged: bool = False


class Underway(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a step that has no entry yet: the note of a retry, a sleep, or an attempt.

    `attempts` have failed, `until` is when it goes on, and `began` says that an attempt began whose
    end is not known.
    """

    key: str
    attempts: Annotated[int, msgspec.Meta(ge=0)] = 0
    until: Moment | None = None
    began: bool = False


class End(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a finished run ended. A result that was not recorded comes from a replay."""

    ok: bool
    value: msgspec.Raw = NIL
    recorded: bool = True
    form: Form = PLAIN


class More(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What only some states have. Apart, as msgspec writes a map of more than 15 fields less tightly."""

    underway: tuple[Underway, ...] = ()
    undoing: tuple[str, ...] = ()
    cancelled: str | None = None
    children: dict[str, Wire] = {}
    begun: int | None = None


NO_MORE: Final = More()


class Wire(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A whole state."""

    awaitpy: int
    run_id: str
    workflow: str
    version: int
    revision: int
    status: Status
    args: tuple[Payload, ...] = ()
    kwargs: dict[str, Payload] = {}
    entries: list[Entry] = []
    hooks: tuple[OpenHook, ...] = ()
    closed: dict[str, Closed] = {}
    forgotten: tuple[str, ...] = ()
    end: End | None = None
    more: More = NO_MORE
    trace: str = ""


class News(msgspec.Struct, frozen=True, omit_defaults=True):
    """The payload of a child entry: the state in which the child starts, or a new entry of its journal."""

    state: Wire | None = None
    entry: Entry | None = None


NESTED: Final = 16
"""How deep runs may be within runs: what reads a state goes as deep, and a stack has an end."""


class _Header(msgspec.Struct):
    awaitpy: int


@cache
def _decoder() -> Callable[[Any], Wire]:
    """Give what reads a state: made for the first one, as it takes longer than much of an import."""
    return msgspec.msgpack.Decoder(Wire).decode


_decode_header: Final = msgspec.msgpack.Decoder(_Header).decode
_decode_any: Final = msgspec.msgpack.Decoder().decode


def from_bytes(data: Any) -> Wire:
    """Read a state, or raise `StateError` that says what is wrong with the bytes."""
    if data.__class__ not in {bytes, bytearray, memoryview}:
        raise StateError(f"A state is read from bytes, not from {data.__class__.__name__}.")
    if not data:
        raise StateError("These bytes are empty; a state never is. Was the row written?")
    try:
        wire = _decoder()(data)
    except (msgspec.MsgspecError, UnicodeError, ValueError, OverflowError, RecursionError) as error:
        raise StateError(_diagnosis(data, error)) from None
    return checked(wire)


def _diagnosis(data: Any, error: Exception) -> str:
    newer = _newer_format(data)
    if newer:
        return newer
    if "truncated" in str(error):
        return "These bytes end too early: the state is truncated. Read the whole value, or an older copy."
    if isinstance(error, RecursionError):
        return "These bytes are no awaitpy state: they are nested too deep."
    return f"These bytes are no awaitpy state, or a damaged one: {error}."


def _newer_format(data: Any) -> str | None:
    try:
        found = _decode_header(data).awaitpy
    except (msgspec.MsgspecError, UnicodeError, ValueError, OverflowError, RecursionError):
        return None
    if found <= FORMAT:
        return None
    return (
        f"This state has format {found}, and this awaitpy reads formats up to {FORMAT}. "
        "Upgrade awaitpy where the state is resumed."
    )


def checked(wire: Wire, depth: int = 0) -> Wire:
    """Give a state that was decoded, or raise `StateError`."""
    if depth > NESTED:
        raise StateError(f"These bytes are no awaitpy state: runs are nested deeper than {NESTED}.")
    for child in wire.more.children.values():
        checked(child, depth + 1)
    if wire.awaitpy != FORMAT:
        raise StateError(
            f"This state has format {wire.awaitpy}, and this awaitpy reads format {FORMAT}. "
            "Read it with an awaitpy that writes that format."
        )
    return wire


# --- JSON ---------------------------------------------------------------------------------------


def to_json(data: bytes, indent: int) -> str:
    """Turn the bytes of a state into readable JSON with the same content."""
    try:
        tree = _decode_any(data)
        _each_journal(tree, _named)
        text = msgspec.json.encode(_readable(tree))
    except (msgspec.MsgspecError, UnicodeError, ValueError, TypeError, RecursionError) as error:
        raise StateError(f"A payload of this state is damaged and has no JSON: {error}.") from None
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()


def from_json(text: str | bytes) -> bytes:
    """Turn JSON back into the bytes of a state; the caller reads those, which checks the content."""
    try:
        tree = _restored(msgspec.json.decode(text))
        _each_journal(tree, _unnamed)
        return encode(tree)
    except RecursionError:
        raise StateError("This JSON is no awaitpy state: it is nested too deep.") from None
    except msgspec.DecodeError as error:
        raise StateError(f"This is no JSON, or it is truncated: {error}.") from None
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        OverflowError,
        msgspec.MsgspecError,
    ) as error:
        raise StateError(f"This JSON is no awaitpy state: {error}.") from None


def _each_journal(tree: dict[str, Any], change: Callable[[Any], Any]) -> None:
    """Change each entry of a state, and of the children in it."""
    tree["entries"] = [change(entry) for entry in tree.get("entries", ())]
    for child in tree.get("more", {}).get("children", {}).values():
        _each_journal(child, change)


def _named(entry: list[Any]) -> dict[str, Any]:
    named = dict(zip(Entry.__struct_fields__, entry, strict=False))
    named["kind"] = KINDS[named["kind"]]
    return {name: v for name, v in named.items() if name not in _OPTIONAL or v != _OPTIONAL[name]}


def _unnamed(named: dict[str, Any]) -> list[Any]:
    full = {**_OPTIONAL, **named, "kind": KINDS.index(named["kind"])}
    return [full[name] for name in Entry.__struct_fields__]


_OPTIONAL: Final[dict[str, Any]] = {"form": PLAIN, "hook_id": None, "delivery_id": None}


def _readable(value: Any) -> Any:
    """Write what JSON has no word for as an object of one key that starts with a dollar sign."""
    # map, not comprehensions: half the depth of recursion, for values that are nested deep.
    if is_map(value):
        items = map(_readable, value.values())
        if all(isinstance(key, str) for key in value) and not _looks_special(value):
            return dict(zip(value, items, strict=True))
        return {"$map": list(map(list, zip(map(_readable, value), items, strict=True)))}
    if is_row(value):
        return list(map(_readable, value))
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, msgspec.msgpack.Ext):
        return {"$ext": [value.code, b64encode(value.data).decode()]}
    return value


def _looks_special(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith("$")


def _restored(value: Any) -> Any:
    if is_list(value):
        return list(map(_restored, value))
    if not is_map(value):
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key in _RESTORE:
            return _RESTORE[key](item)
    return dict(zip(value, map(_restored, value.values()), strict=True))


def _restored_map(pairs: list[list[Any]]) -> dict[Any, Any]:
    return {_hashable(_restored(key)): _restored(item) for key, item in pairs}


def _hashable(key: Any) -> Any:
    return tuple(_hashable(item) for item in key) if is_list(key) else key


_RESTORE: Final[dict[str, Callable[[Any], Any]]] = {
    "$bytes": lambda text: b64decode(text, validate=True),
    "$float": float,
    "$time": datetime.fromisoformat,
    "$ext": lambda pair: msgspec.msgpack.Ext(pair[0], b64decode(pair[1], validate=True)),
    "$map": _restored_map,
}
