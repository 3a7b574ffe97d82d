"""What type checkers infer from the public API, and what they refuse: see tests/typing."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ACCEPTS = ROOT / "tests" / "typing" / "accepts.py"
REJECTS = ROOT / "tests" / "typing" / "rejects.py"
MARK = re.compile(r"  # type: ignore\[[\w, -]+\]  # pyright: ignore\[[\w, ]+\]$", re.MULTILINE)


def run(checker, *arguments):
    if importlib.util.find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed: pip install --group typing")
    done = subprocess.run(
        [sys.executable, "-m", checker, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def mypy_errors(*files):
    """Give (file, line, message) of each error."""
    output = run("mypy", "--show-absolute-path", "--no-error-summary", *files)
    errors = re.findall(r"^(.+?):(\d+): error: (.+)$", output, re.MULTILINE)
    return [(Path(file), int(line), message) for file, line, message in errors]


def pyright_errors(*files):
    """Give (file, line, message) of each error."""
    report = json.loads(run("pyright", "--pythonpath", sys.executable, "--outputjson", *files))
    return [
        (Path(each["file"]), each["range"]["start"]["line"] + 1, each["message"])
        for each in report["generalDiagnostics"]
        if each["severity"] == "error"
    ]


@pytest.mark.parametrize("errors_of", [mypy_errors, pyright_errors])
def test_a_checker_accepts_what_is_right_and_refuses_exactly_the_marked_lines(errors_of, tmp_path):
    text = REJECTS.read_text(encoding="utf-8")
    bare = tmp_path / "bare.py"
    bare.write_text(MARK.sub("", text), encoding="utf-8")
    marked = {number for number, line in enumerate(text.splitlines(), 1) if MARK.search(line)}

    errors = errors_of(ACCEPTS, bare)

    assert [error for error in errors if error[0] == ACCEPTS] == []
    # By name: mypy may tell of an equal file that it has in its cache, under the path of that day.
    assert {line for file, line, _ in errors if file.name == bare.name} == marked
    assert marked
