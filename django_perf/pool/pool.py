"""Lend connections to threads: FIFO waiters, a LIFO stack of idle ones, and no lock where none is needed.

A checkout and a return touch two deques and a dict, whose single operations are atomic. Everything else (waiting,
opening, closing, resizing) happens under one lock, which is never held over I/O. No wake-up is lost: who waits joins
the queue first and looks at the stack again; who returns fills the stack first and looks at the queue again.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from threading import RLock, current_thread
from typing import Any

from ..breaker import CircuitBreaker
from ..exceptions import PoolClosed, PoolError, PoolTimeout, TooManyRequests
from .channel import ALIVE, DEAD, READABLE
from .driver import Driver
from .keeper import keeper
from .maintenance import maintain
from .opener import Opener
from .slot import Slot, Waiter, copied
from .state import Level, describe, first_line
from .tally import Taken, Tally
from .watchdog import Watchdog

logger = logging.getLogger("django_perf.pool")

# Used a moment ago: not looked at; a short moment, for what dies within it is lent all the same. Idle for longer than
# PING_AFTER_S: a firewall may have forgotten the connection, which no look at the socket shows, so it makes a round
# trip within PING_S.
BYPASS_S, PING_AFTER_S, PING_S = 0.002, 0.5, 0.3
# While nothing connects, but not for long enough to refuse everybody: then only some may wait.
_BULKHEAD_AFTER_S = 0.5
_CUTS = ("overdue", "silence", "lost")
_RUNNING, _SUSPENDED, _CLOSED = 0, 1, 2


class ConnectionPool:
    """Lend connections that `connect` opens; options are named as in psycopg_pool, times are seconds.

    `timeout` bounds all that getconn() does: queueing, opening, checking. `max_waiting` bounds the queue (0: no bound).
    `max_idle`, `max_lifetime` (with 10 % jitter downwards) and `max_uses` bound a connection's life; `keepalive` is
    how often an idle one makes a round trip. A connection held for `leak_after` is reported with its holder's stack.
    A statement that runs longer than `statement_limit` is cut off. `bypass` switches the look at the socket off for
    what was used so recently.

    Thread-safe and fork-safe: a child starts with an empty pool and never touches what it inherited. Opening nothing
    and starting nothing until the first getconn().
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        *,
        name: str = "pool",
        min_size: int = 0,
        max_size: int = 10,
        timeout: float = 5.0,
        max_waiting: int = 0,
        max_idle: float = 300.0,
        max_lifetime: float = 3600.0,
        max_uses: int = 50_000,
        keepalive: float = 60.0,
        leak_after: float = 60.0,
        statement_limit: float = inf,
        bypass: float = BYPASS_S,
        driver: Driver | None = None,
        error_class: Callable[[type[PoolError]], type[PoolError]] = lambda error: error,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self.name = name
        self.min_size, self.max_size = min_size, max_size
        self.timeout, self.max_waiting = timeout, max_waiting
        self.max_idle, self.max_lifetime, self.max_uses = max_idle, max_lifetime, max_uses
        self.keepalive, self.leak_after = keepalive, leak_after
        self.statement_limit = statement_limit
        # Connections that the server has for ordinary roles; the driver learns it from the first one.
        self.server_max: int | None = None
        self._bypass = bypass
        self.driver = driver or Driver()
        self._error_class = error_class
        self.clock = clock
        self.opener = Opener(self, connect, start)
        # Slots of a parent process: kept, so that nothing ever closes their sockets from here.
        self._inherited: dict[Any, Slot] = {}
        self._reset()

    def _reset(self) -> None:
        # Reentrant: garbage that is collected under it may be a block that returns its connection.
        self.lock = RLock()
        self._state = _RUNNING
        self.idle: deque[Slot] = deque()
        self._waiters: deque[Waiter] = deque()
        self.taken: dict[Any, Slot] = {}
        self.slots: set[Slot] = set()
        # Slots that the maintenance found in no place, in which state, and since when.
        self.nowhere: dict[Slot, tuple[tuple[int, float], float]] = {}
        self.suspected_at = -inf
        self._closed_uses = 0
        self.opener.reset()
        self.tally = Tally()
        self.watchdog = Watchdog(self)
        # Last: whoever sees the new pid must find nothing of the parent's.
        self._pid = os.getpid()

    # --- lending --------------------------------------------------------------------------------------------------

    def getconn(self, timeout: float | None = None) -> Any:
        """Return a connection that is alive; to be given back with putconn() by whoever gets it.

        Raises PoolTimeout when none comes within `timeout` seconds (default: the pool's) or when the server is known
        not to answer, TooManyRequests when the queue is full, PoolClosed, or the driver's own error when trying again
        is useless.
        """
        if not keeper.mark[0]:
            keeper.forget_parent()
        now = self.clock()
        slot = None
        # Nobody overtakes those who wait.
        if not self._waiters and not self._state:
            try:
                slot = self.idle.pop()
            except IndexError:
                pass
            else:
                released = slot.released_at
                if released < now - self._bypass or released <= self.suspected_at:
                    slot = self.checked(slot)
        if slot is None:
            slot = self._queue(now, self.timeout if timeout is None else timeout)
            now = self.clock()
        slot.owner = current_thread()
        slot.taken_at = now
        slot.uses += 1
        self.taken[slot.conn] = slot
        return slot.conn

    def putconn(self, conn: Any) -> None:
        """Take a connection back; it is rolled back, reset if need be, and closed when it is unfit for another holder.

        Raises PoolError for a connection that is not on loan from this pool.
        """
        slot = self.taken.pop(conn, None)
        if slot is None:
            self._refuse_return(conn)
            return
        try:
            reason = "" if self.driver.is_clean(slot) else self._unfit(slot)
        except BaseException as error:
            reason = "broken"
            if not isinstance(error, Exception):  # a worker that is told to stop: nobody else knows of the slot now
                self.discard(slot, reason)
                raise
        now = self.clock()
        self.tally.holds.append(now - slot.taken_at)
        slot.owner, slot.since = None, 0.0
        is_spent = now >= slot.expires_at or slot.uses >= self.max_uses or len(self.slots) > self.max_size
        if reason or slot.doom or is_spent:
            self.discard(slot, reason or slot.doom or self._spent(slot, now))
            return
        slot.released_at = now
        self.idle.append(slot)
        if self._waiters or self._state:
            self.settle()

    @contextmanager
    def connection(self, timeout: float | None = None) -> Iterator[Any]:
        """Lend a connection to a block; commits at its end, rolls back when it raises."""
        conn = self.getconn(timeout)
        try:
            yield conn
        except BaseException:
            self.putconn(conn)
            raise
        try:
            conn.commit()
        finally:
            self.putconn(conn)

    def _unfit(self, slot: Slot) -> str:
        """Return why a connection cannot be lent again, "" when it can; makes it clean, under the keeper's eyes."""
        try:
            with self.watchdog.eyes_on(slot, self.timeout):
                return "" if self.driver.clean(slot) else "broken"
        except Exception:
            return "broken"
        except BaseException:  # a worker that is told to stop: nobody else knows of the connection now
            self.discard(slot, "broken")
            raise

    def _spent(self, slot: Slot, now: float) -> str:
        if now >= slot.expires_at:
            return "lifetime"
        return "uses" if slot.uses >= self.max_uses else "surplus"

    def _refuse_return(self, conn: Any) -> None:
        if conn not in self._inherited:
            raise self._error(PoolError, "a connection was returned that is not on loan (returned twice?)")

    # --- waiting --------------------------------------------------------------------------------------------------

    def _queue(self, started: float, timeout: float) -> Slot:
        """Wait for a connection, in the order of arrival."""
        deadline = started + timeout
        waiter = self._enter(Waiter(), is_back=False)
        while True:
            if not self._wait(waiter, deadline - self.clock()):
                raise self._timed_out(self.clock() - started)
            if waiter.error is not None:
                raise waiter.error
            assert waiter.slot is not None
            slot = self.checked(waiter.slot)
            if slot is not None:
                self.tally.waits.append(self.clock() - started)
                return slot
            # It was dead: back to the head of the queue.
            waiter = self._enter(Waiter(), is_back=True)

    def _wait(self, waiter: Waiter, seconds: float) -> bool:
        """Sleep until served, or told to fail; False when the time is over."""
        try:
            is_served = waiter.wait(seconds)
        except BaseException:  # a signal handler raised: what was handed over meanwhile goes back
            if not self._leave(waiter) and waiter.slot is not None:
                self.idle.append(waiter.slot)
                self.settle()
            raise
        return is_served or not self._leave(waiter)

    def _enter(self, waiter: Waiter, is_back: bool) -> Waiter:
        keeper.watch(self)
        self.reclaim()
        with self.lock:  # critical section: guards the queue, the slots and the attempts to connect
            if is_back and self._state != _CLOSED:
                self._waiters.appendleft(waiter)
            else:
                self._admit()
                self._waiters.append(waiter)
                self.tally.add("queued")
        self.settle()
        return waiter

    def _admit(self) -> None:
        """Refuse whom waiting would not help; called under the lock."""
        if self._state == _CLOSED:
            raise self._error(PoolClosed, "it is closed")
        waiting = len(self._waiters)
        # With all of them lent none is opened, so none tells whether the server is back: those who hold them may.
        if self.breaker.is_open and not self.idle and len(self.slots) < self.max_size:
            self.opener.plan(1)
            self.tally.add("refused")
            raise self._unreachable()
        half = max(1, self.max_size // 2)
        is_crowded = self.breaker.failing_s() > _BULKHEAD_AFTER_S and waiting >= half
        if is_crowded or (self.max_waiting and waiting >= self.max_waiting):
            self.tally.add("refused")
            raise self._error(TooManyRequests, f"{waiting} wait already ({self._describe()})")

    def _leave(self, waiter: Waiter) -> bool:
        """Take a waiter out of the queue; False when it has been served in the very last moment."""
        with self.lock:
            if waiter not in self._waiters:
                return False
            self._waiters.remove(waiter)
            self.tally.add("timeouts")
            return True

    def settle(self) -> None:
        """Give idle connections to those who wait, first come first served, and open what is missing."""
        with self.lock:
            while self._waiters and self.idle and not self._state:
                try:
                    slot = self.idle.pop()
                except IndexError:  # a checkout was faster
                    break
                self._waiters.popleft().serve(slot)
            self.opener.plan(len(self._waiters))
        self.opener.run_delayed()
        while self._state == _CLOSED and self.idle:
            try:
                slot = self.idle.pop()
            except IndexError:
                break
            self.discard(slot, "closed")

    # --- opening and closing --------------------------------------------------------------------------------------

    def room(self) -> int:
        """Return how many more connections may be opened; called under the lock."""
        taken = len(self.slots) + len(self.opener.attempts)
        return self.max_size - taken if self._state == _RUNNING else 0

    def admit(self, slot: Slot) -> None:
        """Count a new connection; called under the lock."""
        self.slots.add(slot)
        self.tally.add("opened")

    def lend(self, slot: Slot) -> None:
        """Put a connection on the stack, for whoever comes or waits."""
        slot.released_at = self.clock()
        self.idle.append(slot)
        self.settle()

    def has_waiters(self) -> bool:
        """Tell whether somebody waits."""
        return bool(self._waiters)

    def count(self, name: str) -> None:
        """Count something that happened."""
        with self.lock:
            self.tally.add(name)

    def fail_waiters(self, error: BaseException | None) -> None:
        """Wake all waiters, with `error` or with the news that the server is gone; called under the lock."""
        while self._waiters:
            self._waiters.popleft().fail(error or self._unreachable())
            error = error and copied(error)

    def discard(self, slot: Slot, reason: str) -> None:
        """Close a connection that nobody holds; only then is there room for another one."""
        self.close_slot(slot)
        with self.lock:
            if slot in self.slots:
                self.slots.remove(slot)
                self._closed_uses += slot.uses
                self.tally.add("closed_cut" if reason in _CUTS else f"closed_{reason}")
                self.opener.plan(len(self._waiters))

    def close_slot(self, slot: Slot) -> None:
        self.driver.close(slot.conn)
        if slot.channel is not None:
            slot.channel.close()

    # --- liveness -------------------------------------------------------------------------------------------------

    def checked(self, slot: Slot) -> Slot | None:
        """Return the slot if its connection is alive, else another idle one that is, else None."""
        while True:
            try:
                reason = self._fault(slot, self.clock())
            except BaseException:
                self.discard(slot, "dead")
                raise
            if not reason:
                return slot
            self.discard(slot, reason)
            try:
                slot = self.idle.pop()
            except IndexError:
                return None

    def _fault(self, slot: Slot, now: float) -> str:
        if now >= slot.expires_at or slot.doom:
            return slot.doom or "lifetime"
        if slot.released_at <= self.suspected_at or now - slot.released_at > PING_AFTER_S:
            return "" if self.answers(slot) else "dead"
        state = slot.channel.state() if slot.channel else ALIVE
        if state == READABLE:  # a notice, or a FATAL before the end of the stream
            state = ALIVE if self.answers(slot) else state
        if state == ALIVE:
            return ""
        self.suspected_at = now
        return "dead"

    def answers(self, slot: Slot) -> bool:
        """Make a round trip within PING_S."""
        started = self.clock()
        try:
            with self.watchdog.eyes_on(slot, PING_S):
                if slot.channel is not None and slot.channel.state() == DEAD:
                    raise PoolError("the server hung up")
                self.driver.ping(slot)
        except Exception:
            self.suspected_at = max(self.suspected_at, started)
            if self.clock() - started >= PING_S:
                self.evict_idle(started)
                self.watchdog.ask()
            return False
        return not slot.doom

    def evict_idle(self, before: float) -> None:
        """Close what was idle when another connection fell silent: pinging each would cost its own deadline."""
        for slot in self.idle.copy():
            if slot.released_at <= before and self.claim(slot):
                self.discard(slot, "dead")

    def claim(self, slot: Slot) -> bool:
        """Take a certain slot out of the stack; False when somebody was faster."""
        try:
            self.idle.remove(slot)
        except (ValueError, IndexError):
            return False
        return True

    @contextmanager
    def asker(self) -> Iterator[Slot]:
        """Lend the watchdog a connection: an idle one that is alive, else one more for a moment."""
        try:
            found = self.checked(self.idle.pop())
        except IndexError:
            found = None
        slot = found or self.opener.connect()
        is_fine = False
        try:
            yield slot
            is_fine = found is not None
        finally:
            if is_fine:
                self.idle.append(slot)
                self.settle()
            else:
                self.discard(slot, "dead")

    # --- care, by the keeper's thread -----------------------------------------------------------------------------

    def tend(self, is_due: bool) -> bool:
        """Cut what is overdue, ask after what is suspicious, and maintain if `is_due`; True while anything is busy."""
        self.watchdog.look()
        self._write_off_hanging()
        if is_due:
            maintain(self)
        return bool(self.taken or self.watchdog.checking or self.opener.attempts)

    def _write_off_hanging(self) -> None:
        with self.lock:
            if self.opener.write_off_hanging():
                if not self.breaker.is_open:
                    self.breaker.trip()
                    self.fail_waiters(None)
                self.opener.plan(1)

    def silence(self) -> None:
        """Act on a server that is confirmed not to answer: nobody waits for it, and one probe goes on asking."""
        with self.lock:
            self.breaker.trip()
            self.fail_waiters(None)
            self.opener.plan(1)
        self.suspect()
        self.evict_idle(self.suspected_at)

    def suspect(self) -> None:
        """Have every connection that is idle now make a round trip before it is lent."""
        self.suspected_at = self.clock()

    def fill(self) -> None:
        """Open what is missing to the minimum."""
        with self.lock:
            if not self.breaker.is_open:
                self.opener.plan(self.min_size - len(self.slots))
                # Without new threads: not on this one, which is the keeper's.
                self.opener.drop_delayed()

    def reclaim(self) -> None:
        """Take back what dead threads hold; closed, for a cursor of it may have been handed to a living one."""
        for conn, slot in self.taken.copy().items():
            # Asked twice: the first answer may be about a holder who has returned it meanwhile. One who is dead at the
            # end of the first look returns nothing any more.
            is_abandoned = self.driver.is_abandoned(slot) and self.driver.is_abandoned(slot)
            if is_abandoned and self.taken.pop(conn, None) is not None:
                self.discard(slot, "owner_died")

    # --- steering -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Do nothing: a pool opens its connections when they are asked for (Django calls this)."""

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the size; what is lent comes back first."""
        self.min_size = min_size
        self.max_size = self.max_size if max_size is None else max_size
        for slot in self.idle.copy():
            if len(self.slots) > self.max_size and self.claim(slot):
                self.discard(slot, "surplus")
        self.settle()

    def evict(self) -> None:
        """Replace every connection: idle ones now, lent ones when they come back."""
        with self.lock:
            for slot in self.slots:
                slot.doom = "evicted"
        for slot in self.idle.copy():
            if self.claim(slot):
                self.discard(slot, "evicted")

    def retire(self) -> None:
        """Close every connection as soon as nobody holds it, and lend new ones all the same.

        For the end of the process: others have something to write at exit too, in whatever order.
        """
        self.max_uses = 1
        self.evict()

    def suspend(self) -> None:
        """Lend nothing until resume(): those who ask wait, up to their timeout."""
        self._change(_RUNNING, _SUSPENDED)

    def resume(self) -> None:
        """End suspend()."""
        self._change(_SUSPENDED, _RUNNING)
        self.settle()

    def _change(self, old: int, new: int) -> None:
        with self.lock:
            if self._state == old:
                self._state = new

    def close(self) -> None:
        """Close idle connections now, lent ones when they come back, and fail whoever waits. Does not block."""
        self.reclaim()
        with self.lock:
            self._state = _CLOSED
            self.opener.stop()
            while self._waiters:
                self._waiters.popleft().fail(self._error(PoolClosed, "it was closed while you waited"))
            for slot in self.slots:
                slot.doom = "closed"
        self.settle()

    def forget(self) -> None:
        """Start empty in a forked child. What was inherited is never touched again, not even to close it."""
        if self._pid != os.getpid():
            self._inherited.update({slot.conn: slot for slot in self.slots.copy()})
            for slot in self._inherited.values():
                slot.owner, slot.uses = None, -1  # no cursor of it works here any more
            state = self._state
            self._reset()
            self._state = state

    @property
    def breaker(self) -> CircuitBreaker:
        """Return the breaker: open while the server does not answer."""
        return self.opener.breaker

    @property
    def is_closed(self) -> bool:
        """Tell whether close() was called."""
        return self._state == _CLOSED

    # --- figures --------------------------------------------------------------------------------------------------

    def level(self) -> Level:
        """Return what the pool looks like now."""
        size, in_use = len(self.slots), len(self.taken)
        return Level(self.max_size, size, in_use, len(self.idle), len(self._waiters), self.breaker.state)

    def take(self) -> Taken:
        """Return what happened since the last call."""
        with self.lock:
            counts = self.tally.take_counts()
        return self.tally.take(counts, self.uses() - len(self.taken))

    def get_stats(self) -> dict[str, int]:
        """Return the counters since the process began, and the levels now, by psycopg_pool's names and our own."""
        level = self.level()
        return {
            "pool_min": self.min_size,
            "pool_max": level.max_size,
            "pool_size": level.size,
            "pool_available": level.idle,
            "requests_waiting": level.waiting,
            "requests_num": self.uses(),
            **self.tally.stats(),
        }

    def uses(self) -> int:
        """Return how many connections were lent since the process began."""
        with self.lock:
            return self._closed_uses + sum(slot.uses for slot in self.slots)

    def _error(self, kind: type[PoolError], text: str) -> PoolError:
        return self._error_class(kind)(f"pool {self.name!r}: {text}")

    def _timed_out(self, waited: float) -> PoolError:
        text = f"no connection after {waited:.2f} s ({self._describe()})"
        if self.breaker.failing_s():
            return self._failing(f"{text}; connecting fails")
        return self._error(PoolTimeout, f"{text}; raise max_size or look for a leak")

    def _unreachable(self) -> PoolError:
        return self._failing(f"the server has not answered for {self.breaker.failing_s():.1f} s ({self._describe()})")

    def _failing(self, text: str) -> PoolError:
        error = self._error(PoolTimeout, f"{text}{first_line(self.opener.last_error)}")
        error.__cause__ = self.opener.last_error
        return error

    def _describe(self) -> str:
        return describe(self.level(), self.taken.copy().values(), self.clock())
