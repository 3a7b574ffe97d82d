"""Brings a stored run to the version of today's code, before anything of it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from awaitpy._workflow import described
from awaitpy.durable import _heads as heads
from awaitpy.durable import _parts as parts
from awaitpy.errors import StateError

if TYPE_CHECKING:
    from awaitpy._state import ResumeState
    from awaitpy.durable._flows import Flows
    from awaitpy.durable._settings import Settings
    from awaitpy.durable._store import Lease, StoredRun


def migrated(flows: Flows, stored: StoredRun) -> ResumeState | None:
    """Give the state as the code of today wants it; None if it need not or can't be migrated.

    A run that can't be is left to its leg, which ends with the error that says why.
    """
    if stored.head.workflow not in flows.names:
        return None
    workflow = flows.of(stored.head.workflow)
    flow = described(workflow)
    if not flow.migrations or stored.head.version >= flow.version:
        return None
    from awaitpy import _migrations  # noqa: PLC0415  only workflows that have migrations pay for it

    try:
        state = _migrations.migrate(workflow, parts.join(stored))
    except (StateError, _migrations.MigrationFailed):
        return None
    return None if state.version == stored.head.version else state


async def rewritten(settings: Settings, lease: Lease, stored: StoredRun, state: ResumeState) -> None:
    """Keep the migrated state instead of the stored one, and let go of the run.

    If something came in between, nothing is written: whoever claims the run next migrates it.
    """
    await settings.ask(lambda: settings.store.release(lease))
    head = heads.rewritten(stored.head, state, stored.head.due)
    head = msgspec.structs.replace(head, version=state.version)
    lines, now = parts.lines(state), settings.now()
    await settings.ask(
        lambda: settings.store.rewrite(stored.run_id, head, lines, revision=stored.revision, now=now)
    )
