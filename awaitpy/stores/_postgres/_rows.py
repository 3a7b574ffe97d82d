"""From rows to runs, and from a query to conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from awaitpy.durable._store import Head, Lease, Query, StoredRun
from awaitpy.stores import _metadata


def stored_run(row: Sequence[Any]) -> StoredRun:
    """A run from its columns, in the order of `RUN`, and its lines if they follow."""
    run_id, revision, workflow, version, status, state, settled, due, tries, trouble, *rest = row
    metadata, created, updated, owner, token, until, *lines = rest
    return StoredRun(
        run_id=run_id,
        revision=revision,
        head=Head(
            workflow=workflow,
            version=version,
            status=status,
            state=state,
            settled=settled,
            due=due,
            tries=tries,
            trouble=trouble,
        ),
        metadata=_metadata.decode(metadata),
        created=created,
        updated=updated,
        lease=None if owner is None else Lease(run_id, owner, token, until),
        lines=tuple(lines[0]) if lines else (),
    )


def conditions(query: Query) -> tuple[list[LiteralString], dict[str, object]]:
    """What a run has to fulfil, and the values in it. Only what is asked for, so that an index helps."""
    parts: list[LiteralString] = []
    values: dict[str, object] = {"limit": query.limit}
    if query.workflow is not None:
        parts.append("run.workflow = %(workflow)s")
        values["workflow"] = query.workflow
    if query.status is not None:
        parts.append("run.status = %(status)s")
        values["status"] = query.status
    if query.metadata:
        parts.append("run.items @> %(items)s::text[]")
        values["items"] = digests(query.metadata)
    if query.after is not None:
        parts.append("(run.created, run.run_id) < (%(created)s::float8, %(run_id)s)")
        values |= {"created": query.after.created, "run_id": query.after.run_id}
    return parts, values


def digests(metadata: bytes | Mapping[str, Any]) -> list[str]:
    """What metadata is searched by: a digest of each item, since an index admits no long ones."""
    items = _metadata.decode(metadata) if isinstance(metadata, bytes) else metadata
    return [_digest(_metadata.encode({name: value})) for name, value in items.items()]


def _digest(item: bytes) -> str:
    return hashlib.blake2b(item, digest_size=16).hexdigest()
