"""What a durable run needs of a store: a few verbs over opaque bytes, revisions, leases and two indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from awaitpy.errors import AwaitpyError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a run until a time, in epoch seconds.

    `token` is the fencing token: it grows with each claim of the run, and a write under an older one
    is refused (Kleppmann, "How to do distributed locking", 2016).
    """

    run_id: str
    owner: str
    token: int
    until: float


class Line(msgspec.Struct, frozen=True):
    """One entry of a journal as a store keeps it: bytes, and the hook that it makes known."""

    data: bytes
    hook_id: str | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a run beside its journal.

    `state` is the resume state without entries; the first `settled` lines of the journal are what it
    accounts for. `due` is when somebody next has to look at the run, in epoch seconds; None for
    never. `hooks` are ids to make known with it: those already known may be named again.
    """

    workflow: str
    version: int
    status: str
    state: bytes
    settled: int = 0
    due: float | None = None
    hooks: tuple[str, ...] = ()
    tries: int = 0
    """Unexpected errors in a row."""
    trouble: str | None = None
    """The traceback of the last one."""


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a store has it. Its `head` names no hooks: those are in the index.

    `revision` is 1 when the run is created and grows by 1 with each `save` and `rewrite`.
    """

    run_id: str
    revision: int
    head: Head
    metadata: Mapping[str, Any] = {}
    created: float
    updated: float
    lease: Lease | None = None
    lines: tuple[bytes, ...] = ()
    """The lines that were asked for, in the order of the journal."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs to list, newest first. `after` is the last run of the page before."""

    workflow: str | None = None
    status: str | None = None
    metadata: Mapping[str, Any] = {}
    """Items that the metadata of the run has at its top level, with equal values."""
    after: StoredRun | None = None
    limit: int = 100


class LeaseLost(AwaitpyError):
    """Somebody else has claimed the run since, or it is gone: nothing was written."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"The lease on run {run_id!r} is lost: it ran out and somebody else took over, or the run "
            "was deleted. Nothing was written. Let a lease last longer than the process may be paused."
        )


class HookTaken(AwaitpyError):
    """A hook id belongs to another run of this store: nothing was written."""

    def __init__(self, hook_id: str, run_id: str) -> None:
        self.hook_id, self.run_id = hook_id, run_id
        super().__init__(
            f"Hook {hook_id!r} of run {run_id!r} is known to the store as a hook of another run. Make "
            "the ids of hooks by create_hook, or put the run's id into them."
        )


class StoreError(AwaitpyError):
    """The store could not do what was asked: a full disk, a lost connection, a locked file.

    Nothing is half-written. `transient` says whether the same call may work a moment later, and `waited`
    that the store has waited for that itself, for as long as it was told to be patient.
    """

    def __init__(self, message: str, *, transient: bool = False, waited: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.waited = waited


class Store(Protocol):
    """Keeps runs. Every verb is atomic, and durable when it returns, as far as the store promises.

    Times are epoch seconds and come from the caller, so that tests need no clock. A verb that can't
    reach its storage raises `StoreError` and has written nothing. One store object is used by one
    event loop and by any number of tasks at once; other processes use objects of their own.
    """

    async def open(self) -> None:
        """Connect, and bring the tables to this version. Safe when several processes do it at once."""
        ...

    async def close(self) -> None:
        """Finish what was asked, and let go of connections and threads. A second call does nothing."""
        ...

    async def create(
        self,
        run_id: str,
        head: Head,
        *,
        metadata: Mapping[str, Any],
        now: float,
        lease: tuple[str, float] | None = None,
    ) -> Lease | bool:
        """Add a run with an empty journal: False if the id is taken, True (or the lease) if it was added.

        `lease` is (owner, until): the run is born claimed. Raises `HookTaken`.
        """
        ...

    async def load(self, run_id: str, *, tail: bool = False) -> StoredRun | None:
        """Give a run with its lines; with `tail` only those that its head does not account for."""
        ...

    def append(self, lease: Lease, lines: Sequence[Line]) -> Awaitable[None]:
        """Add lines at the end of the journal. Raises `LeaseLost` and `HookTaken`.

        An async function; or one that gives a future, which spares each entry a task.
        """
        ...

    async def save(
        self,
        run_id: str,
        head: Head,
        *,
        revision: int,
        now: float,
        lease: Lease | None = None,
        release: bool = False,
    ) -> bool:
        """Replace the head if the run still has this revision; False if not, or if it is gone.

        With a `lease` it must be the current one, else `LeaseLost` is raised; with `release` it ends
        with this save. Without a lease the save is one from outside, such as a delivery: it does not
        touch the lease. Raises `HookTaken`.
        """
        ...

    async def rewrite(
        self, run_id: str, head: Head, lines: Sequence[Line], *, revision: int, now: float
    ) -> bool:
        """Replace head and journal, if the run has this revision and is not leased; else False.

        An old lease ends with it. Hooks that were known stay known, so that who comes to one is told by
        the run. Raises `HookTaken`.
        """
        ...

    async def claim(
        self,
        owner: str,
        *,
        now: float,
        until: float,
        limit: int = 1,
        run_id: str | None = None,
        workflows: Sequence[str] | None = None,
    ) -> list[Lease]:
        """Lease runs that nobody holds (they have no lease, or its `until` is `now` or before).

        With `run_id` that run, whenever it is due; else up to `limit` runs of these workflows (all,
        without) that are due by `now`, the longest due first. Each token is larger than all that the
        store gave before, so that a run that is deleted and made again doesn't take an old one.
        """
        ...

    async def renew(self, leases: Sequence[Lease], *, until: float) -> list[str]:
        """Make leases last until then; give the ids of the runs whose lease is lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """End a lease before its time; nothing if it is lost."""
        ...

    async def find(self, hook_id: str) -> str | None:
        """Give the id of the run that has this hook, open or closed."""
        ...

    async def next_due(self, *, now: float, workflows: Sequence[str] | None = None) -> float | None:
        """Give the time at which `claim` next has something to give: now or before, or later; None."""
        ...

    async def page(self, query: Query) -> list[StoredRun]:
        """Give runs without lines, newest (`created`, then `run_id`, both falling) first."""
        ...

    async def delete(self, run_id: str) -> bool:
        """Remove a run with its journal and hooks, leased or not; False if there is none."""
        ...

    async def purge(self, *, before: float, statuses: Sequence[str]) -> int:
        """Remove the runs of these statuses that were last saved before then; give how many."""
        ...

    def changed(self, timeout: float) -> Awaitable[None]:
        """Return when a run may have become due by another hand, or after `timeout` seconds.

        An async function; or one that gives an awaitable, and so knows the task that will wait. What came
        between two waits of a task is not missed, whoever else waited meanwhile.
        """
        ...
