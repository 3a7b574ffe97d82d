"""S3: three documents come to one callback address, in any order and more than once."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from functools import partial
from typing import Literal

import attrs
import pytest

from awaitpy import Ok, create_hook, get_pending_hooks, is_pending_hook, pending_hook, run
from awaitpy.testing import WorkflowTester

NEEDED = ("identity", "proof_of_address", "bank_statement")


@attrs.frozen
class Document:
    kind: Literal["identity", "proof_of_address", "bank_statement"]
    url: str


def file_away(document: Document) -> None:
    """Would copy it into an archive."""


async def onboarding(step, customer: str, filed=file_away) -> dict[str, str]:
    hook = await step("documents", create_hook, many=True)
    urls: dict[str, str] = {}
    numbers = itertools.count(1)
    while len(urls) < len(NEEDED):
        number = next(numbers)
        document = await step(f"wait-{number}", pending_hook, hook.hook_id, Document)
        await step(f"file-{number}", filed, document)
        urls[document.kind] = document.url
    return urls


def document(kind, version=1):
    return {"kind": kind, "url": f"https://files.example/{kind}/{version}"}


URLS = {kind: document(kind)["url"] for kind in NEEDED}


@pytest.fixture
async def onboarded():
    tester = WorkflowTester(onboarding)
    await tester.start("Ada")
    return tester


@pytest.mark.parametrize("order", list(itertools.permutations(NEEDED)))
async def test_the_third_document_completes_the_run(onboarded, order):
    hook_id = onboarded.waiting.hook_id
    for kind in order[:2]:
        assert (await onboarded.deliver(document(kind))).status == 202
        assert onboarded.waiting.hook_id == hook_id
        assert is_pending_hook(onboarded.result.unwrap_err())
    assert (await onboarded.deliver(document(order[2]))).status == 200
    assert onboarded.result == Ok({kind: URLS[kind] for kind in order})
    assert onboarded.calls == {"documents": 1, "file-1": 1, "file-2": 1, "file-3": 1}


async def test_the_same_document_again_replaces_its_url(onboarded):
    await onboarded.deliver(document("identity"))
    assert (await onboarded.deliver(document("identity", version=2))).status == 202
    await onboarded.deliver(document("proof_of_address"))
    await onboarded.deliver(document("bank_statement"))
    assert onboarded.result == Ok({**URLS, "identity": "https://files.example/identity/2"})


async def test_two_posts_before_any_run_are_both_kept(onboarded):
    onboarded.inject(document("identity"), to="documents")
    onboarded.inject(document("proof_of_address"), to="documents")
    assert onboarded.pending[0].deliveries == 2
    await onboarded.resume()
    assert (await onboarded.deliver(document("bank_statement"))).status == 200
    assert onboarded.result == Ok(URLS)


def test_two_posts_at_the_same_moment_are_both_kept(runs, at_once):
    """Each loses the compare-and-set to the other, or comes while the other's run is under way."""
    calls = Counter()

    def filed(document: Document) -> None:
        calls[document.kind] += 1

    workflow = partial(onboarding, filed=filed)
    state = asyncio.run(run(workflow, "Ada")).state
    runs.add(state)
    (hook_id,) = get_pending_hooks(state)
    posts = [partial(runs.deliver, workflow, state.run_id, hook_id, document(kind)) for kind in NEEDED]
    answers = at_once(posts[:2])
    assert [told.status for told in answers] == [202, 202]
    assert posts[2]().status == 200
    assert runs.load(state.run_id).status == "completed"
    assert calls == dict.fromkeys(NEEDED, 1)
