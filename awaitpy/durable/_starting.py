"""How runs are begun: at once, or by whoever serves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import attrs
import msgspec

from awaitpy._runner import Outcome
from awaitpy._workflow import bind, described
from awaitpy.durable import _arguments as arguments
from awaitpy.durable import _heads as heads
from awaitpy.durable._legs import Claimed, create
from awaitpy.durable._resting import rest_of
from awaitpy.errors import WorkflowMismatch
from awaitpy.result import Err

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from awaitpy._state import ResumeState
    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Store
    from awaitpy.durable._work import Works
    from awaitpy.typing import Step

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")


@attrs.frozen(kw_only=True)
class Terms:
    """What a run is begun with, beside the arguments of its workflow."""

    run_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    within: Any = None


class Starter:
    """Begins runs under terms; made by `Durable.options`."""

    def __init__(self, settings: Settings, works: Works, terms: Terms) -> None:
        self._settings = settings
        self._works = works
        self._terms = terms

    async def start(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Outcome[T, E]:
        """Start a run and give how it comes to rest: see `Durable.start`."""
        state = self._begun(workflow, args, kwargs)
        if self._terms.within is not None:
            raise TypeError(
                "A run can't be started within a transaction that is still open: enqueue it there, and "
                "start it by the same run_id once that is committed."
            )

        async def claiming() -> Claimed | None:
            return await create(self._settings, state, self._terms.metadata or {})

        outcome = await rest_of(self._settings, self._works, state.run_id, claiming=claiming)
        if outcome.state.workflow != state.workflow:
            return Outcome(Err(WorkflowMismatch(outcome.state.workflow, state.workflow)), outcome.state)
        return outcome

    async def enqueue(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> str:
        """Queue a run and give its id: see `Durable.enqueue`."""
        state = self._begun(workflow, args, kwargs)
        now = self._settings.now()
        head, metadata = heads.begun(state, now), self._terms.metadata or {}

        def added(store: Store) -> Awaitable[object]:
            return store.create(state.run_id, head, metadata=metadata, now=now)

        if self._terms.within is None:
            await self._settings.ask(lambda: added(self._settings.store))
        else:
            await added(_within(self._settings.store, self._terms.within))
        return state.run_id

    def _begun(
        self, workflow: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> ResumeState:
        """Give the state of the new run. Raises as `Durable.start` does for what can't be started."""
        self._works.check_open()
        known = self._settings.flows.of(described(workflow).name)
        state = self._settings.runner.start(known, *args, **kwargs)
        bind(described(known), args, kwargs)
        run_id = os.urandom(16).hex() if self._terms.run_id is None else self._terms.run_id
        arguments.check_id("run_id", run_id)
        arguments.check_metadata(self._terms.metadata)
        return msgspec.structs.replace(state, run_id=run_id)


def _within(store: Any, connection: Any) -> Store:
    """Give the store as it writes in the transaction of this connection."""
    if not hasattr(store, "within"):
        raise TypeError(
            f"{type(store).__name__} can't join a transaction of yours: enqueue after it is committed."
        )
    return cast("Store", store.within(connection))


def taken_apart(
    workflow: Callable[..., Any], kwargs: dict[str, Any], names: tuple[str, ...]
) -> tuple[Terms, dict[str, Any]]:
    """Give the terms of a start, and the arguments that are the workflow's own.

    Raises TypeError for a name that may be meant for either.
    """
    terms = {name: kwargs[name] for name in names if name in kwargs}
    if terms:
        own = {parameter.name for parameter in described(workflow).parameters}
        for name in own.intersection(terms):
            raise TypeError(
                f"Workflow {described(workflow).name!r} has a parameter {name!r}, and so has this call: "
                f"give it by position, or use durable.options({name}=...).start(workflow, ...)."
            )
    return Terms(**terms), {name: value for name, value in kwargs.items() if name not in terms}
