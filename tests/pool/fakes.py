"""Connections without a server: they fail, die and hang when a test says so, under a clock that it turns."""

from __future__ import annotations

import itertools
import threading
import time

from django_perf.pool.channel import Quiet
from django_perf.pool.driver import Driver

_numbers = itertools.count(1)


class Clock:
    """Stand still until advanced."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class FakeConnection:
    """Remember what is done to it; `holder` proves that nobody else holds it."""

    def __init__(self, closed=lambda: None) -> None:
        self._closed = closed
        self.number = next(_numbers)
        self.is_closed = self.is_dead = self.is_dirty = False
        self.holder = None

    def __repr__(self) -> str:
        return f"<connection {self.number}>"

    def commit(self) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close; twice is a fault of the pool."""
        assert not self.is_closed, f"{self} closed twice"
        self.is_closed = True
        self._closed()


class FakeChannel:
    """Show whether the connection is alive, as the socket would."""

    def __init__(self, conn: FakeConnection) -> None:
        self.conn = conn
        self.was_cut = False

    def state(self) -> str:
        """Return alive or dead."""
        return "dead" if self.conn.is_dead else "alive"

    def cut(self) -> None:
        """Remember."""
        self.was_cut = True

    def close(self) -> None:
        """Do nothing."""

    def quiet(self) -> Quiet:
        """Return that the statement has been sent and nothing has ever come."""
        return Quiet(sent_s=0.6, received_s=1e9, acknowledged_s=0.6)

    def peer(self) -> tuple[int, str]:
        """Return some address."""
        return (1, "nowhere")


class FakeDriver(Driver):
    """Follow the fakes; `knocks` is what the server answers at its door."""

    def __init__(self) -> None:
        self.pings = 0
        self.knocks = "up"
        self.lost: list = []

    def channel(self, conn):
        """Return a fake channel."""
        return FakeChannel(conn)

    def ping(self, slot):
        """Fail for a dead connection."""
        self.pings += 1
        if slot.conn.is_dead:
            raise OSError("dead")

    def is_clean(self, slot):
        """Tell what the test said."""
        return not slot.conn.is_dirty and not slot.conn.is_dead

    def clean(self, slot):
        """Clean, unless dead."""
        slot.conn.is_dirty = False
        return not slot.conn.is_dead

    def is_final(self, error):
        """Tell wrong passwords from restarts."""
        return isinstance(error, PermissionError)

    def knock(self, peer):
        """Return what the test said."""
        return self.knocks

    def find_lost(self, asker, slots):
        """Return what the test said."""
        return [slot for slot in slots if slot in self.lost]


class Server:
    """Open fake connections, up to what the test allows."""

    def __init__(self) -> None:
        self.opened: list[FakeConnection] = []
        self.error: Exception | None = None
        self.lock = threading.Lock()
        self.open_now = self.most_open = 0

    def connect(self) -> FakeConnection:
        """Open one, or raise what the test said."""
        if self.error is not None:
            raise self.error
        with self.lock:
            self.open_now += 1
            self.most_open = max(self.most_open, self.open_now)
            self.opened.append(FakeConnection(self._closed))
            return self.opened[-1]

    def _closed(self) -> None:
        with self.lock:
            self.open_now -= 1

    def living(self) -> list[FakeConnection]:
        """Return those that are not closed."""
        return [conn for conn in self.opened if not conn.is_closed]


def until(condition):
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)
