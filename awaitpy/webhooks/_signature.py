"""What the two ways of signing share: secrets, the clock, reading headers, the refusal."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from awaitpy._request import Headers, header_pairs
from awaitpy.errors import HookError

Reason = Literal["missing", "malformed", "too-old", "too-new", "no-match"]

TOLERANCE = timedelta(minutes=5)
# No server sends more, and nothing that is compared grows beyond it.
_LONGEST_HEADER = 8192
_LONGEST_TIMESTAMP = 12


class SignatureRefused(HookError):
    """A request is not, or not provably, from who holds the secret. Its message shows no content.

    Attributes:
        reason: `missing`, `malformed`, `too-old`, `too-new` or `no-match`.
        header: the header that it is about.
    """

    status = 401

    def __init__(self, reason: Reason, header: str, problem: str) -> None:
        super().__init__("", f"The header {header} {problem}.")
        self.reason: Reason = reason
        self.header = header


def secret_list(secrets: str | Iterable[str]) -> tuple[str, ...]:
    """One secret or several as a tuple; raises ValueError if there is none or one is empty."""
    given = cast("object", secrets)  # None where a variable of the environment is not set
    alone = given is None or isinstance(given, (str, bytes))
    listed: tuple[object, ...] = (given,) if alone else tuple(secrets)
    if not listed or not all(listed):
        raise ValueError("A signing secret is missing or empty: pass secrets='whsec_...'.")
    for each in listed:
        if not isinstance(each, str):
            raise TypeError(
                f"A signing secret is a str, as the sender shows it, not {type(each).__name__}."
            )
    return cast("tuple[str, ...]", listed)


def duration(tolerance: timedelta | float) -> timedelta:
    """A tolerance, which may be given in seconds."""
    try:
        return tolerance if isinstance(tolerance, timedelta) else timedelta(seconds=tolerance)
    except TypeError:
        raise TypeError(f"tolerance= is a timedelta or seconds, not {tolerance!r:.40}.") from None


def read_header(headers: Headers, name: str) -> str:
    """The one value of a header; refused if it is missing, doubled, huge or not ASCII."""
    found = [value for given, value in header_pairs(headers) if given == name]
    if not found or not found[0]:
        raise SignatureRefused("missing", name, "is missing")
    if len(found) > 1:
        raise SignatureRefused("malformed", name, "came more than once")
    if len(found[0]) > _LONGEST_HEADER:
        raise SignatureRefused("malformed", name, f"is longer than {_LONGEST_HEADER} characters")
    if not found[0].isascii():
        raise SignatureRefused("malformed", name, "has characters that are not ASCII")
    return found[0]


def check_time(timestamp: str, header: str, now: datetime | float | None, tolerance: timedelta) -> None:
    """Refuse a timestamp that is no whole number of seconds or is out of tolerance."""
    if not timestamp.isdigit() or len(timestamp) > _LONGEST_TIMESTAMP:
        raise SignatureRefused("malformed", header, "has no timestamp in seconds since 1970")
    age = seconds(now) - int(timestamp)
    allowed = tolerance.total_seconds()
    if age > allowed:
        raise SignatureRefused("too-old", header, f"is older than {allowed:g} seconds")
    if age < -allowed:
        raise SignatureRefused("too-new", header, f"is more than {allowed:g} seconds ahead")


def seconds(now: datetime | float | None) -> float:
    """The time that was passed, or else the present, in seconds since 1970."""
    moment = datetime.now(UTC) if now is None else now
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is None:
        raise ValueError("now= has no time zone: pass datetime.now(UTC) or seconds.")
    return moment.timestamp()


def hmac_sha256(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA256 over the parts joined by full stops."""
    return hmac.new(key, b".".join(parts), hashlib.sha256).digest()


def check_match(expected: Sequence[str], given: Sequence[str], header: str) -> None:
    """Refuse unless one of the given signatures is one of the expected, in constant time each."""
    matches = [hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in given]
    if not any(matches):
        raise SignatureRefused("no-match", header, "matches neither the body nor any secret")
