"""Standard Webhooks: the headers webhook-id, webhook-timestamp and webhook-signature."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timedelta

import attrs

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

_PREFIX = "whsec_"


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix(_PREFIX)
    padding = "=" * (-len(encoded) % 4)
    try:
        key = base64.b64decode(encoded + padding, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError(
            "A Standard Webhooks secret is not base64: "
            "pass it as the sender shows it, 'whsec_' and base64 after it."
        )
    return key


def _keys(secrets: str | tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(_key(secret) for secret in secret_list(secrets))


@attrs.frozen
class StandardWebhooks:
    """Verifies and signs as standardwebhooks.com says, with HMAC-SHA256 (`v1`).

    Args:
        secrets: one `whsec_...`, or several while they rotate; `sign` uses the first.
        tolerance: how far the timestamp may be from now, in either direction: a timedelta or seconds.

    Raises:
        ValueError: there is no secret, or one is no base64.
    """

    secrets: tuple[bytes, ...] = attrs.field(converter=_keys, repr=False)
    tolerance: timedelta = attrs.field(default=TOLERANCE, converter=duration)

    def verify(self, headers: Headers, body: bytes, *, now: datetime | float | None = None) -> str:
        """The webhook id, which every retry repeats: good as `delivery_id`.

        Raises:
            SignatureRefused: for every header that is missing, malformed or wrong (401).
        """
        webhook_id = read_header(headers, "webhook-id")
        timestamp = read_header(headers, "webhook-timestamp")
        signatures = read_header(headers, "webhook-signature")
        _check_id(webhook_id)
        check_time(timestamp, "webhook-timestamp", now, self.tolerance)
        expected = [_signature(key, webhook_id, timestamp, body) for key in self.secrets]
        check_match(expected, signatures.split(" "), "webhook-signature")
        return webhook_id

    def sign(self, body: bytes, *, webhook_id: str, now: datetime | float | None = None) -> dict[str, str]:
        """The three headers that a sender would add to this body."""
        timestamp = str(int(seconds(now)))
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": _signature(self.secrets[0], webhook_id, timestamp, body),
        }


def _check_id(webhook_id: str) -> None:
    # With a full stop in it, part of a signed body could be passed off as id and timestamp.
    if "." in webhook_id:
        raise SignatureRefused("malformed", "webhook-id", "contains a full stop")


def _signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    digest = hmac_sha256(key, webhook_id.encode(), timestamp.encode(), body)
    return "v1," + base64.b64encode(digest).decode()
