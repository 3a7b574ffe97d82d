"""Decisions of a replay: what an asked key means, given what the state has. No effect, no event loop."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from awaitpy import errors
from awaitpy._wire import CUT, UNDOING, Entry
from awaitpy.errors import DuplicateStepKey

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from awaitpy._state import ResumeState


class Replay:
    """The journal of one run, as the run asks for it: what is there, what is still due, what is new.

    `due` holds the entries that this run has not asked for. All it does per asked key takes constant
    time, however long the journal is.
    """

    __slots__ = (
        "_counts",
        "_due",
        "_exempt",
        "_keys",
        "_known",
        "_looked",
        "_paced",
        "_passed",
        "_positions",
        "_seen",
        "_turn",
        "early",
        "entries",
        "noted",
        "order",
        "turn",
        "unpaced",
        "version",
    )

    def __init__(self, state: ResumeState, retired: Collection[str], *, undoing: bool = False) -> None:
        self.entries = dict(state.entries)
        self._known = len(self.entries)
        self.version = state.version if state.begun is None else state.begun
        self._keys = list(self.entries)
        if undoing or state.undoing:
            self._keys = [k for k in self._keys if k.startswith(UNDOING) == undoing and k != UNDOING]
        if retired:
            self._keys = [k for k in self._keys if k not in retired]
        # While all is asked for in the order of the journal, only `turn` and `order` move: what they have
        # passed since `_seen` is put into `noted`, and taken out of `due`, when somebody looks.
        self.order = iter(self._keys)
        self.turn = next(self.order, None)
        self.noted: set[str] = set()
        self._due: dict[str, Entry] | None = None
        self._seen = 0
        self._looked: str | None = self.turn
        # From the first key on that was asked for before its turn.
        self._paced = False
        self._turn: str | None = None
        self._passed: set[str] = set()
        # Keys that may be given before their turn: nobody sees which of them was first.
        self.unpaced: set[str] = set()
        self.early = False
        self._positions: dict[str, int] = {}
        self._exempt = set(state.forgotten)
        self._counts: Counter[str] | None = None

    @property
    def asked(self) -> set[str]:
        """The keys that were asked for. Read-only."""
        self._look()
        return self.noted

    @property
    def due(self) -> dict[str, Entry]:
        """The entries that were not asked for, in the order of the journal. Read-only."""
        self._look()
        if self._due is None:
            self._due = {key: self.entries[key] for key in self._keys[self._seen :]}
        return self._due

    @property
    def next_turn(self) -> str | None:
        """The key whose turn it is."""
        return self._turn if self._paced else self.turn

    def _look(self) -> None:
        """Note what was given in its turn since the last look."""
        if self.turn is self._looked:
            return
        start, turn = self._seen, self.turn
        self._looked = turn
        self._seen = len(self._keys) if turn is None else self._keys.index(turn, start)
        passed = self._keys[start : self._seen]
        self.noted.update(passed)
        if self._due is not None:
            for key in passed:
                self._take_out(key)

    def _take_out(self, key: str) -> None:
        """Take an entry that is due as asked for."""
        del self.due[key]
        if self._counts is not None:
            self._counts.subtract(_prefixes(key))

    def ask(self, key: str) -> Entry | None:
        """Give the entry of this key, None when the step is new. Raises `DuplicateStepKey`.

        `early` then says whether entries that were journaled before it were not asked for yet.
        """
        if key in self.asked:
            raise DuplicateStepKey(key)
        self.early = False
        entry = self.entries.get(key)
        if key == self.next_turn:
            self._pass_turn(key)
            return entry
        self.noted.add(key)
        if entry is not None and key in self.due:
            self._pass_out_of_turn(key)
        return entry

    def _pass_turn(self, key: str) -> None:
        if not self._paced:
            self.turn = next(self.order, None)
            return
        self.noted.add(key)
        self._take_out(key)
        self._turn = next(self.order, None)
        self._skip_passed()

    def _pass_out_of_turn(self, key: str) -> None:
        if not self._paced:
            self._paced, self._turn = True, self.turn
            self.turn = self._looked = None
        self._take_out(key)
        self.early = key not in self.unpaced
        if not self.early:
            self.pass_early(key)

    def _skip_passed(self) -> None:
        while self._turn in self._passed:
            self._turn = next(self.order, None)

    def pass_early(self, key: str) -> None:
        """Let a step that was asked for before its turn go on."""
        self._passed.add(key)
        if key == self._turn:
            self._skip_passed()

    def drop(self, key: str) -> None:
        """Take out an entry that nobody asks for any more."""
        if key in self.due:
            self.ask(key)
            self.pass_early(key)

    def skip_to(self, key: str) -> None:
        """Make it the turn of this key: those before it come no more, or later than their turn."""
        while self._turn is not None and self._turn != key:
            self._turn = next(self.order, None)

    def position(self, key: str) -> int:
        """Give the place of an entry in the journal."""
        if not self._positions:
            self._positions = {key: i for i, key in enumerate(self.entries)}
        return self._positions[key]

    def may_run(self, key: str, since: int | None) -> bool:
        """Whether a new step may run before all that is due was asked: forgotten, or declared new."""
        return key in self._exempt or (since is not None and since > self.version)

    def due_in(self, prefix: str) -> bool:
        """Whether entries of this scope (all, for the empty prefix) are due. Cut steps don't count."""
        if prefix and self._count(prefix) == 0:
            return False
        return any(e.kind != CUT and e.key.startswith(prefix) for e in self.due.values())

    def left_in(self, prefix: str) -> list[str]:
        """Give the keys of a scope that are due, cut steps too."""
        return [key for key in self.due if key.startswith(prefix)] if self._count(prefix) else []

    def _count(self, prefix: str) -> int:
        if self._counts is None:
            self._counts = Counter(p for key in self.due for p in _prefixes(key))
        return self._counts[prefix]

    def add(self, entry: Entry) -> None:
        """Journal a new entry. The names of forgotten steps end with their new result."""
        self.entries[entry.key] = entry
        if self._exempt:
            self._exempt.discard(entry.key)

    @property
    def forgotten(self) -> tuple[str, ...]:
        """The forgotten steps that have not run again yet."""
        return tuple(sorted(self._exempt)) if self._exempt else ()

    @property
    def new(self) -> int:
        """How many entries this run has added."""
        return len(self.entries) - self._known

    def drift(self, asked: str | None, prefix: str = "") -> errors.WorkflowDrift:
        """Describe what is due and was not asked for, and which of it `asked` looks like."""
        due = [e.key for e in self.due.values() if e.kind != CUT and e.key.startswith(prefix)]
        return drifted(asked, due)


def drifted(asked: str | None, due: Sequence[str]) -> errors.WorkflowDrift:
    """Describe journaled keys that were not asked for, and which of them `asked` looks like."""
    # Only a run that ends needs difflib: importing it would cost every program that starts.
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(asked, due, n=1) if asked is not None else []
    return errors.WorkflowDrift(asked, due[0], tuple(due), near[0] if near else None)


def _prefixes(key: str) -> list[str]:
    return [key[: i + 1] for i, char in enumerate(key) if char == "/"]
