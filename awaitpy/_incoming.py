"""Values from outside: turned to bytes when they are injected, decoded when a wait takes them.

They are not held to the exactness of the journal: fresh and replayed wait both decode the same bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NewType, cast

import msgspec

from awaitpy import _annotations as hints
from awaitpy import _fidelity
from awaitpy import _payload as payloads
from awaitpy._guards import is_list, is_map, is_row, is_set
from awaitpy._wire import NATIVE, encode
from awaitpy.errors import InvalidPayload

if TYPE_CHECKING:
    from collections.abc import Callable

_codecs: Final = payloads.Codecs()
_decode_any: Final = msgspec.msgpack.Decoder().decode
# Only these messages speak of the type alone; any other may quote the body, which must not reach logs.
_KNOWN: Final = (
    r"Expected `[^`]*`(, got `[^`]*`)?$|Expected `\w+` (of length )?[<>=]+ ?[-\d.]+( and [<>=]+ ?[-\d.]+)?$"
    r"|Object missing required field `[^`]*`$|Invalid (RFC3339|ISO8601|UUID|decimal|base64)[\w ]*$"
    r"|Input data was truncated$"
)
_FIELDS: Final = r"\$(\.\w+|\[(\d+|\.\.\.)\])*"


def as_delivery(hook_id: str, value: Any, delivery_id: str | None) -> msgspec.Raw:
    """Encode an injected value: plain data, or an object of a class that MessagePack carries."""
    if hasattr(value.__class__, "model_dump"):
        value = _dumped(hook_id, value)
    try:
        if delivery_id is not None and not delivery_id.isascii():
            encode(delivery_id)
        if _fidelity.offender(value) is None:
            return msgspec.Raw(encode(value))
        form, data = _codecs.of_type(_class_of(value)).encode(value)
    except payloads.Misfit as misfit:
        raise InvalidPayload(hook_id, _public(misfit.path), misfit.problem) from None
    except (OverflowError, UnicodeError, RecursionError):
        raise InvalidPayload(hook_id, "$", "MessagePack can't hold the value or its id") from None
    if form > NATIVE:
        raise InvalidPayload(hook_id, "$", f"a {type(value).__name__} needs a converter: inject plain data")
    return msgspec.Raw(data)


def _dumped(hook_id: str, model: Any) -> Any:
    """Give the plain data of a model of pydantic, which a wait for it validates again."""
    try:
        return model.model_dump(mode="json", by_alias=True)
    except Exception:  # noqa: BLE001  a user's class may raise anything, and quote the body
        problem = f"{_fidelity.with_article(type(model).__name__)} can't be written as plain data"
        raise InvalidPayload(hook_id, "$", problem) from None


def _public(path: str) -> str:
    """Give a path without the keys of dicts, which are words of the body."""
    fields = re.match(_FIELDS, path)
    shown = fields[0] if fields else "$"
    return shown if shown == path else f"{shown}[...]"


def _class_of(value: Any) -> Any:
    return Any if is_map(value) or is_row(value) or is_set(value) else value.__class__


def check_payload(hook_id: str, raw: msgspec.Raw, payload: Any) -> None:
    """Raise `InvalidPayload` unless the bytes fit the type."""
    try:
        decode_payload(raw, payload, _codecs)
    except payloads.Misfit as misfit:
        raise InvalidPayload(hook_id, misfit.path, misfit.problem) from None


def decode_payload(raw: msgspec.Raw, payload: Any, codecs: payloads.Codecs) -> Any:
    """Give the value of a delivery as the wait wants it. Raises `Misfit`, never quoting the body."""
    try:
        if payload is Any or payload is object:
            return _decode_any(raw)
        return _reader(payload, codecs)(raw)
    except Exception as error:  # noqa: BLE001  a user's decoder or class may raise anything
        raise _discreet(error) from None


def _reader(payload: Any, codecs: payloads.Codecs) -> Callable[[Any], Any]:
    validate = getattr(payload, "model_validate", None) if isinstance(payload, type) else None
    decoder = validate or (payload if _is_decoder(payload) else None)
    if decoder is not None:
        return lambda raw: decoder(_decode_any(raw))
    codec = codecs.of_type(payload)
    if codec.native:
        return lambda raw: codec.decode(raw, NATIVE)
    from awaitpy._converter import read_foreign  # noqa: PLC0415  cattrs: see Codecs.converter

    return lambda raw: read_foreign(_decode_any(raw), payload)


def _is_decoder(payload: Any) -> bool:
    """Whether `payload` is a function to call, not a type to restore."""
    typed = isinstance(payload, (type, NewType)) or hasattr(payload, "__origin__")
    return callable(payload) and not typed and hints.bare(payload) is payload


def _discreet(error: Any) -> payloads.Misfit:
    """Say where and what kind of trouble, without the words of the body."""
    details = getattr(error, "errors", None)
    if callable(details):
        return _from_details(error, details)
    if not isinstance(error, (msgspec.MsgspecError, payloads.Misfit, ExceptionGroup)):
        return payloads.Misfit("$", f"the decoder refused it ({type(error).__name__})")
    misfit = payloads.misfit_of(error)
    known = re.match(_KNOWN, misfit.problem)
    return payloads.Misfit(_public(misfit.path), known[0] if known else "the value is refused")


def _from_details(error: Exception, details: Callable[[], Any]) -> payloads.Misfit:
    """Read the place and the kind of trouble of a pydantic error."""
    try:
        first = cast("dict[str, Any]", details()[0])
        extra = "extra" in first["type"]
        path = f"$.{first['loc'][0]}" if first["loc"] and not extra else "$"
        return payloads.Misfit(path, f"the value is refused ({first['type']})")
    except (TypeError, KeyError, IndexError):
        return payloads.Misfit("$", f"the decoder refused it ({type(error).__name__})")


def equal(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Whether two deliveries carry the same value, whatever the order of their keys."""
    if bytes(one) == bytes(other):
        return True
    try:
        a, b = _decode_any(one), _decode_any(other)
    except (msgspec.MsgspecError, UnicodeError, TypeError):  # a damaged one equals no other
        return False
    return a == b and _fidelity.difference(_sorted(a), _sorted(b)) is None


def _sorted(value: Any) -> Any:
    if is_map(value):
        items = value.items()
        return {k: _sorted(v) for k, v in sorted(items, key=lambda pair: repr(pair[0]))}
    if is_list(value):
        return [_sorted(item) for item in value]
    return value
