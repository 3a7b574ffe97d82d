"""The Stripe form: one header, `Stripe-Signature: t=1700000000,v1=hex,v1=hex`."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
import msgspec

from awaitpy._request import Headers
from awaitpy.webhooks._signature import (
    TOLERANCE,
    SignatureRefused,
    check_match,
    check_time,
    duration,
    hmac_sha256,
    read_header,
    seconds,
    secret_list,
)

_HEADER = "stripe-signature"


class _Event(msgspec.Struct):
    id: str


def _event_id(body: bytes) -> str | None:
    try:
        return msgspec.json.decode(body, type=_Event).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


@attrs.frozen
class StripeWebhooks:
    """Verifies and signs as Stripe does, with HMAC-SHA256 (`v1`).

    Args:
        secrets: one endpoint secret as Stripe shows it, or several while they rotate; `sign` uses
            the first.
        tolerance: how far the timestamp may be from now, in either direction: a timedelta or seconds.

    Raises:
        ValueError: there is no secret.
    """

    secrets: tuple[str, ...] = attrs.field(converter=secret_list, repr=False)
    tolerance: timedelta = attrs.field(default=TOLERANCE, converter=duration)

    def verify(self, headers: Headers, body: bytes, *, now: datetime | float | None = None) -> str | None:
        """The `id` of the event in the body, good as `delivery_id`; None if it has none.

        Raises:
            SignatureRefused: for every header that is missing, malformed or wrong (401).
        """
        timestamp, signatures = _parts(read_header(headers, _HEADER))
        check_time(timestamp, _HEADER, now, self.tolerance)
        expected = [_signature(secret, timestamp, body) for secret in self.secrets]
        check_match(expected, signatures, _HEADER)
        return _event_id(body)

    def sign(self, body: bytes, *, now: datetime | float | None = None) -> dict[str, str]:
        """The header that Stripe would add to this body."""
        timestamp = str(int(seconds(now)))
        signature = _signature(self.secrets[0], timestamp, body)
        return {_HEADER: f"t={timestamp},v1={signature}"}


def _parts(header: str) -> tuple[str, list[str]]:
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    if len(times) != 1:
        raise SignatureRefused("malformed", _HEADER, "does not have exactly one timestamp t=")
    return times[0], [value for name, value in pairs if name == "v1"]


def _signature(secret: str, timestamp: str, body: bytes) -> str:
    return hmac_sha256(secret.encode(), timestamp.encode(), body).hex()
