"""What may be told of an error outside of the process: its type, and nothing that it holds."""

from __future__ import annotations

from typing import Any

from awaitpy.errors import UnexpectedError


def error_type(error: Any) -> str:
    """Give the name of an error's class, and for an UnexpectedError that of its cause too."""
    name = type(error).__qualname__
    return f"{name}({error_type(error.cause)})" if isinstance(error, UnexpectedError) else name
