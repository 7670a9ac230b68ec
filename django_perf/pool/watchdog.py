"""Free threads that hang in a statement: cut what is overdue, and find out why something takes long."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from .channel import SILENT
from .keeper import keeper
from .slot import Slot

if TYPE_CHECKING:
    from .pool import ConnectionPool

logger = logging.getLogger("django_perf.pool")

# A statement that takes longer makes us ask whether the server, or the way to it, still lives: soon when it is a new
# one, and again every other second.
_SUSPECT_AFTER_S, _ASK_AGAIN_S, _ASK_AT_MOST_EVERY_S = 0.5, 2.0, 0.2
_QUESTION_S = 1.0
# The kernel tells the time of the last byte in ticks of a few milliseconds; the reply before may be that young.
_TICK_S, _TICKS_S = 0.015, 0.1


class Watchdog:
    """Watch the statements of one pool; look() is called by the keeper, ten times a second.

    A slow statement of a living server is left alone. What the server, asked through another connection, does not know
    of is cut off: something in between forgot the connection. When the server does not even answer a knock at its
    door, all statements are.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        # Slots that are neither idle nor lent: pinged, cleaned or set up just now.
        self.checking: dict[Slot, float] = {}
        self._asked: dict[Slot, float] = {}
        self._last_asked = -inf
        self._is_asking = False

    @contextmanager
    def eyes_on(self, slot: Slot, limit: float) -> Iterator[None]:
        """Have the connection cut off when the block takes longer than `limit` seconds."""
        slot.limit, slot.since = limit, self._pool.clock()
        self.checking[slot] = slot.since
        keeper.wake()
        try:
            yield
        finally:
            slot.since, slot.limit = 0.0, self._pool.statement_limit
            self.checking.pop(slot, None)

    def look(self) -> None:
        """Cut what is overdue, and ask after what takes long."""
        now = self._pool.clock()
        suspects = []
        for slot in self._running():
            since = slot.since
            if since and now - since > slot.limit:
                self.cut(slot, since, "overdue")
            elif since and now - since > _SUSPECT_AFTER_S:
                suspects.append(slot)
        if suspects and self._is_due(suspects, now):
            self.ask(suspects)

    def _running(self) -> list[Slot]:
        return [slot for slot in (*self._pool.taken.copy().values(), *self.checking.copy()) if slot.since]

    def _is_due(self, suspects: Sequence[Slot], now: float) -> bool:
        is_new = any(self._asked.get(slot) != slot.since for slot in suspects)
        return now - self._last_asked >= (_ASK_AT_MOST_EVERY_S if is_new else _ASK_AGAIN_S)

    def cut(self, slot: Slot, since: float, reason: str) -> None:
        """Free the thread that hangs in a statement begun at `since`, unless it has ended meanwhile.

        The doom is set first: should the statement end between the second look and the cut, then the connection is
        not lent to anybody else.
        """
        before, slot.doom = slot.doom, reason
        if slot.since != since:
            slot.doom = before
            return
        if slot.channel is not None:
            slot.channel.cut()
        self._pool.count(f"cut_{reason}")

    # --- questions, in a thread of their own ----------------------------------------------------------------------

    def ask(self, suspects: Sequence[Slot] = ()) -> None:
        """Ask after the server, and after some statements, unless that is being done."""
        if self._is_asking:
            return
        self._is_asking = True
        begun = {slot: slot.since for slot in suspects}
        if suspects:
            self._asked, self._last_asked = begun, self._pool.clock()
        if not self._pool.opener.spawn(partial(self._ask, begun)):
            self._is_asking = False

    def _ask(self, begun: dict[Slot, float]) -> None:
        try:
            if self._is_silent():
                self._silence()
            elif begun:
                for slot in self._lost(begun):
                    self._pool.suspect()
                    self.cut(slot, begun[slot], "lost")
        except Exception as error:
            logger.warning("pool %r: could not ask after slow statements: %s", self._pool.name, type(error).__name__)
        finally:
            self._is_asking = False

    def _is_silent(self) -> bool:
        """Tell whether the server is mute: two knocks unanswered, and not a byte for anybody meanwhile."""
        pool = self._pool
        began = pool.clock()
        peer = pool.opener.peer
        if not peer or any(pool.driver.knock(peer) != SILENT for _ in range(2)):
            return False
        took = pool.clock() - began - _TICKS_S
        quiet = [slot.channel.quiet() for slot in self._running() if slot.channel]
        return all(one is None or one.received_s >= took for one in quiet)

    def _silence(self) -> None:
        running = self._running()
        text = "pool %r: the server does not answer; %d statements are cut off"
        logger.warning(text, self._pool.name, len(running))
        self._pool.silence()
        for slot in running:
            if since := slot.since:
                self.cut(slot, since, "silence")

    def _lost(self, begun: dict[Slot, float]) -> list[Slot]:
        """Return those of which not a byte has come back, and of which the server knows nothing.

        It is asked through an idle connection if there is one, else through one more: all others may hang.
        """
        mute = [slot for slot, since in begun.items() if since and slot.since == since and self._is_mute(slot)]
        if not mute:
            return []
        with self._pool.asker() as asker, self.eyes_on(asker, _QUESTION_S):
            return self._pool.driver.find_lost(asker, mute)

    def _is_mute(self, slot: Slot) -> bool:
        """Tell whether the whole statement has been sent and no byte has come back, as far as the kernel can tell."""
        running_s = self._pool.clock() - slot.since
        quiet = slot.channel.quiet() if slot.channel else None
        if quiet is None:
            return False
        is_sent = quiet.sent_s <= running_s + _TICK_S and quiet.acknowledged_s >= _SUSPECT_AFTER_S - _TICKS_S
        return is_sent and quiet.received_s >= running_s - _TICKS_S
