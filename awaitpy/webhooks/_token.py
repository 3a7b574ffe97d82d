"""Callback URLs that only who knows the key can make."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable

from awaitpy.errors import HookError
from awaitpy.webhooks._signature import hmac_sha256

Key = str | bytes

_LONGEST_TOKEN = 4096
_STANDARD = str.maketrans("-_", "+/")
# Keeps these tokens apart from whatever else is signed with the same key.
_PURPOSE = b"awaitpy hook token 1"


class HookTokenRefused(HookError):
    """No hook has this token. It is 404: an address that was guessed is told nothing."""

    status = 404

    def __init__(self) -> None:
        super().__init__(
            "",
            "The token of this callback URL was not made with this key, or was changed on the way.",
        )


def hook_token(hook_id: str, key: Key) -> str:
    """A URL-safe token for a hook, for the path of its callback URL.

    Raises:
        ValueError: the key is empty.
    """
    encoded = hook_id.encode()
    digest = hmac_sha256(_key_bytes(key), _PURPOSE, encoded)
    return f"{_url_safe(encoded)}.{_url_safe(digest)}"


def check_hook_token(token: str, key: Key | Iterable[Key]) -> str:
    """The hook id of a token; several keys are accepted while they rotate.

    Raises:
        HookTokenRefused: it was not made with any of these keys (404).
        ValueError: there is no key, or one is empty.
    """
    keys = (key,) if isinstance(key, str | bytes) else tuple(key)
    if not keys:
        raise ValueError("There is no key to check the token with: pass the one it was made with.")
    hook_id = _claimed_id(token)
    given = token.encode("utf-8", "replace")
    matches = [hmac.compare_digest(hook_token(hook_id, each).encode(), given) for each in keys]
    if not any(matches):
        raise HookTokenRefused
    return hook_id


def _claimed_id(token: str) -> str:
    encoded = token.partition(".")[0]
    if len(token) > _LONGEST_TOKEN:
        raise HookTokenRefused
    try:
        padded = encoded.translate(_STANDARD) + "=" * (-len(encoded) % 4)
        return base64.b64decode(padded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise HookTokenRefused from None


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _key_bytes(key: Key) -> bytes:
    encoded = key.encode() if isinstance(key, str) else key
    if not encoded:
        raise ValueError("The key is empty: make one with secrets.token_bytes(32) and keep it.")
    return encoded
