"""How the documentation is built: Sphinx, MyST and furo."""

from __future__ import annotations

from importlib.metadata import version as installed_version

from awaitpy import RunError, _runner

project = "awaitpy"
author = "awaitpy contributors"
copyright = author  # noqa: A001 - the name that Sphinx reads
release = version = installed_version("awaitpy")

# Sphinx evaluates annotations. This name is made when it is first asked for, so the module has none.
vars(_runner)["RunError"] = RunError

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = f"awaitpy {release}"
