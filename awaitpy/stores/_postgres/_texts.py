"""The metadata of a run, as PostgreSQL can search it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from awaitpy.stores import _metadata


def digests(metadata: bytes | Mapping[str, Any]) -> list[str]:
    """One for each item: as long as an index admits, however long the item is."""
    items = _metadata.decode(metadata) if isinstance(metadata, bytes) else metadata
    return [_digest(_metadata.encode({name: value})) for name, value in items.items()]


def _digest(item: bytes) -> str:
    return hashlib.blake2b(item, digest_size=16).hexdigest()
