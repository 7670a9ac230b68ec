"""Look at the socket under a connection: is it alive, and can a hanging call be freed?"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any

ALIVE, READABLE, DEAD = "alive", "readable", "dead"
UP, DOWN, SILENT = "up", "down", "silent"

_RDHUP: int = getattr(select, "POLLRDHUP", 0)
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
# struct tcp_info (linux/tcp.h): tcpi_last_data_sent, _ack_sent, _data_recv and _ack_recv, in milliseconds.
_LAST_DATA_SENT, _TCP_INFO_BYTES = 44, 60


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hold the seconds since a byte was last sent, received, and acknowledged by the peer's kernel."""

    sent_s: float
    received_s: float
    acknowledged_s: float


class Channel:
    """Hold a duplicate of a connection's file descriptor, made when the connection was opened.

    A duplicate, because the number itself may belong to somebody else by the time a watchdog wants to cut it. A look at
    it makes no round trip (`./dev bench pool` prints what it costs). Thread-safe.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._lock = Lock()
        # A pool that nobody refers to any more is collected with its connections; the duplicates go with them.
        weakref.finalize(self, self._socket.close).atexit = False
        # Empty: nothing has arrived. `None` where the system cannot tell half-closed sockets (POLLRDHUP is Linux's).
        self.events: Callable[[int], list[Any]] | None = _poll_of(self._socket)

    def state(self) -> str:
        """Return alive, dead (the peer has hung up), or readable (only a round trip can tell).

        Never libpq's own poll: it swallows the FATAL of a terminated session and reports success.
        """
        if self.events is None:
            return self._peeked()
        events = self.events(0)
        if not events:
            return ALIVE
        return READABLE if events[0][1] == select.POLLIN else DEAD

    def _peeked(self) -> str:
        try:
            return READABLE if self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) else DEAD
        except BlockingIOError:
            return ALIVE
        except OSError:
            return DEAD

    def cut(self) -> None:
        """Free whoever hangs in a call on this socket: their call fails at once."""
        with self._lock, suppress(OSError):  # critical section: close() must not free the number in between
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self._socket.close()

    def quiet(self) -> Quiet | None:
        """Return for how long nothing was sent, received and acknowledged; None where the system does not tell."""
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        except (AttributeError, OSError):
            return None
        if len(info) < _TCP_INFO_BYTES:
            return None
        sent, _, received, acknowledged = struct.unpack_from("=4I", info, _LAST_DATA_SENT)
        return Quiet(sent / 1e3, received / 1e3, acknowledged / 1e3)

    def peer(self) -> tuple[int, Any] | None:
        """Return (family, address) of the server, None when it is gone."""
        try:
            return self._socket.family, self._socket.getpeername()
        except OSError:
            return None


def _poll_of(own: socket.socket) -> Callable[[int], list[Any]] | None:
    factory = _original("poll")
    if factory is None or not _RDHUP:
        return None
    poll = factory()
    poll.register(own, select.POLLIN | _RDHUP)
    return poll.poll  # type: ignore[no-any-return]


def _original(name: str) -> Any:
    """Return a function of `select` as it was before gevent replaced it: with a timeout of 0 nothing ever blocks."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey.get_original("select", name) if monkey else getattr(select, name, None)


def knock(peer: tuple[int, Any], timeout: float) -> str:
    """Return whether a PostgreSQL server at `peer` is up, down (refused) or silent for `timeout` seconds.

    Sends an SSLRequest, which every server and pooler answers with one byte before any login (PostgreSQL, "Message
    Flow", SSL Session Encryption); libpq's own connect cannot be told to give up in less than two seconds.
    """
    family, address = peer
    try:
        with socket.socket(family, socket.SOCK_STREAM) as caller:
            caller.settimeout(timeout)
            caller.connect(address)
            caller.sendall(_SSL_REQUEST)
            return UP if caller.recv(1) else DOWN
    except TimeoutError:
        return SILENT
    except OSError:
        return DOWN
