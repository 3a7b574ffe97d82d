"""S1: a payment arrives by HTTP, and the processes that wait for it come and go."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

SHOP = Path(__file__).with_name("s01_shop.py")
PAID = {"order_id": "order-1", "status": "paid"}


class Shop:
    """Starts processes of the shop, and looks into its database."""

    def __init__(self, path):
        self.path = path
        self.processes = []
        self.query("CREATE TABLE rows (hook_id TEXT PRIMARY KEY, revision INTEGER, state BLOB)")
        self.query("CREATE TABLE calls (key TEXT)")

    def query(self, sql):
        with closing(sqlite3.connect(self.path, timeout=30)) as db, db:
            return db.execute(sql).fetchall()

    @property
    def calls(self):
        return Counter(key for (key,) in self.query("SELECT key FROM calls"))

    def process(self, *args, **env):
        """A new process, and the first line that it prints."""
        found = os.pathsep.join(filter(None, sys.path))
        env = {**os.environ, "PYTHONPATH": found, "SHOP_DATABASE": str(self.path), **env}
        process = subprocess.Popen(
            [sys.executable, SHOP, *args], env=env, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        return process, process.stdout.readline().strip()

    def start(self, workflow):
        """Start a checkout in a process that exits; the id of the hook that it waits for."""
        process, hook_id = self.process("start", workflow)
        assert process.wait(timeout=30) == 0
        return hook_id

    def serve(self, **env):
        process, port = self.process("serve", **env)
        return process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def post(self, hook_id, body):
        """Post to a server that lives for this one delivery."""
        process, client = self.serve()
        with client:
            told = client.post(f"/hooks/{hook_id}", json=body)
        process.terminate()
        process.wait(timeout=30)
        return told


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path / "shop.db")
    yield shop
    for process in shop.processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_another_process_answers_with_the_fulfilment_and_a_second_post_finds_nothing(shop):
    hook_id = shop.start("checkout")
    assert shop.calls == {"create-order": 1}
    _, client = shop.serve()
    with client:
        told = client.post(f"/hooks/{hook_id}", json=PAID)
        assert (told.status_code, told.json()) == (200, {"fulfilment": "shipped order-1, paid"})
        assert shop.calls == {"create-order": 1, "fulfil": 1}
        assert shop.query("SELECT * FROM rows") == []
        assert client.post(f"/hooks/{hook_id}", json=PAID).status_code == 404
    assert shop.calls == {"create-order": 1, "fulfil": 1}


def test_two_hooks_over_three_processes_call_every_step_once(shop):
    payment = shop.start("checkout_and_receipt")
    first = shop.post(payment, PAID)
    assert first.status_code == 202
    second = shop.post(first.json()["next"], "Ada")
    assert second.status_code == 200
    assert second.json() == {"fulfilment": "shipped order-1, paid, received by Ada"}
    assert shop.calls == {"create-order": 1, "fulfil": 1, "receipt": 1}


def test_a_kill_in_the_middle_of_fulfil_costs_no_more_than_a_second_fulfil(shop):
    hook_id = shop.start("checkout")
    dying, client = shop.serve(SHOP_FULFIL_HANGS="yes")
    with client, ThreadPoolExecutor(1) as provider:
        posted = provider.submit(client.post, f"/hooks/{hook_id}", json=PAID)
        assert dying.stdout.readline() == "fulfilling\n"
        dying.send_signal(signal.SIGKILL)
        assert dying.wait(timeout=30) == -signal.SIGKILL
        with pytest.raises(httpx.TransportError):
            posted.result(timeout=30)
    assert shop.calls == {"create-order": 1, "fulfil": 1}

    assert shop.post(hook_id, PAID).status_code == 200
    assert shop.calls == {"create-order": 1, "fulfil": 2}
