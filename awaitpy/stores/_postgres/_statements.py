"""Every statement that the store executes, but for those that make its tables."""

from __future__ import annotations

from typing import Final, LiteralString

from psycopg import sql

MAX_NAME = 63
RUN: Final[LiteralString] = """
    run.run_id, run.revision, run.workflow, run.version, run.status, run.state, run.settled, run.due,
    run.tries, run.trouble, run.metadata, run.created, run.updated, run.owner, run.token, run.until
"""
# A run is free if nobody has its lease, or if it ran out.
FREE: Final[LiteralString] = "(run.owner IS NULL OR run.until <= %(now)s::float8)"
OF_WORKFLOWS: Final[LiteralString] = """
(%(workflows)s::text[] IS NULL OR run.workflow = ANY(%(workflows)s::text[]))
"""
LEASE: Final[LiteralString] = """
UPDATE {s}.runs AS run
SET owner = %(owner)s::text, token = DEFAULT, until = %(until)s::float8, claimed = %(mark)s::bigint
FROM free WHERE run.run_id = free.run_id
RETURNING run.run_id, run.token, run.due
"""

GUARD: Final[LiteralString] = """
SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)
"""

STATEMENTS: Final[dict[str, LiteralString]] = {
    # A run and its lines from one snapshot, so that the head and the journal belong together.
    "load": """
SELECT {run}, ARRAY(
    SELECT line.data FROM {s}.lines AS line
    WHERE line.run_id = run.run_id AND line.seq >= CASE WHEN %(tail)s THEN run.settled ELSE 0 END
    ORDER BY line.seq
)
FROM {s}.runs AS run WHERE run.run_id = %(run_id)s
""",
    "find": "SELECT run_id FROM {s}.hooks WHERE hook_id = %s",
    "next_due": """
SELECT min(due) FROM (
    (
        SELECT run.due FROM {s}.runs AS run
        WHERE run.due IS NOT NULL AND run.owner IS NULL AND {of_workflows} ORDER BY run.due LIMIT 1
    ) UNION ALL (
        SELECT min(greatest(run.due, run.until)) FROM {s}.runs AS run
        WHERE run.due IS NOT NULL AND run.owner IS NOT NULL AND {of_workflows}
    )
) AS soonest
""",
    "claim_due": """
WITH free AS (
    SELECT run.run_id FROM {s}.runs AS run
    WHERE run.due <= %(now)s::float8 AND {free} AND {of_workflows}
    ORDER BY run.due LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
) {lease}""",
    # It waits for who has just this run in a transaction: that is no lease.
    "claim_one": """
WITH free AS (
    SELECT run.run_id FROM {s}.runs AS run WHERE run.run_id = %(run_id)s AND {free} FOR NO KEY UPDATE
) {lease}""",
    "claimed": """
SELECT run_id, token, due FROM {s}.runs WHERE owner = %(owner)s AND claimed = %(mark)s::bigint
""",
    # In the order of their ids, so that two who lock the same runs don't lock each other out.
    "lock": """
SELECT run.run_id, run.revision, run.owner, run.token, run.until, run.mark, run.due, (
    SELECT coalesce(max(line.seq) + 1, 0) FROM {s}.lines AS line WHERE line.run_id = run.run_id
)
FROM {s}.runs AS run WHERE run.run_id = ANY(%b::text[]) ORDER BY run.run_id FOR NO KEY UPDATE OF run
""",
    "present": "SELECT run_id FROM {s}.runs WHERE run_id = ANY(%s::text[])",
    "known": "SELECT hook_id, run_id FROM {s}.hooks WHERE hook_id = ANY(%s::text[])",
    "marks": """
SELECT run_id, mark FROM {s}.lines WHERE run_id = ANY(%s::text[]) AND mark = ANY(%s::bigint[])
""",
    "create": """
INSERT INTO {s}.runs (
    run_id, revision, workflow, version, status, state, settled, due, tries, trouble, metadata, items,
    created, updated, owner, until, mark
) VALUES (
    %(run_id)s, 1, %(workflow)s, %(version)s, %(status)s, %(state)s, %(settled)s, %(due)s, %(tries)s,
    %(trouble)s, %(metadata)s, %(items)s::text[], %(now)s, %(now)s, %(owner)s, %(until)s, %(mark)s
)
ON CONFLICT (run_id) DO NOTHING RETURNING run_id, token
""",
    "know": """
INSERT INTO {s}.hooks (hook_id, run_id) SELECT * FROM unnest(%s::text[], %s::text[])
ON CONFLICT (hook_id) DO NOTHING RETURNING hook_id
""",
    # Binary, as the arrays that each group has: psycopg writes texts in arrays by regular expressions.
    "add": """
INSERT INTO {s}.lines (run_id, seq, data, mark)
SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bytea[], %b::bigint[])
""",
    # One append by itself, in one round trip: nothing where the group would have more to say. It looks
    # for its own mark, since a pooler may hand it on when its sender has given it up and done it again.
    "append": """
WITH run AS (
    SELECT held.run_id, (
        SELECT coalesce(max(line.seq), -1) FROM {s}.lines AS line WHERE line.run_id = held.run_id
    ) AS seq
    FROM {s}.runs AS held
    WHERE held.run_id = %(run_id)s AND held.token = %(token)s AND held.owner = %(owner)s
    FOR NO KEY UPDATE OF held SKIP LOCKED
)
INSERT INTO {s}.lines (run_id, seq, data, mark)
SELECT run.run_id, run.seq + new.number, new.data, %(mark)s
FROM run, unnest(%(data)s::bytea[]) WITH ORDINALITY AS new (data, number)
WHERE %(mark)s NOT IN (
    SELECT line.mark FROM {s}.lines AS line WHERE line.run_id = %(run_id)s ORDER BY line.seq DESC LIMIT 32
)
""",
    "save": """
UPDATE {s}.runs AS run
SET revision = new.revision, workflow = new.workflow, version = new.version, status = new.status,
    state = new.state, settled = new.settled, due = new.due, tries = new.tries, trouble = new.trouble,
    updated = new.updated, owner = new.owner, until = new.until, mark = new.mark
FROM unnest(
    %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[],
    %s::float8[], %s::bigint[], %s::text[], %s::float8[], %s::text[], %s::float8[], %s::bigint[]
) AS new (
    run_id, revision, workflow, version, status, state, settled, due, tries, trouble, updated, owner,
    until, mark
)
WHERE run.run_id = new.run_id
""",
    "hold": """
UPDATE {s}.runs AS run SET owner = new.owner, until = new.until
FROM unnest(%s::text[], %s::text[], %s::float8[]) AS new (run_id, owner, until)
WHERE run.run_id = new.run_id
""",
    "erase": "DELETE FROM {s}.lines WHERE run_id = ANY(%s::text[])",
    "forget": "DELETE FROM {s}.hooks WHERE run_id = ANY(%s::text[])",
    "delete": "DELETE FROM {s}.runs WHERE run_id = ANY(%s::text[]) RETURNING run_id",
    "purge": """
DELETE FROM {s}.runs WHERE run_id IN (
    SELECT run_id FROM {s}.runs WHERE status = ANY(%s::text[]) AND updated < %s::float8
    LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING run_id
""",
    "ring": "SELECT pg_notify(%s, '')",
}
PAGE: Final[LiteralString] = "SELECT {run} FROM {s}.runs AS run WHERE {where}"
NEWEST: Final[LiteralString] = " ORDER BY run.created DESC, run.run_id DESC LIMIT %(limit)s"


class Statements:
    """The statements for the tables in one schema."""

    def __init__(self, schema: str) -> None:
        self.schema = sql.Identifier(schema)
        self.channel: Final = f"awaitpy:{schema}"[:MAX_NAME]
        parts = {
            "s": self.schema,
            "run": sql.SQL(RUN),
            "free": sql.SQL(FREE),
            "of_workflows": sql.SQL(OF_WORKFLOWS),
            "lease": sql.SQL(LEASE).format(s=self.schema),
        }
        self._bytes = {
            name: sql.SQL(text).format(**parts).as_bytes(None) for name, text in STATEMENTS.items()
        }
        self._bytes["lock_free"] = self._bytes["lock"] + b" SKIP LOCKED"

    def __getitem__(self, name: str) -> bytes:
        return self._bytes[name]

    def page(self, conditions: list[LiteralString]) -> sql.Composed:
        """The statement that gives the newest runs under all these conditions."""
        where = sql.SQL(" AND ").join(map(sql.SQL, ["true", *conditions]))
        return sql.SQL(PAGE).format(s=self.schema, run=sql.SQL(RUN), where=where) + sql.SQL(NEWEST)
