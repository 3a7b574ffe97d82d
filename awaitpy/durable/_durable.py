"""`Durable`: workflows over a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from datetime import datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Literal,
    ParamSpec,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from awaitpy._hooks import moment, system_time
from awaitpy._policy import in_seconds
from awaitpy._runner import Outcome, Runner
from awaitpy._state import ResumeState, cancel
from awaitpy._tasks import finish
from awaitpy._wire import Status
from awaitpy.durable import _arguments as arguments
from awaitpy.durable import _edits as edits
from awaitpy.durable import _looking as looking
from awaitpy.durable import _parts as parts
from awaitpy.durable._edits import DeliveryTerms
from awaitpy.durable._flows import Flows
from awaitpy.durable._heart import beat
from awaitpy.durable._patient import patient
from awaitpy.durable._policy import Tries
from awaitpy.durable._records import RunHook, RunRecord, record
from awaitpy.durable._resting import rest_of
from awaitpy.durable._serving import Server
from awaitpy.durable._settings import Settings
from awaitpy.durable._starting import Starter, Terms, taken_apart
from awaitpy.durable._store import Query, Store
from awaitpy.durable._work import Works
from awaitpy.errors import HookError
from awaitpy.events import Event
from awaitpy.result import Err, Ok, Result
from awaitpy.typing import Step

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from cattrs import Converter

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")
Ts = TypeVarTuple("Ts")

_PAGE: Final = 100
_PAUSE: Final = 0.05
_LONGEST_WAIT: Final = 30.0
_BY_OTHER_CLOCKS: Final = 1.0
"""A clock that was handed in may be put forward, as tests do, and tells nobody."""


class Durable:
    """Runs workflows over a store, from which any process goes on with them.

    Use it as `async with Durable(store, workflows=[...]) as durable`; that opens the store, and closes
    it. One object is used by one event loop and any number of tasks.

    - `store`: keeps the runs, see `awaitpy.stores`.
    - `workflows`: what may be run here. A stored run is found by the name of its workflow.
    - `lease`: seconds or a timedelta after which another process takes over the runs of one that has
      died. It is renewed every third of that; longer than a process may be paused.
    - `checkpoint`: with `"each"` every entry is on disk before the run goes on. With `"relaxed"` entries
      are written behind its back, and a crash repeats the steps of the last moments.
    - `tries`: how often a run is tried again that ended in an unexpected error.
    - `concurrency`: how many runs `serve` works on at once.
    - `owner`: names this process in the leases, for people; made unique by random digits.
    - `clock`, `on_event`, `retired`, `converter`: as for `Runner`.
    - `sleep`: waits so many seconds, for tests.

    Raises ValueError for two workflows of one name, and for settings with which nothing could run;
    TypeError for what is no store, no list of workflows, or no `Tries`.
    """

    def __init__(
        self,
        store: Store,
        *,
        workflows: Iterable[Callable[..., Coroutine[Any, Any, Any]]],
        lease: timedelta | float = 60.0,
        checkpoint: Literal["each", "relaxed"] = "each",
        tries: Tries | None = None,
        concurrency: int = 100,
        owner: str = "awaitpy",
        clock: Callable[[], datetime | float] | None = None,
        on_event: Callable[[Event], None] | None = None,
        retired: Collection[str] = (),
        converter: Converter | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        arguments.check_store(store)
        seconds = in_seconds(lease)
        arguments.check_settings(seconds, checkpoint, concurrency)
        arguments.check_tries(tries)
        arguments.check_workflows(workflows)
        time = system_time if clock is None else clock
        self._settings = Settings(
            store=store,
            flows=Flows(workflows),
            runner=Runner(clock=time, on_event=on_event, retired=retired, converter=converter),
            owner=f"{owner}-{os.urandom(8).hex()}",
            lease=seconds,
            tries=Tries() if tries is None else tries,
            relaxed=checkpoint == "relaxed",
            now=lambda: moment(time()).timestamp(),
            sleep=sleep,
            longest_wait=_LONGEST_WAIT if clock is None else _BY_OTHER_CLOCKS,
        )
        self._concurrency = concurrency
        self._works = Works()
        self._servers: set[Server] = set()
        self._stopped = False
        self._heart: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        await patient(self._settings.store.open, self._settings.sleep)
        self._works.closed = False
        self._heart = asyncio.create_task(beat(self._settings, self._works))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        closing = asyncio.create_task(self._close())
        await finish([closing])  # though cancelled meanwhile: no thread or connection is left behind
        closing.result()

    async def _close(self) -> None:
        await self._works.close()
        for server in tuple(self._servers):
            await server.ended()
        self._heart.cancel()
        await asyncio.wait([self._heart])
        self._stopped = False
        await self._settings.store.close()

    # --- begin ------------------------------------------------------------------------------

    def options(
        self, *, run_id: str | None = None, metadata: Mapping[str, Any] | None = None, within: Any = None
    ) -> Starter:
        """Give what starts and enqueues under these terms: for workflows with parameters of such names.

        `await durable.options(run_id="order-42").start(checkout, 4200)`.
        """
        return Starter(self._settings, self._works, Terms(run_id=run_id, metadata=metadata, within=within))

    @overload
    async def start(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Outcome[T, E]: ...
    @overload
    async def start(
        self,
        workflow: Callable[[Step[E], *Ts], Coroutine[Any, Any, T]],
        /,
        *args: *Ts,
        run_id: str | None = ...,
        metadata: Mapping[str, Any] | None = ...,
    ) -> Outcome[T, E]: ...
    async def start(  # type: ignore[misc]  # mypy takes *Ts for more than *args: Any
        self, workflow: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Start a run, and give how it comes to rest: its end, a wait, or an interruption.

        The same `run_id` again is the same run: nothing runs twice, and its outcome is given. Without
        one it is random. `metadata` are plain values for `list`. If another process is at work on the
        run, this waits until it rests. If the caller is cancelled, so is the leg, unless others wait
        for it too; what it has journaled is kept and whoever serves goes on.

        Raises `UnknownWorkflow`, `JournalError`, TypeError and ValueError for what can't be started;
        `StoreError` if the store fails, and `StateError` if it gives damaged bytes.
        """
        terms, own = taken_apart(workflow, kwargs, ("run_id", "metadata"))
        starter = Starter(self._settings, self._works, terms)
        return await starter.start(workflow, *args, **own)

    @overload
    async def enqueue(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> str: ...
    @overload
    async def enqueue(
        self,
        workflow: Callable[[Step[E], *Ts], Coroutine[Any, Any, T]],
        /,
        *args: *Ts,
        run_id: str | None = ...,
        metadata: Mapping[str, Any] | None = ...,
        within: Any = ...,
    ) -> str: ...
    async def enqueue(  # type: ignore[misc]  # the same
        self, workflow: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Add a run that whoever serves starts, and give its id.

        `within` is a connection of yours with an open transaction, of the kind that the store takes:
        the run is there if and when you commit. For the rest see `start`.
        """
        terms, own = taken_apart(workflow, kwargs, ("run_id", "metadata", "within"))
        return await Starter(self._settings, self._works, terms).enqueue(workflow, *args, **own)

    async def serve(self) -> None:
        """Work on all that is due, until `stop` or a cancellation: any number of processes may.

        Takes up queued runs, deliveries, deadlines, runs of processes that died, and those that are to
        be tried again. What goes wrong with one run, or for a while with the store, is logged
        (`awaitpy.durable`) and stops no other. Returns at once if `stop` was called before.
        """
        self._works.check_open()
        if self._stopped:
            return
        server = Server(self._settings, self._works, self._concurrency)
        self._servers.add(server)
        try:
            await server.run()
        finally:
            self._servers.discard(server)

    def stop(self) -> None:
        """Let `serve` claim nothing more, and return when what is under way has come to rest.

        That holds for each `serve` of this object, also for one that begins later, and for a stop
        before the `async with`: a signal that comes while a process starts up is not lost. To serve
        again, leave the `async with` and enter it anew. `start`, `inject` and the rest go on.
        """
        self._stopped = True
        for server in self._servers:
            server.stop()

    # --- deliver ----------------------------------------------------------------------------

    async def inject(
        self, hook_id: str, value: Any, **terms: Unpack[DeliveryTerms]
    ) -> Result[Outcome[Any, Any], HookError]:
        """Give a hook its value, and give how its run comes to rest with it.

        `payload`, `delivery_id` and `method` are those of `inject_hook`. With `run_id` it is for that
        run, as a fork shares hooks with its origin. Once the value is accepted it is on disk, and is
        taken by someone even if this process dies. A step that waits for a call of this to its own run
        would wait for ever: there, `deliver`.

        Raises `UnknownWorkflow`, `StoreError` and `StateError`.
        """
        self._works.check_open()
        delivery = edits.Delivery(hook_id=hook_id, value=value, **terms)
        try:
            run_id, revision = await edits.deliver(self._settings, delivery, self._settings.flows.of)
        except HookError as refused:
            return Err(refused)
        return Ok(await rest_of(self._settings, self._works, run_id, after=revision))

    async def deliver(
        self, hook_id: str, value: Any, **terms: Unpack[DeliveryTerms]
    ) -> Result[str, HookError]:
        """Give a hook its value, and give the id of its run, which whoever serves resumes: see `inject`."""
        self._works.check_open()
        try:
            run_id, _ = await edits.deliver(
                self._settings, edits.Delivery(hook_id=hook_id, value=value, **terms)
            )
        except HookError as refused:
            return Err(refused)
        return Ok(run_id)

    # --- look -------------------------------------------------------------------------------

    async def get(self, run_id: str) -> RunRecord | None:
        """Give what the store has of a run, without its journal; None if it has no such run."""
        stored = await edits.found(self._settings, run_id, tail=True)
        return None if stored is None else record(stored)

    async def state(self, run_id: str) -> ResumeState:
        """Give the state of a run with its journal. Raises `UnknownRun` and `StateError`."""
        return parts.join(await edits.loaded(self._settings, run_id))

    async def list(
        self,
        *,
        workflow: str | None = None,
        status: Status | None = None,
        metadata: Mapping[str, Any] | None = None,
        after: RunRecord | None = None,
        limit: int = _PAGE,
    ) -> tuple[RunRecord, ...]:
        """Give runs, newest first: of a workflow, of a status, with these items of metadata.

        The next page is that `after` the last run of this one.
        """
        arguments.check_page(after, RunRecord, limit)
        arguments.check_query(workflow, status, metadata)
        query = Query(
            workflow=workflow,
            status=status,
            metadata=metadata or {},
            after=None if after is None else after.stored,
            limit=limit,
        )
        return tuple(map(record, await looking.page(self._settings, query)))

    def pending(
        self, *, workflow: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> AsyncIterator[RunHook]:
        """Give the hooks that suspended runs wait for, those of the newest run first."""
        arguments.check_query(workflow, None, metadata)
        query = Query(workflow=workflow, status="suspended", metadata=metadata or {}, limit=_PAGE)
        return looking.pending(self._settings, query)

    # --- mend -------------------------------------------------------------------------------

    async def resume(self, run_id: str) -> Outcome[Any, Any]:
        """Give how a run comes to rest; one that is interrupted is tried again now. See `start`.

        Raises `UnknownRun` too.
        """
        self._works.check_open()
        revision = await edits.hasten(self._settings, run_id)
        return await rest_of(self._settings, self._works, run_id, after=revision)

    async def cancel(self, run_id: str, reason: str = "") -> Outcome[Any, Any]:
        """Let a run end with `Err(Cancelled(reason))`, undo included, and give its outcome.

        A leg under way is let come to rest first; a run that ends by that stays as it is.
        Raises `UnknownRun` and what `start` raises.
        """
        self._works.check_open()
        arguments.check_text("reason", reason)
        revision = await edits.change(self._settings, run_id, lambda state: cancel(state, reason))
        return await rest_of(self._settings, self._works, run_id, after=revision)

    async def rewind(self, run_id: str, key: str) -> ResumeState:
        """Take the step `key`, and all that was journaled after it, out of a run, which is then due.

        Gives its state; `resume` or `serve` runs it. If somebody works on the run, this waits until it
        rests. Raises `UnknownRun`, `UnknownStep` and `StateError`.
        """

        async def busy() -> None:
            await self._works.ended(run_id)
            await self._settings.sleep(_PAUSE)

        return await edits.rewind(self._settings, run_id, key, busy)

    async def fork(
        self,
        run_id: str,
        *,
        at: str,
        new_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Make another run of what a run had journaled before the step `at`, and give its id. It is due.

        Hooks that were created before `at` stay those of the first run: to deliver to one in the fork,
        name the run (`inject(..., run_id=)`). Without `metadata` it has those of the first. Raises
        `UnknownRun`, `UnknownStep`, `RunExists` and `StateError`; TypeError and ValueError as `start`.
        """
        made = os.urandom(16).hex() if new_id is None else new_id
        arguments.check_id("new_id", made)
        arguments.check_metadata(metadata)
        await edits.fork(self._settings, run_id, at, made, metadata)
        return made

    async def delete(self, run_id: str) -> bool:
        """Remove a run with its journal and hooks, whoever works on it; False if there is none.

        A leg of it that is under way here is cancelled; one elsewhere ends at its next write.
        """
        work = self._works.of(run_id)
        gone = await edits.delete(self._settings, run_id)
        if gone and work is not None:
            work.call_off()
        return gone

    async def purge(
        self,
        *,
        older_than: timedelta | float,
        statuses: Collection[Status] = ("completed", "failed"),
    ) -> int:
        """Remove the runs of these statuses that nothing has happened to for so long; give how many."""
        arguments.check_statuses(statuses)
        before = self._settings.now() - in_seconds(older_than)
        named = tuple(statuses)
        return await self._settings.ask(lambda: self._settings.store.purge(before=before, statuses=named))
