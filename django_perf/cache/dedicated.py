"""Keep one connection to a database for one purpose, outside of the requests' connections and transactions."""

from __future__ import annotations

import math
import os
import select
import socket
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from time import monotonic
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import Error, connections
from django.db.utils import load_backend

from ..exceptions import PerfError
from ..metrics.recorder import recorder

P = ParamSpec("P")
T = TypeVar("T")

_STOCK = "django.db.backends.postgresql"
_POOLED = {"django_perf.pool.postgresql", "django_perf.pool.postgis"}
# libpq takes no less for a connection. After that and four times its own timeout a statement hangs.
_CONNECT_S = 2
_HANGS_AFTER = 4
# mysqlclient: the server has gone away, was lost during the query, or closed an idle connection.
_MYSQL_LOST = {2006, 2013, 4031}


class LevelBusy(PerfError):
    """Report that the one connection of a cache level was not free in time."""


class DedicatedConnection:
    """Lend one autocommit connection of this process to one thread at a time.

    Opened at the first use, and anew after each error. A forked child opens its own.
    """

    def __init__(self, alias: str, timeout: float) -> None:
        self.alias = alias
        self.timeout = timeout
        self._forget()
        _instances.add(self)

    def _forget(self) -> None:
        self._lock = Lock()
        self._wrapper: Any = None
        self._line: _Line | None = None
        self._lent_at = 0.0
        self._was_lost = False

    def forget_parent(self) -> None:
        """Start as new in a forked child; what was open is kept, for freeing it might say goodbye to the server."""
        _inherited.append((self._wrapper, self._line))
        self._forget()

    @property
    def vendor(self) -> str:
        """Return the vendor's name, without connecting."""
        return str(load_backend(self._settings()["ENGINE"]).DatabaseWrapper.vendor)

    def run(self, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` with a raw cursor and the arguments, and once more when an idle connection turns out to be lost.

        Raises LevelBusy, and the database's errors as Django's.
        """
        with self._lent() as was_idle:
            try:
                return self._attempt(work, *args, **kwargs)
            except Error:
                # One that was waited for is no restart of the server, and the caller has waited enough.
                if not (was_idle and self._was_lost and monotonic() - self._lent_at < self.timeout):
                    raise
            return self._attempt(work, *args, **kwargs)

    def run_once(self, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` like run(), but never again: it may have been done when the answer was lost."""
        with self._lent():
            return self._attempt(work, *args, **kwargs)

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        with self._lent():
            self._drop()

    @contextmanager
    def _lent(self) -> Iterator[bool]:
        """Hold the connection; yield whether there is one that seems to live.

        The lock guards all that belongs to the connection. Under a name of its own: a forked child gets a new one.
        """
        lock = self._lock
        if not lock.acquire(timeout=self.timeout):
            raise self._busy()
        try:  # critical section: the whole use of the connection
            self._lent_at = monotonic()
            # The server has said something to an idle connection: mostly that it is closed.
            if self._line is not None and not self._line.is_quiet():
                self._drop()
            yield self._wrapper is not None
        finally:
            lock.release()

    def _busy(self) -> LevelBusy:
        """Free a thread that hangs on a server which no longer answers; no timeout of libpq's ends a statement."""
        held_s, line = monotonic() - self._lent_at, self._line
        if held_s > _HANGS_AFTER * self.timeout + _CONNECT_S and line is not None:
            line.cut()
        return LevelBusy(
            f"cache table on database {self.alias!r}: the connection was not free within {self.timeout:.2f} s "
            f"(another thread has held it for {held_s:.2f} s)"
        )

    def _attempt(self, work: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work`; after an exception of any kind nobody knows what the connection is in the middle of."""
        wrapper = self._wrapper or self._open()
        try:
            with wrapper.wrap_database_errors:
                return work(wrapper.connection.cursor(), *args, **kwargs)
        except BaseException as error:
            self._was_lost = _is_lost(wrapper, error)
            self._drop()
            raise

    def _open(self) -> Any:
        """Connect as Django does; statements bypass its cursors, so that only this is there to be measured."""
        settings = self._settings()
        wrapper = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, self.alias)
        with recorder.paused():
            wrapper.ensure_connection()
        if wrapper.vendor == "postgresql":
            self._line = _Line(wrapper.connection.fileno())
        self._wrapper = wrapper
        return wrapper

    def _drop(self) -> None:
        wrapper, line = self._wrapper, self._line
        self._wrapper = self._line = None
        if line is not None:
            line.close()
        if wrapper is not None:
            with suppress(Exception):  # it is broken, mostly
                wrapper.connection.close()

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the alias as they are now: test runners change the name of the database."""
        given = connections[self.alias].settings_dict
        engine = _STOCK if given["ENGINE"] in _POOLED else given["ENGINE"]
        options = _OPTIONS.get(load_backend(engine).DatabaseWrapper.vendor, _any_options)
        own = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False, "ATOMIC_REQUESTS": False, "AUTOCOMMIT": True}
        return {**given, **own, "ENGINE": engine, "OPTIONS": options(given["OPTIONS"], self.timeout)}


class _Line:
    """Hold a duplicate of a socket: its number may be somebody else's by the time one wants to cut it."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._lock = Lock()
        # A level that nobody refers to any more goes without a warning.
        weakref.finalize(self, self._socket.close).atexit = False
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def is_quiet(self) -> bool:
        """Tell, without a round trip, whether nothing has arrived; the end of the connection would have."""
        return not self._poll.poll(0)

    def cut(self) -> None:
        """Make whoever hangs in a call on this socket fail at once."""
        with self._lock, suppress(OSError):  # critical section: close() must not free the number in between
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self._socket.close()


def _is_lost(wrapper: Any, error: BaseException) -> bool:
    """Tell whether an error means that the connection is gone, whatever was asked."""
    if wrapper.vendor == "mysql":
        return bool(error.args and error.args[0] in _MYSQL_LOST)
    return bool(getattr(wrapper.connection, "closed", False))


def _any_options(given: dict[str, Any], timeout: float) -> dict[str, Any]:
    return dict(given)


def _postgresql_options(given: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Bound every wait: for the network, the server and the locks of others.

    As startup options and not by SET, which a pooler in transaction mode would leave to its next client. `pool` is
    False, not absent: an engine of the site's own may be built on the pooled one, which pools by default.
    """
    timeout_ms = math.ceil(timeout * 1000)
    startup = {
        "synchronous_commit": "off",
        "statement_timeout": timeout_ms,
        # The row that change() holds.
        "idle_in_transaction_session_timeout": _HANGS_AFTER * timeout_ms,
        "default_transaction_isolation": "read\\ committed",
    }
    own = " ".join(f"-c {name}={value}" for name, value in startup.items())
    return {
        "keepalives_idle": 60,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        **{name: value for name, value in given.items() if name != "isolation_level"},
        "pool": False,
        "connect_timeout": _CONNECT_S,
        "tcp_user_timeout": max(1000, 2 * timeout_ms),
        "application_name": f"{given.get('application_name', 'django_perf')} cache",
        # Of two that set the same, the last one wins.
        "options": f"{given.get('options', os.environ.get('PGOPTIONS', ''))} {own}".strip(),
    }


def _sqlite_options(given: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Wait for others' locks as long as for our own."""
    return {**given, "timeout": timeout}


def _mysql_options(given: dict[str, Any], timeout: float) -> dict[str, Any]:
    """Bound every wait, in whole seconds: mysqlclient takes no fractions."""
    seconds = max(1, math.ceil(timeout))
    return {
        "init_command": f"SET SESSION innodb_lock_wait_timeout = {seconds}",
        **given,
        "isolation_level": "read committed",
        "connect_timeout": _CONNECT_S,
        "read_timeout": seconds,
        "write_timeout": seconds,
    }


_OPTIONS = {"postgresql": _postgresql_options, "sqlite": _sqlite_options, "mysql": _mysql_options}
_instances: weakref.WeakSet[DedicatedConnection] = weakref.WeakSet()
_inherited: list[object] = []


def _forget_parent() -> None:
    for instance in list(_instances):
        instance.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
