"""Drives the example: starts the shop, kills it while it waits, starts it anew, proves the outcome.

`python -m examples.payment_webhook`, from the root of the repository. Exits with 1 without proof.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from awaitpy import ResumeState
from examples.payment_webhook.timeline import FILE, note, read

PATIENCE = 30  # seconds for a server to come up
STEPS = ("create-order", "start-checkout", "fulfil")


def main() -> int:
    with TemporaryDirectory() as folder:
        shop, provider = free_port(), free_port()
        os.environ["SHOP_DATABASE"] = str(Path(folder, "shop.sqlite3"))
        os.environ["SHOP_URL"] = f"http://127.0.0.1:{shop}"
        os.environ["PROVIDER_URL"] = f"http://127.0.0.1:{provider}"
        os.environ[FILE] = str(Path(folder, "timeline.tsv"))
        note("driver", "starts the others")
        asyncio.run(drive(shop, provider))
        return report()


async def drive(shop: int, provider: int) -> None:
    async with httpx.AsyncClient(timeout=PATIENCE) as browser, server("provider", provider):
        async with server("app", shop) as first:
            order = await browser.post(f"http://127.0.0.1:{shop}/orders", json={"total": 4200})
            order.raise_for_status()
            show_state()
            first.kill()
            first.wait()
            note("driver", f"killed the shop, pid {first.pid}")

        pay = f"http://127.0.0.1:{provider}/pay"
        paying = asyncio.create_task(browser.post(pay))
        await until(lambda: any("nobody answers" in event.what for event in read()))
        async with server("app", shop):
            print("The provider got", (await paying).text)
            print("and for the same once more", (await browser.post(pay)).text)


def show_state() -> None:
    """Print the row as anybody could who may read the table."""
    with closing(sqlite3.connect(os.environ["SHOP_DATABASE"])) as database:
        (state,) = database.execute("SELECT state FROM runs").fetchone()
    print("The run in the shop's table, when the shop was killed:")
    print(ResumeState.from_bytes(state).to_json(), end="\n\n")


def report() -> int:
    """Print the timeline and the proof; give the exit code."""
    events = read()
    print("\nWhat ran where:")
    for event in events:
        print(f"  {event.at - events[0].at:6.2f} s  {event}")
    ran = [event for event in events if event.what.startswith("ran ")]
    counts = Counter(event.what.removeprefix("ran ") for event in ran)
    answers = [event.what for event in events if event.what.startswith("got the answer")]
    proven = (
        counts == dict.fromkeys(STEPS, 1)
        and len({event.pid for event in ran}) == 2
        and answers == ["got the answer 200"] * 2
    )
    print("\nReal executions of each step:", ", ".join(f"{step} {counts[step]}" for step in STEPS))
    print("Proven: no step ran twice, in 2 processes." if proven else "NOT proven.")
    return 0 if proven else 1


@asynccontextmanager
async def server(module: str, port: int) -> AsyncGenerator[subprocess.Popen[bytes], None]:
    """A server in a process of its own, once it takes connections; it ends with the block."""
    command = [sys.executable, "-m", f"{__package__}.{module}", str(port)]
    process = subprocess.Popen(command)  # noqa: ASYNC220, S603  # it takes no input of anybody
    try:
        await until(lambda: process.poll() is not None or listens(port))
        yield process
    finally:
        process.terminate()
        process.wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # it waits for other processes
            await asyncio.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
