"""Several observers where a runner takes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awaitpy._observing import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from awaitpy.events import Event


class _FanOut:
    __slots__ = ("_observers",)

    def __init__(self, observers: tuple[Callable[[Event], None], ...]) -> None:
        self._observers = observers

    def __call__(self, event: Event) -> None:
        for observer in self._observers:
            guarded(observer, event, event.name)

    def traceparent(self, leg: int) -> str | None:
        """Give the first trace that one of the observers has of this leg."""
        asked: list[Callable[[int], Any] | None]
        asked = [getattr(observer, "traceparent", None) for observer in self._observers]
        found = (guarded(ask, leg, "traceparent") for ask in asked if ask is not None)
        return next((trace for trace in found if trace), None)


def fan_out(*observers: Callable[[Event], None]) -> Callable[[Event], None]:
    """Give an observer that tells each of these, in this order.

    One that raises does not silence the others: what it raises is logged.
    """
    return _FanOut(observers)
