"""`import awaitpy` is light: what most programs never need is imported when it is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = (
    "cattrs", "sqlite3", "difflib", "zoneinfo", "starlette", "fastapi", "flask", "django", "aiohttp",
    "litestar", "pydantic", "httpx", "uvicorn", "opentelemetry",
)  # fmt: skip

RUN = """
from awaitpy import Ok, PendingHook, ResumeState, Step, inject_hook, pending_hook, resume, run
async def flow(step: Step[PendingHook]) -> int:
    await step("a", lambda: {"b": [1]})
    await step("wait", pending_hook, "h", int, timeout=60)
    return 5
outcome = asyncio.run(run(flow))
state = inject_hook(ResumeState.from_bytes(outcome.state.to_bytes()), "h", 5, payload=int)
outcome = asyncio.run(resume(flow, ResumeState.from_json(state.to_json())))
assert outcome.result == Ok(5), outcome.result
"""


def loaded(code: str) -> set[str]:
    """The modules that are there after the code, in a fresh interpreter."""
    script = f"import sys, asyncio\n{code}\nprint(*sys.modules)"
    # Measured by coverage, a child process would load what coverage needs.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import awaitpy", RUN], ids=["import", "a whole run"])
def test_neither_the_import_nor_a_plain_run_loads_anything_heavy(code):
    modules = loaded(code)
    assert "awaitpy._runner" in modules
    assert not modules & set(HEAVY)
    assert not modules & {"awaitpy._converter", "awaitpy.durable", "awaitpy.stores"}


def test_what_is_imported_later_is_there_when_asked_for():
    modules = loaded("import awaitpy; awaitpy.make_converter(); awaitpy.HookRequest; awaitpy.CurrentStep")
    assert {"cattrs", "awaitpy._converter", "awaitpy._request", "awaitpy._current"} <= modules


def test_all_that_is_public_can_be_imported():
    import awaitpy

    for name in awaitpy.__all__:
        assert getattr(awaitpy, name) is not None
    assert list(awaitpy.__all__) == sorted(awaitpy.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        awaitpy.nope  # noqa: B018  asking is what is tested
