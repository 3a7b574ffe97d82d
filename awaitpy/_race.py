"""`step.race`: branches of which the first to finish wins; the others are cancelled and awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from awaitpy import _tasks
from awaitpy._arguments import kind
from awaitpy._payload import Misfit, misfit_of
from awaitpy._tables import Race, race_of
from awaitpy._waits import alternatives, unpark
from awaitpy._wire import CUT, CUT_OFF, HOOK, RACE, Entry, encode
from awaitpy.errors import PendingHook, UnexpectedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from awaitpy._session import Session

    Tasks = dict[str, asyncio.Task[Any]]

T_co = TypeVar("T_co", covariant=True)


class Winner(msgspec.Struct, Generic[T_co], frozen=True):
    """The branch of a race that finished first: its name, and what it gave."""

    name: str
    value: T_co


class Branch:
    """What a race knows of one of its branches, which may itself be in a branch of another race."""

    __slots__ = ("_lost", "_outer", "asked", "behind", "over", "prefix", "waited")

    def __init__(self, prefix: str, outer: Branch | None) -> None:
        self.prefix, self._outer = prefix, outer
        self._lost = False
        self.over = False
        """Whether it is replayed as the winner: it has come to its end, and does nothing new."""
        self.asked: list[str] = []
        self.behind: set[str] = set()
        """Keys that were asked for and are held back until their turn in the replay."""
        self.waited: list[str] = []

    def note(self, key: str) -> None:
        """Note a key that is asked for in this branch."""
        self.asked.append(key)
        if self._outer is not None:
            self._outer.note(key)

    def replays(self, key: str) -> None:
        """Note a step that is given from the journal."""
        self.behind.add(key)
        if self._outer is not None:
            self._outer.replays(key)

    def replayed(self, key: str) -> None:
        """Note that it was given."""
        self.behind.discard(key)
        if self._outer is not None:
            self._outer.replayed(key)

    async def wait(self, pending: Any) -> None:
        """Note the hooks of a wait, unless the branch has lost."""
        await self.go_on()
        if pending.__class__ is PendingHook:
            self._note_hooks([option.hook_id for option in alternatives(pending)])

    def _note_hooks(self, hook_ids: list[str]) -> None:
        self.waited += hook_ids
        if self._outer is not None:
            self._outer._note_hooks(hook_ids)  # noqa: SLF001  of the same class

    def lose(self) -> None:
        """Let nothing new begin here."""
        self._lost = True

    @property
    def lost(self) -> bool:
        """Whether this branch, or one around it, has lost."""
        return self._lost or (self._outer is not None and self._outer.lost)

    async def go_on(self) -> None:
        """Go on, unless the branch has lost: then wait for its cancellation."""
        if self.lost:
            task: Any = asyncio.current_task()
            if not task.cancelling():
                await asyncio.get_running_loop().create_future()
            raise asyncio.CancelledError


class Contest:
    """One race: its branches, each with a step of its own."""

    __slots__ = ("_branches", "_key", "_lanes", "_outer", "_session", "_steps")

    def __init__(
        self,
        session: Session,
        key: str,
        branches: Mapping[str, Callable[[Any], Awaitable[Any]]],
        scoped: Callable[[str, Branch], Any],
        outer: Branch | None,
    ) -> None:
        if not branches or not all(map(_is_name, branches)):
            raise ValueError(
                f"step.race({key!r}) takes a dict of at least one branch, each under a name without '/'."
            )
        given: Mapping[str, object] = branches
        uncalled = next((name for name, branch in given.items() if not callable(branch)), None)
        if uncalled is not None:
            raise TypeError(
                f"Branch {uncalled!r} of step.race({key!r}) is {kind(branches[uncalled])}, which can't be "
                "called. Give a function that takes the step of its branch: "
                f"{{{uncalled!r}: lambda s: s(key, fn)}}."
            )
        self._session, self._key, self._outer = session, key, outer
        self._branches = {str.__str__(name): branch for name, branch in branches.items()}
        self._lanes = {name: Branch(f"{key}/{name}/", outer) for name in self._branches}
        self._steps = {name: scoped(name, branch) for name, branch in self._lanes.items()}

    async def winner(self, admit: Callable[[str], Awaitable[None]]) -> Winner[Any]:
        """Give the branch that finishes first, or that did. Raises `DuplicateStepKey` and `Misfit`."""
        if self._outer is not None:
            self._outer.note(self._key)
        entry = self._session.replay.due.get(self._key)
        return await (self._run(admit) if entry is None else self._again(entry))

    async def _branch(self, name: str) -> Any:
        return await self._branches[name](self._steps[name])

    def _start(self, names: Iterable[str]) -> Tasks:
        return {name: asyncio.create_task(self._branch(name)) for name in names}

    # --- a race that is open ----------------------------------------------------------------

    async def _run(self, admit: Callable[[str], Awaitable[None]]) -> Winner[Any]:
        """Let all run; cancel the losers and await them, and then journal who has won."""
        replay = self._session.replay
        replay.ask(self._key)
        if not (replay.left_in(f"{self._key}/") or self._has_children()):
            await admit(self._key)
        if self._session.journal.cuts or self._session.journal.held:
            await self._session.flush(self._key)
        tasks = self._start(self._branches)
        try:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            name = next(name for name, task in tasks.items() if task.done())
            await self._check(tasks.values())
            losers = [self._lanes[other] for other in tasks if other != name]
            await self._catch_up(losers)
            await self._beat(losers, [tasks[other] for other in tasks if other != name])
            await self._check(tasks.values(), beaten=True)
            await self._decide(name, losers)
            return Winner(name, tasks[name].result())
        finally:
            await _end(tasks.values())

    def _has_children(self) -> bool:
        """Whether children of branches are under way: they have to be asked for, as they may be undone."""
        return any(key.startswith(f"{self._key}/") for key in self._session.children_under_way())

    async def _check(self, tasks: Iterable[asyncio.Task[Any]], *, beaten: bool = False) -> None:
        """End the run if a branch has raised."""
        for task in tasks:
            error = _raised(task)
            if error is not None and not (beaten and isinstance(error, asyncio.CancelledError)):
                await self._session.stop(UnexpectedError(self._key, error))

    async def _catch_up(self, lanes: list[Branch]) -> None:
        """Let losers ask for what former legs journaled of them: it may have to be undone."""
        session = self._session
        if self._outer is not None:
            await self._outer.go_on()
        for lane in lanes:
            lane.lose()
        await self._until(
            lambda: not any(lane.behind or session.replay.due_in(lane.prefix) for lane in lanes)
        )

    async def _until(self, caught_up: Callable[[], bool]) -> None:
        session = self._session
        await session.quiet(until=lambda: session.exit is not None or caught_up(), idle=False)

    async def _beat(self, lanes: list[Branch], tasks: list[asyncio.Task[Any]]) -> None:
        """Cancel the losers and await them: their steps that are cut off are not journaled."""
        for lane in lanes:
            self._session.losing.update(lane.asked)
        for task in tasks:
            task.cancel()
        await _tasks.finish(tasks)

    async def _decide(self, name: str, losers: list[Branch]) -> None:
        if self._session.exit is not None:
            await self._session.leave()
        await self._cut_children(losers)
        race = Race(name, *_traces(self._session, losers))
        await self._session.keep(Entry(self._key, RACE, msgspec.Raw(encode(race))))

    async def _cut_children(self, losers: list[Branch]) -> None:
        """Journal that children of losers were cut off: nobody waits for them, but they may be undone."""
        session = self._session
        for key in dict.fromkeys(key for lane in losers for key in lane.asked):
            if key in session.journal.children and key not in session.replay.entries:
                await session.keep(Entry(key, CUT, CUT_OFF))

    # --- a race that was decided ------------------------------------------------------------

    async def _again(self, entry: Entry) -> Winner[Any]:
        """Give the winner again. What the losers completed is replayed too: it may have to be undone."""
        session, replay = self._session, self._session.replay
        if entry.kind == CUT:
            await self._cut_again()
        race = self._read(entry)
        self._lanes[race.winner].over = True
        left = [key for key in race.keys if key in replay.due]
        losers = [name for name in self._branches if name != race.winner] if left else []
        for name in losers:
            self._lanes[name].lose()
        tasks = self._start(losers)
        try:
            value = await self._won(race.winner)
            lanes = [self._lanes[name] for name in losers]
            await self._until(
                lambda: (
                    not any(key in replay.due for key in left) and not any(lane.behind for lane in lanes)
                )
            )
        finally:
            await _end(tasks.values())
        for key in left:
            replay.drop(key)
        replay.ask(self._key)
        if replay.early:
            await session.hold(self._key)
        session.journal.tell("step.replayed", self._key)
        return Winner(race.winner, value)

    async def _cut_again(self) -> None:
        """Stay at a race that was cut off when it was decided. What its branches completed is replayed."""
        self._session.replay.ask(self._key)
        for lane in self._lanes.values():
            lane.lose()
        tasks = self._start(self._branches)
        try:
            await self._session.cut_again()
        finally:
            await _end(tasks.values())

    def _read(self, entry: Entry) -> Race:
        if entry.kind != RACE:
            raise Misfit("$", f"the entry is a {entry.kind_name}, which no race gives")
        try:
            race = race_of(entry)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise misfit_of(error) from error
        if race.winner not in self._branches:
            raise Misfit("$", f"the race was won by {race.winner!r}, which the code no longer has")
        return race

    async def _won(self, name: str) -> Any:
        try:
            return await self._branch(name)
        except Exception as error:  # noqa: BLE001  whatever code of a branch raises ends the run
            await self._session.stop(UnexpectedError(self._key, error))


def _raised(task: asyncio.Task[Any]) -> BaseException | None:
    if not task.done():
        return None
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what is not done and wait for it."""
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    await _tasks.finish(left)
    for task in tasks:
        _raised(task)  # asking keeps asyncio from reporting it


def _traces(session: Session, lanes: list[Branch]) -> tuple[list[str], list[str]]:
    """Give the keys of which the state knows something, and the hooks, that nobody asks for any more."""
    replay, underway = session.replay, session.journal.underway
    prefixes = tuple(lane.prefix for lane in lanes)
    waiting = {key: hook for key, hook in session.waiting.items() if key.startswith(prefixes)}
    left = [key for prefix in prefixes for key in replay.left_in(prefix)] if replay.due else []
    for key in left:
        replay.drop(key)
    asked = dict.fromkeys([*(key for lane in lanes for key in lane.asked), *left, *waiting])
    keys = [key for key in asked if key in replay.entries or key in underway]
    created = [e.hook_id for e in map(replay.entries.get, keys) if e is not None and e.kind == HOOK]
    waited = [hook_id for lane in lanes for hook_id in lane.waited]
    for hook in waiting.values():
        waited += [] if hook is None else [hook.hook_id, *hook.race]
    return keys, _closing(session, asked, created, waited)


def _closing(
    session: Session, keys: Collection[str], created: list[str | None], waited: list[str]
) -> list[str]:
    """Give the hooks to close. One for many deliveries, made outside, may be waited for again."""
    closing: list[str] = []
    hooks = session.journal.hooks
    for hook_id in dict.fromkeys([*created, *waited]):
        hook = hooks.get(hook_id or "")
        if hook is None or (hook.step_key is not None and hook.step_key not in keys):
            continue  # closed already, or waited for by somebody else
        if hook.many and hook_id not in created:
            hooks[hook.hook_id] = unpark(hook)
        else:
            closing.append(hook.hook_id)
    return closing


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and bool(given) and "/" not in given
