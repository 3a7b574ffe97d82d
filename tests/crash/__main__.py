"""The long version of these tests, by `nox -s soak`: `python -m tests.crash [SEED]`. It takes minutes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from tests.stores.servers import Postgres, Redis

RACES = "2x60,4x30,8x20,16x10,32x8,64x7"
"""1,264 injections with the same value and as many with different ones, in each of four stores: 10,112."""
RUNS = 1_000


def run(module, *words):
    began = time.monotonic()
    print(">", module, *words, flush=True)
    subprocess.run([sys.executable, "-m", f"tests.crash.{module}", *map(str, words)], check=True)
    print(f"  {time.monotonic() - began:.1f} s", flush=True)


def main(seed="1"):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="awaitpy-")))
        postgres, redis = stack.enter_context(Postgres()), stack.enter_context(Redis())

        def empty():
            made = folder / uuid.uuid4().hex
            made.mkdir()
            return made

        def stores(made):
            yield "sqlite", made / "runs.db"
            yield "postgres", postgres.url, made.name
            yield "redis", redis.url, made.name

        for how in ("kill", "stop"):
            for place in stores(empty()):
                run("sharing", empty(), RUNS, how, *place)
        for place in (("memory",), *stores(empty())):
            run("racing", empty(), RACES, *place)
    run("soak", "--kills", 2_000, "--store", "sqlite", "--seed", seed)
    run("soak", "--kills", 500, "--store", "postgres", "--seed", seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
