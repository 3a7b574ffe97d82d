"""Group commit: what many tasks write at the same moment goes to the store together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol, TypeAlias

from awaitpy.stores._jobs import Answer, Job

_Waiting: TypeAlias = tuple[Job, "asyncio.Future[Answer]"]


class Write(Protocol):
    """Writes jobs in this order; None is the answer to one that has to be written `alone`."""

    def __call__(self, jobs: list[Job], *, alone: bool) -> Coroutine[Any, Any, Sequence[Answer | None]]: ...


class GroupWriter:
    """Writes jobs of any number of tasks, one group after the other; those of one run in their order.

    While a group is being written the next one gathers, so that a group is as large as the store is
    slow. A job that can't go with the others, since somebody else holds its run, goes alone and keeps
    only the jobs of its own run waiting.
    """

    def __init__(self, write: Write, *, limit: int = 500) -> None:
        self._write, self._limit = write, limit
        self._queue: Final[deque[_Waiting]] = deque()
        self._aside: Final[dict[str, deque[_Waiting]]] = {}
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._writing = False

    async def do(self, job: Job) -> Answer:
        """Write a job and give what became of it. It is written also if the caller is cancelled."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue.append((job, done))
        if not self._writing:
            self._writing = True
            self._start(self._write_groups())
        answer = await done
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def finish(self) -> None:
        """Return when all that was asked for is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_groups(self) -> None:
        while self._queue:
            if group := self._next_group():
                answers = await self._answers([job for job, _ in group], alone=False)
                for waiting, answer in zip(group, answers, strict=True):
                    self._settle(waiting, answer)
        self._writing = False

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        while self._queue and len(group) < self._limit:
            waiting = self._queue.popleft()
            self._aside.get(waiting[0].run_id, group).append(waiting)
        return group

    def _settle(self, waiting: _Waiting, answer: Answer | None) -> None:
        if answer is not None:
            _tell(waiting, answer)
        elif waiting[0].run_id in self._aside:
            self._aside[waiting[0].run_id].append(waiting)
        else:
            self._aside[waiting[0].run_id] = deque([waiting])
            self._start(self._write_aside(waiting[0].run_id))

    async def _write_aside(self, run_id: str) -> None:
        jobs = self._aside[run_id]
        while jobs:
            waiting = jobs.popleft()
            (answer,) = await self._answers([waiting[0]], alone=True)
            _tell(waiting, answer)
        del self._aside[run_id]

    async def _answers(self, jobs: list[Job], *, alone: bool) -> Sequence[Any]:
        """What became of jobs: an error that was raised is the answer to each, since somebody waits."""
        try:
            return await self._write(jobs, alone=alone)
        except Exception as error:  # noqa: BLE001  whoever asked is told, and the next group is written
            return [error] * len(jobs)


def _tell(waiting: _Waiting, answer: Answer) -> None:
    if not waiting[1].done():
        waiting[1].set_result(answer)
