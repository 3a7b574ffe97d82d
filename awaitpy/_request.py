"""An HTTP request as a value that can wait in a resume state until its workflow reads it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol, TypedDict, runtime_checkable
from urllib.parse import parse_qsl

import attrs
import msgspec

from awaitpy.errors import HookError

REDACTED = "[redacted]"

_SECRET = re.compile(
    r"auth|cookie|signature|-sig$|token|secret|password|credential|api-?key|hmac|jwt|assertion"
)
# A closed list: Python also knows codecs that are slow on hostile input, or no charsets at all.
_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
    "utf-16": "utf-16",
}
_MOST_FORM_FIELDS = 1000

Pairs = tuple[tuple[str, str], ...]


@runtime_checkable
class HasItems(Protocol):
    """What the header mappings of all frameworks have in common."""

    def items(self) -> Iterable[tuple[str, str]]:
        """The headers, with a name that came twice listed twice where the framework keeps it."""
        ...


Headers = HasItems | Iterable[tuple[str, str]]


class Verifier(Protocol):
    """Something that can tell who sent a request, such as `awaitpy.webhooks.StandardWebhooks`."""

    def verify(self, headers: Headers, body: bytes, *, now: datetime | float | None = None) -> str | None:
        """The id of the delivery, if it has one; raises `SignatureRefused`."""
        ...


class RequestOptions(TypedDict, total=False):
    """The settings that an adapter hands on to `HookRequest.of`, where they are described."""

    received_at: datetime | None
    delivery_id: str | None
    keep_headers: Iterable[str]
    signed_by: Verifier | None


class MalformedBody(HookError):
    """The body is not what `json()`, `text()` or `form()` can read. The message never repeats it.

    Attributes:
        wanted: what was asked for: `JSON`, `text` or `a form`.
        problem: what is wrong, and where.
    """

    status = 400

    def __init__(self, wanted: str, problem: str) -> None:
        super().__init__("", f"The body of the request is not {wanted}: {problem}.")
        self.wanted = wanted
        self.problem = problem


def header_pairs(headers: Headers) -> Pairs:
    """Headers of any framework as pairs with lower-cased names, in their order."""
    found = headers.items() if isinstance(headers, HasItems) else headers
    return tuple((_clean(name).lower(), _clean(value)) for name, value in found)


def _clean(text: str) -> str:
    """Without the lone surrogates that some servers decode odd bytes to: no state can hold them."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _redacted(headers: Pairs, keep: Iterable[str]) -> Pairs:
    kept = {name.lower() for name in keep}
    return tuple(
        (name, REDACTED if name not in kept and _SECRET.search(name) else value) for name, value in headers
    )


def _query_pairs(query: str | bytes | Iterable[tuple[str, str]]) -> Pairs:
    if isinstance(query, bytes):
        query = query.decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else query
    return tuple((_clean(name), _clean(value)) for name, value in pairs)


def _utc(moment: datetime | None) -> datetime:
    if moment is None:
        return datetime.now(UTC)
    if moment.tzinfo is None:
        raise ValueError(
            "received_at has no time zone, so its instant is unknown: "
            "pass an aware datetime such as datetime.now(UTC)."
        )
    return moment.astimezone(UTC)


def _check(body: object, signed_by: object) -> None:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"body= is the raw bytes of the request, not {type(body).__name__}.")
    if signed_by is not None and not hasattr(signed_by, "verify"):
        raise TypeError(
            "signed_by= is what verifies, such as awaitpy.webhooks.StandardWebhooks(secret), not "
            f"{type(signed_by).__name__}."
        )


def _names(pairs: Pairs) -> str:
    return "[" + ", ".join(sorted({name for name, _ in pairs})) + "]"


def _first(pairs: Pairs, name: str, default: str | None) -> str | None:
    return next((value for found, value in pairs if found == name), default)


@attrs.frozen
class HookRequest:
    """The whole of a request that answered a hook: give it to `inject_hook` and wait for it.

    Its `repr` shows names and sizes only: neither values, nor the path, which may hold a token.

    Attributes:
        method: upper-cased, such as `POST`.
        path: percent-decoded, without the query.
        query: the pairs of the query string, in order, blank values kept.
        headers: pairs with lower-cased names; those that are secrets read `[redacted]`.
        body: the raw bytes.
        received_at: an aware datetime in UTC.
        delivery_id: the sender's id of this delivery, if there is one.
    """

    method: str
    path: str = attrs.field(repr=False)
    query: Pairs = attrs.field(repr=_names)
    headers: Pairs = attrs.field(repr=_names)
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    received_at: datetime = attrs.field(repr=str)
    delivery_id: str | None = None

    @classmethod
    def of(
        cls,
        *,
        method: str,
        path: str,
        query: str | bytes | Iterable[tuple[str, str]] = (),
        headers: Headers = (),
        body: bytes = b"",
        received_at: datetime | None = None,
        delivery_id: str | None = None,
        keep_headers: Iterable[str] = (),
        signed_by: Verifier | None = None,
    ) -> HookRequest:
        """A request from its parts, verified if asked, with secret headers redacted.

        Args:
            method: in any case.
            path: percent-decoded, without the query.
            query: the raw query string, or its pairs.
            headers: a mapping of any framework, or pairs.
            body: the raw bytes.
            received_at: now, unless given.
            delivery_id: the sender's id of this delivery, if it is known from elsewhere.
            keep_headers: names of secret headers that stay readable all the same.
            signed_by: verifies the untouched headers and body first, at `received_at`; its
                delivery id is used where `delivery_id` gives none.

        Raises:
            SignatureRefused: `signed_by` refused it.
            ValueError: `received_at` has no time zone.
            TypeError: `body` is no bytes, or `signed_by` is nothing that verifies.
        """
        _check(body, signed_by)
        moment = _utc(received_at)
        pairs = header_pairs(headers)
        signed_id = signed_by.verify(pairs, body, now=moment) if signed_by else None
        return cls(
            method=method.upper(),
            path=_clean(path),
            query=_query_pairs(query),
            headers=_redacted(pairs, keep_headers),
            body=bytes(body),
            received_at=moment,
            delivery_id=signed_id if delivery_id is None else delivery_id,
        )

    @property
    def idempotency_key(self) -> str:
        """The delivery id, or else a digest of method, path, query and body.

        Good for `inject_hook(delivery_id=)`: a sender that repeats itself is then recognised, even
        though the repeated request came later and with other headers.
        """
        if self.delivery_id is not None:
            return self.delivery_id
        parts = msgspec.msgpack.encode((self.method, self.path, self.query, self.body))
        return "sha256:" + hashlib.sha256(parts).hexdigest()

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return _first(self.headers, name.lower(), default)

    def query_param(self, name: str, default: str | None = None) -> str | None:
        """The first value of a parameter of the query string."""
        return _first(self.query, name, default)

    def json(self) -> Any:
        """The body as JSON; raises `MalformedBody`."""
        try:
            return msgspec.json.decode(self.body)
        except RecursionError:
            raise MalformedBody("JSON", "it is nested too deeply") from None
        except UnicodeDecodeError as error:
            raise MalformedBody("JSON", f"it is no UTF-8 at byte {error.start}") from None
        except msgspec.MsgspecError as error:
            problem = str(error) if self.body else "it is empty"
            raise MalformedBody("JSON", problem) from None

    def text(self) -> str:
        """The body in the charset that its content type names, or UTF-8; raises `MalformedBody`."""
        codec = _CODECS.get(self._charset())
        if codec is None:
            known = ", ".join(_CODECS)
            raise MalformedBody("text", f"its charset is none of {known}")
        return self._decoded(codec, "text")

    def form(self) -> Pairs:
        """The pairs of an urlencoded form, blank values kept; raises `MalformedBody`."""
        if self._media_type() != "application/x-www-form-urlencoded":
            raise MalformedBody("a form", "its content-type is not that of an urlencoded form")
        encoded = self._decoded("ascii", "a form")
        if encoded.count("&") >= _MOST_FORM_FIELDS:
            raise MalformedBody("a form", f"it has more than {_MOST_FORM_FIELDS} fields")
        try:
            return tuple(parse_qsl(encoded, keep_blank_values=True, errors="strict"))
        except UnicodeDecodeError:
            raise MalformedBody("a form", "a percent-encoded value is no UTF-8") from None

    def _decoded(self, codec: str, wanted: str) -> str:
        try:
            return self.body.decode(codec)
        except UnicodeDecodeError as error:
            raise MalformedBody(wanted, f"it is no {codec} at byte {error.start}") from None

    def _media_type(self) -> str:
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def _charset(self) -> str:
        parameters = (self.header("content-type") or "").split(";")[1:]
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip('"').lower()
        return "utf-8"
