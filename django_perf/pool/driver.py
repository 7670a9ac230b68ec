"""Say what the pool must know about one sort of connection; the default suits any DB-API connection."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from .channel import Channel, knock
from .slot import Slot

_KNOCK_S = 0.5


class Driver:
    """Adapt the pool to a database driver. Every method may block, except those that say so."""

    def channel(self, conn: Any) -> Channel | None:
        """Return the channel of a connection, None for one without a socket."""
        fileno = getattr(conn, "fileno", None)
        return Channel(fileno()) if fileno is not None else None

    def opened(self, slot: Slot) -> None:
        """Prepare a new physical connection; an exception means that the connection is closed again."""

    def ping(self, slot: Slot) -> None:
        """Make a round trip; raise when it fails."""
        cursor = slot.conn.cursor()
        cursor.execute("SELECT 1")
        cursor.fetchall()
        cursor.close()
        slot.conn.rollback()

    def is_clean(self, slot: Slot) -> bool:
        """Tell, without a round trip, whether a returned connection is fit for the next holder as it is."""
        return False

    def clean(self, slot: Slot) -> bool:
        """Make a connection fit for the next holder; False, or any exception, when it cannot be."""
        slot.conn.rollback()
        return True

    def close(self, conn: Any) -> None:
        """Close a connection; must not block."""
        with suppress(Exception):
            conn.close()

    def is_abandoned(self, slot: Slot) -> bool:
        """Tell whether the holder of a connection has gone without returning it."""
        owner = slot.owner
        return owner is not None and not owner.is_alive()

    def is_final(self, error: BaseException) -> bool:
        """Tell whether trying to connect again is useless (a wrong password, not a restart)."""
        return False

    def knock(self, peer: tuple[int, Any]) -> str:
        """Return whether the server is up, down or silent, in half a second."""
        return knock(peer, _KNOCK_S)

    def find_lost(self, asker: Slot, slots: Iterable[Slot]) -> list[Slot]:
        """Return those whose statement the server, asked through `asker`, does not know of.

        Something in between (a firewall) has forgotten their connection.
        """
        return []
