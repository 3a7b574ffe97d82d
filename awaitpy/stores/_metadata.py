"""How the metadata of a run is kept and compared: as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


def encode(metadata: Mapping[str, Any]) -> bytes:
    """Give metadata as JSON, the same bytes for equal items. Raises TypeError for what JSON has not."""
    return msgspec.json.encode(dict(metadata), order="deterministic")


def decode(data: bytes | str) -> dict[str, Any]:
    """Give metadata from its JSON."""
    return msgspec.json.decode(data, type=dict[str, Any])


def item(name: str, value: Any) -> str:
    """Give the text that stands in the JSON of any metadata that has this item."""
    return encode({name: value})[1:-1].decode()


def has(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether metadata has all these items at its top level; True is not 1, as in JSON."""
    return all(name in metadata and _equal(metadata[name], value) for name, value in wanted.items())


def _equal(one: Any, other: Any) -> bool:
    return encode({"": one}) == encode({"": other})
