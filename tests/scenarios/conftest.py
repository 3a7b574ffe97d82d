"""What the scenarios of racing deliveries share: a table of the user's own, with compare-and-set."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from awaitpy import (
    HookAnswer,
    HookError,
    ResumeState,
    Runner,
    answer,
    append_entries,
    inject_hook,
)

SCHEMA = "CREATE TABLE runs (id TEXT PRIMARY KEY, revision INTEGER, busy INTEGER, state BLOB)"
SAVE = "UPDATE runs SET revision = ?, state = ?, busy = busy AND ? WHERE id = ? AND revision = ?"
CLAIM = "UPDATE runs SET busy = 1 WHERE id = ? AND NOT busy"


class Runs:
    """Runs of one workflow in a SQLite file; every method may be called in any thread or process.

    A delivery is saved by compare-and-set before anybody acts on it. Whoever claims the run then
    resumes it until no delivery is left over.
    """

    def __init__(self, path):
        self.path = path
        self._execute(SCHEMA)

    def _execute(self, sql, *args):
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            cursor = db.execute(sql, args)
            return cursor.rowcount, cursor.fetchall()

    def add(self, state):
        self._execute("INSERT INTO runs VALUES (?, ?, 0, ?)", state.run_id, *_columns(state))

    def load(self, run_id):
        _, [(data,)] = self._execute("SELECT state FROM runs WHERE id = ?", run_id)
        return ResumeState.from_bytes(data)

    def save(self, old, new, *, busy=True):
        """Whether the run was still at `old`; with `busy=False` the claim on it ends too."""
        changed, _ = self._execute(SAVE, *_columns(new), busy, old.run_id, old.revision)
        return changed == 1

    def deliver(self, workflow, run_id, hook_id, value, delivery_id=None):
        """What a route does with a delivery, and what it answers."""
        while True:
            old = self.load(run_id)
            try:
                new = inject_hook(old, hook_id, value, delivery_id=delivery_id)
            except HookError as refused:
                return answer(refused)
            if new == old:
                return HookAnswer.duplicate()
            if self.save(old, new):
                break
        claimed, _ = self._execute(CLAIM, run_id)
        return self._go_on(workflow, run_id) if claimed else HookAnswer(202, "taken")

    def _go_on(self, workflow, run_id):
        entries = []
        runner = Runner(checkpoint=entries.append)
        while True:
            state = self.load(run_id)
            outcome = asyncio.run(runner.resume(workflow, append_entries(state, *entries)))
            if self.save(state, outcome.state, busy=False):
                return answer(outcome)


def _columns(state):
    return state.revision, state.to_bytes()


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path / "shop.db")


@pytest.fixture
def at_once():
    """Calls all functions at the same moment, each in a thread, and gives what they gave."""

    def call(functions):
        gate = threading.Barrier(len(functions))

        def enter(function):
            gate.wait(timeout=30)
            return function()

        with ThreadPoolExecutor(len(functions)) as pool:
            return list(pool.map(enter, functions))

    return call
