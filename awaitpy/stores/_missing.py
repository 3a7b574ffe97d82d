"""What a store says when its driver is not there."""

from __future__ import annotations


def missing(store: str, driver: str, extra: str) -> ImportError:
    """An ImportError that tells how to get the driver."""
    return ImportError(f"{store} needs {driver}, which is not installed: pip install 'awaitpy[{extra}]'.")
