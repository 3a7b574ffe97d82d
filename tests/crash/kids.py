"""Child processes by fork, so that what was imported is warm, and the log that they all write."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
import traceback
from contextlib import suppress

_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def fork(work, *args):
    """Give the pid of a child that does this and exits with 0, or with 1 and a traceback.

    It dies with its parent. The parent must have neither threads nor an event loop.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _dies_with(parent)
        work(*args)
        code = 0
    except BaseException:  # noqa: BLE001  nothing of the parent may go on in the child
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _dies_with(parent):
    if _libc is not None:
        _libc.prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def ended(pid):
    """Wait for a child: 0, its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid):
    """End a child, whatever it is doing. Nothing if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


class Family:
    """Children that don't outlive the `with` block."""

    def __init__(self):
        self.pids = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in list(self.pids):
            self.kill(pid)

    def fork(self, work, *args):
        pid = fork(work, *args)
        self.pids.add(pid)
        return pid

    def kill(self, pid):
        kill(pid)
        self.pids.discard(pid)

    def well_ended(self, pid):
        code = ended(pid)
        self.pids.discard(pid)
        assert code == 0, f"a child ended with {code}"

    def gone(self):
        """Give the children that have ended by themselves, with what."""
        found = []
        for pid in list(self.pids):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self.pids.discard(pid)
                found.append((pid, os.waitstatus_to_exitcode(status)))
        return found


class Log:
    """An append-only file; a line is there once `note` returns, whatever becomes of the process."""

    def __init__(self, path):
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, *words):
        os.write(self._file, f"{os.getpid()} {' '.join(map(str, words))}\n".encode())

    def size(self):
        """Give the place at which the next line will stand."""
        return os.fstat(self._file).st_size

    def lines(self):
        """Give all lines so far as lists of words; the first is the pid."""
        return [words for _, words in self.placed_lines()]

    def placed_lines(self):
        """Give all lines so far, each with its place."""
        found, place = [], 0
        for line in self.path.read_bytes().split(b"\n")[:-1]:
            found.append((place, line.decode().split()))
            place += len(line) + 1
        return found


def until(condition, seconds=60.0, pause=0.01):
    """Wait until something is so: what takes longer than it ever should is an error."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be so"
        time.sleep(pause)


class SharedTime:
    """A clock that this process and its children share, and any of them sets."""

    def __init__(self):
        self._ahead = memoryview(mmap.mmap(-1, 8)).cast("d")

    def __call__(self):
        return time.time() + self._ahead[0]

    def jump(self, seconds):
        self._ahead[0] += seconds
