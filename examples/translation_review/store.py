"""The desk's own tables, in SQLite: the runs, and what the steps of the workflow write down.

Each call is one short statement on a local file, so none is worth a thread.
"""

# ruff: noqa: D102  # the names of an example are its documentation, those of methods too

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import attrs

from awaitpy import Event, ResumeState
from examples.translation_review.translator import Draft
from examples.translation_review.workflow import Verdict, hook_url_of

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    review_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, state BLOB NOT NULL,
    wake_at REAL, hook_url TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS texts (
    review_id TEXT PRIMARY KEY, text TEXT NOT NULL, language TEXT NOT NULL);
-- By hook: a process that was given up for dead, and comes back, has a hook of its own.
CREATE TABLE IF NOT EXISTS drafts (
    hook_url TEXT PRIMARY KEY, text TEXT NOT NULL, unknown TEXT NOT NULL);
-- Without a key: a step that ran twice would be here twice.
CREATE TABLE IF NOT EXISTS published (review_id TEXT, text TEXT, decision TEXT);
CREATE TABLE IF NOT EXISTS sent_back (review_id TEXT, note TEXT);
CREATE TABLE IF NOT EXISTS activity (review_id TEXT, event TEXT, step TEXT, pid INTEGER, at TEXT);
"""


@attrs.frozen
class Run:
    """A row of `runs`: a state, when somebody has to look after it, and the hook that it came to."""

    review_id: str
    state: ResumeState
    wake_at: float | None
    hook_url: str | None = None


@attrs.frozen
class Review:
    """What the steps have stored so far, for people to see."""

    text: str
    language: str
    draft: Draft | None


@attrs.frozen
class Activity:
    event: str
    step: str
    pid: int
    at: datetime


class Store:
    """One connection to the file, which several processes may have open at a time."""

    def __init__(self, path: str | Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.executescript(_TABLES)

    def close(self) -> None:
        self._database.close()

    # --- the runs ---------------------------------------------------------------------------------

    def insert(self, review_id: str, state: ResumeState, wake_at: float) -> None:
        row = (review_id, state.revision, state.to_bytes(), wake_at)
        self._database.execute("INSERT INTO runs VALUES (?, ?, ?, ?, NULL)", row)

    def load(self, review_id: str) -> Run | None:
        return self._run("WHERE review_id = ?", review_id)

    def waiting_at(self, hook_url: str) -> Run | None:
        return self._run("WHERE hook_url = ?", hook_url)

    def latest(self, most: int = 8) -> list[Run]:
        return self._runs("ORDER BY rowid DESC LIMIT ?", most)

    def due(self, now: float) -> list[Run]:
        return self._runs("WHERE wake_at <= ?", now)

    def replace(self, old: Run, state: ResumeState, wake_at: float | None) -> Run | None:
        """The row as it is now; None if it was no more as it had been read, and so was left alone."""
        hook_url = next((hook_url_of(waiting.hook_id) for waiting in state.pending), old.hook_url)
        now = (state.revision, state.to_bytes(), wake_at, hook_url)
        changed = self._database.execute(
            "UPDATE runs SET revision = ?, state = ?, wake_at = ?, hook_url = ?"
            " WHERE review_id = ? AND revision = ? AND wake_at IS ?",
            (*now, old.review_id, old.state.revision, old.wake_at),
        )
        return Run(old.review_id, state, wake_at, hook_url) if changed.rowcount == 1 else None

    def _run(self, which: str, value: str) -> Run | None:
        return next(iter(self._runs(which, value)), None)

    def _runs(self, which: str, value: float | str) -> list[Run]:
        query = f"SELECT review_id, state, wake_at, hook_url FROM runs {which}"  # noqa: S608  # from above
        rows = self._database.execute(query, (value,)).fetchall()
        return [Run(review_id, ResumeState.from_bytes(state), *rest) for review_id, state, *rest in rows]

    # --- what the steps of the workflow write down ------------------------------------------------

    def store_text(self, review_id: str, text: str, language: str) -> None:
        row = (review_id, text, language)
        self._database.execute("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", row)

    def store_draft(self, hook_url: str, draft: Draft) -> None:
        row = (hook_url, draft.text, json.dumps(draft.unknown))
        self._database.execute("INSERT OR REPLACE INTO drafts VALUES (?, ?, ?)", row)

    def publish(self, review_id: str, text: str, verdict: Verdict) -> None:
        row = (review_id, text, verdict.decision)
        self._database.execute("INSERT INTO published VALUES (?, ?, ?)", row)

    def send_back(self, review_id: str, verdict: Verdict) -> None:
        self._database.execute("INSERT INTO sent_back VALUES (?, ?)", (review_id, verdict.note))

    def review(self, run: Run) -> Review | None:
        found = self._database.execute(
            "SELECT text, language FROM texts WHERE review_id = ?", (run.review_id,)
        ).fetchone()
        return None if found is None else Review(found[0], found[1], self._draft(run.hook_url))

    def _draft(self, hook_url: str | None) -> Draft | None:
        found = self._database.execute(
            "SELECT text, unknown FROM drafts WHERE hook_url = ?", (hook_url,)
        ).fetchone()
        return None if found is None else Draft(found[0], tuple(json.loads(found[1])))

    # --- what happened, as the runner told it -----------------------------------------------------

    def note(self, review_id: str, event: Event) -> None:
        row = (review_id, event.name, event.key, os.getpid(), datetime.now(UTC).isoformat())
        self._database.execute("INSERT INTO activity VALUES (?, ?, ?, ?, ?)", row)

    def activity(self, review_id: str) -> list[Activity]:
        rows = self._database.execute(
            "SELECT event, step, pid, at FROM activity WHERE review_id = ? ORDER BY rowid", (review_id,)
        )
        return [Activity(event, step, pid, datetime.fromisoformat(at)) for event, step, pid, at in rows]
