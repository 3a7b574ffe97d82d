"""Runs the Python blocks of the README and the docs; skips browser tests without a browser."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings
from sybil import Document, Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

ROOT = Path(__file__).parent
# The suite asks the same today and tomorrow, so that what fails was changed. To search on:
# pytest --hypothesis-profile=default
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Page(Document):
    """A page of documentation whose blocks run, in order, as the body of one importable module.

    Only a module's annotations can be resolved by name, and awaitpy resolves them.
    """

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text, path)
        place = Path(path).relative_to(ROOT).with_suffix("")
        module = ModuleType("_".join(place.parts).replace("-", "_"))
        sys.modules[module.__name__] = module
        self.namespace = module.__dict__


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(future_imports=["annotations"]), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    document_types={".md": Page},
).pytest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the browser tests where there is no browser; CI has to have one."""
    if "CI" in os.environ or any(map(shutil.which, BROWSERS)):
        return
    missing = pytest.mark.skip(reason="needs a browser: apt-get install chromium")
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(missing)
