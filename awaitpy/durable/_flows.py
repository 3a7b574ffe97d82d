"""The workflows that a `Durable` was given, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awaitpy._workflow import described
from awaitpy.durable._errors import UnknownWorkflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Flows:
    """Finds a workflow by its name. Raises ValueError for two of the same name."""

    def __init__(self, workflows: Iterable[Callable[..., Any]]) -> None:
        self._by_name: dict[str, Callable[..., Any]] = {}
        for workflow in workflows:
            name = described(workflow).name
            if name in self._by_name:
                raise ValueError(
                    f"Two workflows are named {name!r}, and a stored run is found by that name: tell "
                    "them apart by @workflow(name=...)."
                )
            self._by_name[name] = workflow

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all."""
        return tuple(self._by_name)

    def of(self, name: str) -> Callable[..., Any]:
        """Give the workflow of this name. Raises `UnknownWorkflow`."""
        if name not in self._by_name:
            raise UnknownWorkflow(name)
        return self._by_name[name]
