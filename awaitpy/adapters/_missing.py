"""What an adapter says when its framework is not there."""

from __future__ import annotations


def missing(framework: str, extra: str) -> ImportError:
    """An ImportError that tells how to get the framework."""
    return ImportError(
        f"awaitpy.adapters.{extra} needs {framework}, which is not installed: "
        f"pip install 'awaitpy[{extra}]'."
    )
