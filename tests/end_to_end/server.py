"""Serve the small site with gunicorn on a database of its own, and ask its store from child processes."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from example_project.demo.processes import ROOT, Child, Launcher, StopRequest
from tests.end_to_end.project.clocks import Served, read_own_list
from tests.server_process import free_port

READY_S = 30
CONFIGURATION = str(ROOT / "example_project" / "gunicorn.conf.py")
PROJECT = "tests.end_to_end.project"


class Site:
    """One gunicorn with its database; `ask` and `manage` work while it runs and after it has ended."""

    PROJECT = PROJECT

    def __init__(self, folder: Path, database_url: str, flush_interval: float = 1.0, **environment: str) -> None:
        self.own_list = folder / "served"
        self.address = ("127.0.0.1", free_port())
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": f"{self.PROJECT}.settings",
            "DATABASE_URL": database_url,
            "OWN_LIST": str(self.own_list),
            "FLUSH_INTERVAL": str(flush_interval),
            **environment,
        }
        self._launcher = Launcher(folder, self._environment, StopRequest())

    @contextmanager
    def running(self, *options: str):
        """Serve for as long as the block lasts; leaving it sends TERM and waits for a clean end."""
        bind = f"127.0.0.1:{self.address[1]}"
        command = [sys.executable, "-m", "gunicorn", "-c", CONFIGURATION, "--bind", bind, *options]
        gunicorn = self._launcher.start("gunicorn", [*command, f"{self.PROJECT}.wsgi:application"])
        try:
            self._wait_until_ready(gunicorn)
            yield self
        finally:
            gunicorn.stop()

    def _wait_until_ready(self, gunicorn: Child) -> None:
        """Wait for a worker's line in the log: a request to look would be one too many in the counts."""
        deadline = time.monotonic() + READY_S
        while "Booting worker" not in gunicorn.log.read_text():
            gunicorn.check()
            if time.monotonic() > deadline:
                raise gunicorn.complaint(f"did not start within {READY_S} s")
            time.sleep(0.02)

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        """Request a path on a connection of its own and read the answer; raises OSError when it breaks off."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request("GET", path, headers={"Connection": "close", **headers})
            response = connection.getresponse()
            response.body = response.read()
        finally:
            connection.close()
        return response

    def served(self) -> list[Served]:
        """Return the site's own list."""
        return read_own_list(self.own_list)

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run a management command and return what it prints."""
        launcher = Launcher(self._launcher.folder, self._environment | environment, StopRequest())
        return launcher.run(arguments[0], [sys.executable, "-m", "django", *arguments])

    def run(self, module: str, *arguments: str) -> str:
        """Run a module of the project and return what it prints."""
        return self._launcher.run(module, [sys.executable, "-m", f"{PROJECT}.{module}", *arguments])

    def log(self) -> list[str]:
        """Return the lines that the last gunicorn has logged."""
        return (self._launcher.folder / "gunicorn.log").read_text().splitlines()

    def report(self, later_s: float = 0.0) -> dict:
        """Return all reports, as they will read some seconds later."""
        return json.loads(self.run("report", str(later_s)))


@contextmanager
def temporary_database(server_url: str, template: str = "template1"):
    """Make an empty database, or a copy of `template`; yields its URL and drops it afterwards."""
    name = f"end_to_end_{uuid.uuid4().hex[:12]}"
    _execute(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        _execute(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(url: str, sql: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True  # CREATE DATABASE refuses to run in a transaction
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()
