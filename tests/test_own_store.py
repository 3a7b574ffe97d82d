"""The code of the guide to a table of one's own, under deliveries that race for it."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from awaitpy import create_hook, get_pending_hooks, pending_hook, run
from awaitpy.adapters.starlette import hook_request, response

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "own-store.md"
MANY = 64


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The blocks of the guide as a module, over a new file."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    module = ModuleType("own_store_guide")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), str(GUIDE), "exec"), module.__dict__)
    module.PATH = tmp_path / "races.sqlite3"
    module.execute(module.TABLE)
    return module


class Effects(Counter):
    """Counts what the steps of all threads really did."""

    def __init__(self):
        super().__init__()
        self._lock = threading.Lock()

    def add(self, what: int) -> int:
        with self._lock:
            self[what] += 1
        return what


async def collect(step, size: int, *, effects) -> int:
    hook = await step("hook", create_hook, many=True)
    for number in range(size):
        value = await step(f"wait-{number}", pending_hook, hook.hook_id, int)
        await step(f"effect-{number}", effects.add, value)
    return size


async def fulfil(step, *, effects) -> int:
    hook = await step("hook", create_hook)
    value = await step(hook.step_key, pending_hook, hook.hook_id, int)
    return await step("effect", effects.add, value)


class Race:
    """A run in the table, many deliveries for it, and what came of them."""

    def __init__(self, store, workflow, *args):
        self.effects = Effects()
        self.store = store
        self.workflow = partial(workflow, effects=self.effects)
        state = asyncio.run(run(self.workflow, *args)).state
        store.insert(state)
        self.run_id = state.run_id
        (self.hook_id,) = get_pending_hooks(state)

    def deliver(self, value, delivery_id=None):
        return self.store.deliver(self.workflow, self.run_id, self.hook_id, value, delivery_id)

    def in_threads(self, *posts):
        """The statuses that the posts were answered with, each sent by a thread of its own."""
        gate = threading.Barrier(len(posts))

        def post(delivery):
            gate.wait(timeout=30)
            return asyncio.run(self.deliver(*delivery)).status

        with ThreadPoolExecutor(len(posts)) as pool:
            return Counter(pool.map(post, posts))

    def over_http(self, *posts):
        """The same by real HTTP, through two servers that share the file and nothing else."""

        async def route(request):
            sent = await hook_request(request)
            return response(await self.deliver(sent.json(), sent.header("webhook-id")))

        async def send(client, address, value, delivery_id):
            headers = {"webhook-id": delivery_id}
            return (await client.post(address, json=value, headers=headers)).status_code

        async def send_all(addresses):
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(limits=limits, timeout=60) as client:
                where = itertools.cycle(addresses)
                return await asyncio.gather(*(send(client, next(where), *post) for post in posts))

        app = Starlette(routes=[Route("/", route, methods=["POST"])])
        with serving(app) as one, serving(app) as other:
            return Counter(asyncio.run(send_all([one, other])))

    @property
    def state(self):
        return self.store.load(self.run_id)


@contextmanager
def serving(app):
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


racing = pytest.mark.parametrize("sent", [Race.in_threads, Race.over_http], ids=["threads", "http"])


@racing
def test_64_deliveries_at_once_are_all_kept_and_each_is_acted_on_once(store, sent):
    race = Race(store, collect, MANY)
    statuses = sent(race, *((value, f"msg_{value}") for value in range(MANY)))
    assert race.effects == dict.fromkeys(range(MANY), 1)
    assert race.state.status == "completed"
    # The last to finish the run is told so, and so is who saved before that and came to claim after it.
    assert statuses[200] >= 1
    assert statuses[200] + statuses[202] == MANY


@racing
def test_64_copies_of_one_delivery_at_once_are_one_fulfilment_and_no_error(store, sent):
    race = Race(store, fulfil)
    statuses = sent(race, *[(7, "msg_1")] * MANY)
    assert race.effects == {7: 1}
    assert race.state.status == "completed"
    assert statuses[200] >= 1
    assert statuses[200] + statuses[202] == MANY


@racing
def test_of_64_different_deliveries_to_one_hook_one_is_taken_and_the_others_are_told(store, sent):
    race = Race(store, fulfil)
    statuses = sent(race, *((value, f"msg_{value}") for value in range(MANY)))
    assert statuses == {200: 1, 409: MANY - 1}
    assert race.effects.total() == 1


def test_a_delivery_during_a_leg_is_taken_by_whoever_has_the_claim(store):
    """It comes while a step is under way, which must not run again for it."""
    race = Race(store, collect, 2)
    told = []

    async def step_under_way(value: int) -> int:
        if value == 1:
            told.append(await race.deliver(2))
        return add(value)

    add, race.effects.add = race.effects.add, step_under_way
    assert asyncio.run(race.deliver(1)).status == 200
    assert [(each.status, each.body) for each in told] == [(202, {"status": "taken"})]
    assert race.effects == {1: 1, 2: 1}


def test_a_leg_that_has_lost_its_claim_stops_before_its_next_step(store):
    race = Race(store, fulfil_twice)
    clock = [1000.0]
    store.now = lambda: clock[0]

    def slow(value: int) -> int:
        clock[0] += 61
        assert store.claim(race.run_id, "somebody else")
        return add(value)

    add, race.effects.add = race.effects.add, slow
    told = asyncio.run(race.deliver(1))
    assert (told.status, told.body) == (202, {"status": "taken"})
    assert race.effects == {1: 1}
    assert list(race.state.steps) == ["hook"]


async def fulfil_twice(step, *, effects) -> int:
    hook = await step("hook", create_hook)
    value = await step(hook.step_key, pending_hook, hook.hook_id, int)
    await step("first", effects.add, value)
    return await step("second", effects.add, value + 1)


def test_each_entry_prolongs_the_claim(store):
    race = Race(store, fulfil_twice)
    clock = [1000.0]
    store.now = lambda: clock[0]

    def slow(value: int) -> int:
        clock[0] += 59
        assert not store.claim(race.run_id, "somebody else")
        return add(value)

    add, race.effects.add = race.effects.add, slow
    assert asyncio.run(race.deliver(1)).status == 200
    assert race.effects == {1: 1, 2: 1}


def test_a_delivery_that_a_dead_process_left_is_taken_at_the_next_wake(store):
    race = Race(store, fulfil)
    clock = [1000.0]
    store.now = lambda: clock[0]
    store.keep(race.run_id, race.hook_id, 7, "msg_1")
    assert store.claim(race.run_id, "the dead")
    assert asyncio.run(race.deliver(7, "msg_1")).status == 202
    asyncio.run(store.wake(race.workflow))
    assert race.effects == {}
    clock[0] += 61
    asyncio.run(store.wake(race.workflow))
    assert race.effects == {7: 1}
    assert race.state.status == "completed"


def test_a_step_that_broke_off_is_tried_again_a_minute_later(store):
    race = Race(store, fulfil)
    clock = [1000.0]
    store.now = lambda: clock[0]

    def broken(value: int) -> int:
        raise ConnectionError("the warehouse does not answer")

    add, race.effects.add = race.effects.add, broken
    assert asyncio.run(race.deliver(7)).status == 500
    race.effects.add = add
    asyncio.run(store.wake(race.workflow))
    assert race.state.status == "interrupted"
    clock[0] += 60
    asyncio.run(store.wake(race.workflow))
    assert race.effects == {7: 1}


def test_a_refused_delivery_leaves_the_row_as_it_is(store):
    race = Race(store, fulfil)
    before = race.state.to_bytes()
    wrong = store.deliver(race.workflow, race.run_id, "nothing", 7)
    assert asyncio.run(wrong).status == 404
    assert race.state.to_bytes() == before
