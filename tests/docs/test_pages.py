"""What a reader can rely on in the README and the docs, besides that their code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import awaitpy
from awaitpy import durable, instrumentation, stores, testing, webhooks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]


MODULES = [awaitpy, durable, instrumentation, stores, testing, webhooks]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name(module):
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    documented = re.findall(r":: awaitpy\S*\.(\w+)$", reference, re.MULTILINE)
    assert [name for name in module.__all__ if name not in documented] == []


def test_the_readme_fits_two_screens():
    assert 80 <= len(README.splitlines()) <= 150


def test_the_example_of_the_readme_has_twenty_lines_at_most():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.splitlines()) <= 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_to_files(page):
    links = re.findall(r"\]\(([\w./-]+\.(?:md|py|png|json))(?:#[\w-]+)?\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
