"""What a workflow says of one wait: carried by `PendingHook`, never journaled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from awaitpy.errors import PendingHook


class Wait(msgspec.Struct, frozen=True):
    """The terms of a wait: the payload's type, its judge, its time, and the hooks that race."""

    payload: Any = Any
    timeout: timedelta | None = None
    accept: Callable[[Any], Any] | None = None
    methods: tuple[str, ...] | None = None
    many: bool = False
    race: tuple[PendingHook, ...] = ()
