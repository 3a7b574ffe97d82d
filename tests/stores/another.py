"""Another process that uses a store: `python another.py KIND URL NAME WHAT ARGUMENT`."""

from __future__ import annotations

import asyncio
import sys

from awaitpy.durable import Head
from awaitpy.stores import PostgresStore, RedisStore


async def claim(store, owner):
    """Print what it claims, one at a time, until nothing is left."""
    while leases := await store.claim(owner, now=2.0, until=99.0):
        print(leases[0].run_id, flush=True)


async def create(store, run_id):
    head = Head(workflow="order", version=1, status="queued", state=b"", due=1.0)
    print(await store.create(run_id, head, metadata={}, now=1.0))


async def main(kind, url, name, what, argument):
    options = {"schema": name} if kind == "postgres" else {"prefix": name}
    store = (PostgresStore if kind == "postgres" else RedisStore)(url, **options)
    await store.open()
    await {"claim": claim, "create": create}[what](store, argument)
    await store.close()


asyncio.run(main(*sys.argv[1:]))
