"""The workshop: `nox -l` lists what can be run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["tests", "lint", "typing", "docs", "demo"]
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml("pyproject.toml")
SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


def _output(*command: str) -> str | None:
    """What the command printed, or None if it is missing or failed."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _select_pyenv_versions() -> None:
    """Make pyenv's shims answer for every supported Python that it holds, not for one only."""
    held = (_output("pyenv", "versions", "--bare") or "").split()
    if held:
        selected = (_output("pyenv", "version-name") or "").split()
        others = [name for name in reversed(held) if re.fullmatch(r"3\.\d+\.\d+", name)]
        os.environ["PYENV_VERSION"] = ":".join(dict.fromkeys(selected + others))


def _usable(version: str) -> bool:
    """Whether that Python really starts: being on the PATH is not enough for a shim."""
    return version == RUNNING or _output(f"python{version}", "-c", "import venv") is not None


_select_pyenv_versions()
# A machine with a single Python runs everything on that one; nothing is missing there.
PYTHONS = [version for version in SUPPORTED if _usable(version)] or [RUNNING]
FIRST = PYTHONS[0]
# What type checkers accept and refuse is tested in the session that has them, `typing`.
ELSEWHERE = "--ignore=tests/test_typing.py"
# Children that are killed by the thousand: they take their time, and what is killed measures nothing.
CRASHES = "--ignore=tests/crash"
# They measure in small, for half a minute; that their program is right does not depend on the Python.
BENCHMARKS = "--ignore=tests/test_benchmarks.py"


def _install(session: nox.Session, *groups: str) -> None:
    """The package as users get it, from a built wheel, and what the groups ask for."""
    session.install(".", *nox.project.dependency_groups(PYPROJECT, *groups))


def _use_wheel(session: nox.Session) -> None:
    """Let tests and examples be imported from the checkout, but awaitpy from its wheel alone.

    The checkout goes to the end of the path, and no process, child processes included, puts its
    working directory in front.
    """
    purelib = _inside(session, "import sysconfig; print(sysconfig.get_path('purelib'))")
    Path(purelib, "checkout.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    session.env["PYTHONSAFEPATH"] = "1"
    if purelib not in (found := _inside(session, "import awaitpy; print(awaitpy.__file__)")):
        session.error(f"awaitpy comes from {found}, not from its wheel in {purelib}")


def _inside(session: nox.Session, code: str) -> str:
    """What that code prints in the session's Python."""
    return str(session.run("python", "-c", code, silent=True)).strip()


def _suite_with_coverage(session: nox.Session) -> None:
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", ELSEWHERE, CRASHES)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The suite against the wheel: all of it, with coverage, on the oldest Python found.

    The other Pythons leave the browser, the crashes and what is tested of the benchmarks out. Arguments
    after `--` go to a plain pytest on each.
    """
    _install(session, "test")
    _use_wheel(session)
    if session.posargs:
        session.run("pytest", *session.posargs)
    elif session.python == FIRST:
        _suite_with_coverage(session)
        session.run("pytest", "tests/crash")
    else:
        session.run("pytest", "-m", "not browser", ELSEWHERE, CRASHES, BENCHMARKS)


@nox.session(python=FIRST)
def coverage(session: nox.Session) -> None:
    """Every branch of the package is covered; htmlcov/ shows which are not."""
    _install(session, "test")
    _use_wheel(session)
    try:
        _suite_with_coverage(session)
    finally:
        session.run("coverage", "html", "--quiet", "--fail-under=0")


@nox.session(python=FIRST)
def lowest(session: nox.Session) -> None:
    """The suite, without the browser, on the oldest dependencies that the wheel admits."""
    _install(session, "test")
    session.install(*(each.replace(">=", "==") for each in PYPROJECT["project"]["dependencies"]))
    _use_wheel(session)
    session.run("pytest", "-m", "not browser", ELSEWHERE, *session.posargs)


@nox.session(python=FIRST)
def typing(session: nox.Session) -> None:
    """Both type checkers, at their strictest."""
    _install(session, "typing")
    session.run("mypy")
    session.run("pyright")
    session.run("pytest", "tests/test_typing.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, and which module may import which."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(python=FIRST)
def docs(session: nox.Session) -> None:
    """The documentation, into docs/_build; a warning is an error."""
    _install(session, "docs", "databases", "frameworks")
    session.run("sphinx-build", "-W", "--keep-going", "-E", "docs", "docs/_build")


@nox.session(python=FIRST)
def demo(session: nox.Session) -> None:
    """The payment webhook, end to end: an app, a kill, a restart, a provider that calls back."""
    _install(session, "demo")
    _use_wheel(session)
    session.run("python", "-m", "examples.payment_webhook", *session.posargs)


@nox.session(python=FIRST)
def soak(session: nox.Session) -> None:
    """Durable runs under thousands of kills, restarts and races; `-- SEED` does it another way."""
    _install(session, "test")
    _use_wheel(session)
    session.run("python", "-m", "tests.crash", *session.posargs)


@nox.session(python=FIRST)
def bench(session: nox.Session) -> None:
    """The table of docs/performance.md, measured here."""
    _install(session, "bench")
    _use_wheel(session)
    session.run("python", "-m", "tests.benchmarks", *session.posargs)
