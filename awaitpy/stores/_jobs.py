"""The writes that share a round trip or a transaction with others, as values."""

from __future__ import annotations

import secrets
from typing import Final, TypeAlias

import attrs

from awaitpy.durable._store import Head, HookTaken, Lease, LeaseLost, Line, StoreError

DOUBTS = 1_000


def _mark() -> int:
    return secrets.randbits(63)


@attrs.define(eq=False, kw_only=True)
class Create:
    """Add a run. `metadata` is JSON."""

    run_id: str
    head: Head
    metadata: bytes
    now: float
    lease: tuple[str, float] | None = None
    mark: int = attrs.field(factory=_mark)
    again: bool = False

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that it makes known."""
        return self.head.hooks


@attrs.define(eq=False, kw_only=True)
class Append:
    """Add lines to the journal of a leased run."""

    lease: Lease
    lines: tuple[Line, ...]
    mark: int = attrs.field(factory=_mark)
    again: bool = False

    @property
    def run_id(self) -> str:
        """The run that it writes."""
        return self.lease.run_id

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that it makes known."""
        return hooks_of(self.lines)


@attrs.define(eq=False, kw_only=True)
class Save:
    """Replace the head of a run."""

    run_id: str
    head: Head
    revision: int
    now: float
    lease: Lease | None = None
    release: bool = False
    mark: int = attrs.field(factory=_mark)
    again: bool = False

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that it makes known."""
        return self.head.hooks


@attrs.define(eq=False, kw_only=True)
class Rewrite:
    """Replace the head and the journal of a run that nobody has leased."""

    run_id: str
    head: Head
    lines: tuple[Line, ...]
    revision: int
    now: float
    mark: int = attrs.field(factory=_mark)
    again: bool = False

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hooks that it makes known."""
        return (*self.head.hooks, *hooks_of(self.lines))


@attrs.define(eq=False, kw_only=True)
class Hold:
    """Make a lease last until then, or end it."""

    lease: Lease
    until: float | None
    mark: int = 0
    again: bool = False

    @property
    def run_id(self) -> str:
        """The run that it writes."""
        return self.lease.run_id

    @property
    def hooks(self) -> tuple[str, ...]:
        """None."""
        return ()


Job: TypeAlias = Create | Append | Save | Rewrite | Hold
"""`mark` tells one write from all others, so that one whose outcome is unknown (then `again` is set) is
not done twice."""

Answer: TypeAlias = Lease | bool | LeaseLost | HookTaken | StoreError
"""What became of a job. An append that worked is True, and so is a hold of a lease that is not lost."""


class Doubts:
    """The appends that failed and may have been written all the same, for when they are asked for again."""

    def __init__(self) -> None:
        self._marks: Final[dict[tuple[str, int, tuple[Line, ...]], int]] = {}

    def append(self, lease: Lease, lines: tuple[Line, ...]) -> Append:
        """Give the job for these lines: that of the failed append, if it was the same."""
        mark = self._marks.pop((lease.run_id, lease.token, lines), None)
        if mark is None:
            return Append(lease=lease, lines=lines)
        return Append(lease=lease, lines=lines, mark=mark, again=True)

    def keep(self, job: Append) -> None:
        """Remember a job that failed; the oldest is forgotten where there are many."""
        self._marks[job.run_id, job.lease.token, job.lines] = job.mark
        if len(self._marks) > DOUBTS:
            del self._marks[next(iter(self._marks))]


def hooks_of(lines: tuple[Line, ...]) -> tuple[str, ...]:
    """Give the hooks that lines make known."""
    return tuple(line.hook_id for line in lines if line.hook_id is not None)
