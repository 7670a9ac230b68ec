"""Run a PostgreSQL server of one's own, to be stopped, started and frozen, for either engine."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import psutil
import psycopg2

from tests import server_process, services

OURS, STOCK = "django_perf.pool.postgresql", "django.db.backends.postgresql"
TABLE = "CREATE TABLE token (name text PRIMARY KEY)"
# Connections of a pool: as many as a worker of the site has threads.
THREADS = 4
PATIENCE_S = 30.0


class Cluster:
    """A PostgreSQL server that may be stopped, started and frozen. To be made by the main thread (server_process)."""

    def __init__(self) -> None:
        program = services._system_postgres() or services._wheel_postgres()
        if program is None:
            raise services.ServiceNotFound(services.POSTGRES_REMEDIES)
        self._folder = server_process.private_folder()
        self._data, self._password = self._folder / "data", secrets.token_hex(16)
        self._program = services._unpack(program, self._folder)
        (self._folder / "password").write_text(self._password)
        server_process.hand_over(self._folder)
        services._initdb(self._program.with_name("initdb"), self._data, self._folder / "password")
        self.address = ("127.0.0.1", server_process.free_port())
        self.start()
        self.execute(TABLE)

    def start(self) -> None:
        """Start, and return when it is ready."""
        options = services._postgres_options(self._program, self.address[1])
        command = [self._program, "-D", self._data, *options]
        self._process = server_process.spawn(command, self._folder, signal.SIGQUIT)
        ready = partial(services._postgres_is_ready, self._data / "postmaster.pid")
        server_process.wait(self._process, self._folder, ready)

    def stop(self) -> None:
        """Stop as `pg_ctl stop -m fast` does: sessions are ended."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_S)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes for the length of a block, as a host that hangs."""
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()
        processes = [postmaster, *postmaster.children(recursive=True)]
        try:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def settings(self, engine: str, address: tuple[str, int]) -> dict[str, object]:
        """Return a site's DATABASES["default"]; it reaches the server at `address`."""
        host, port = address
        rest = {"OPTIONS": {"pool": {"max_size": THREADS}}} if engine == OURS else {"CONN_MAX_AGE": 60}
        names = {"ENGINE": engine, "NAME": "postgres", "USER": "django_perf", "PASSWORD": self._password}
        return {**names, "HOST": host, "PORT": port, **rest}

    def execute(self, sql: str) -> list[tuple]:
        """Run a statement on a connection of its own, past the proxy."""
        host, port = self.address
        connection = psycopg2.connect(
            host=host, port=port, dbname="postgres", user="django_perf", password=self._password
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def sessions(self) -> set[int]:
        """Return the pids of all other sessions."""
        sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        return {pid for (pid,) in self.execute(sql)}

    def terminate_all(self) -> None:
        """Terminate all other sessions; returns when they are gone."""
        old = self.sessions()
        self.execute(f"SELECT pg_terminate_backend(pid) FROM unnest(ARRAY{sorted(old)}::int[]) AS pid")
        while old & self.sessions():
            time.sleep(0.001)

    def tokens(self) -> frozenset[str]:
        """Return all that was ever written."""
        return frozenset(name for (name,) in self.execute("SELECT name FROM token"))
