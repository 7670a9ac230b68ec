"""Lend connections to threads: FIFO waiters, a LIFO stack of idle ones, and no lock where none is needed.

A checkout and a return touch two deques and a dict, whose single operations are atomic. Everything else (waiting,
opening, closing, resizing) happens under one lock, which is never held over I/O. No wake-up is lost: who waits joins
the queue first and looks at the stack again; who returns fills the stack first and looks at the queue again.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import Event, Lock, Thread, current_thread
from typing import Any

from ..breaker import CircuitBreaker
from ..exceptions import PoolClosed, PoolError, PoolTimeout, TooManyRequests
from ..metrics.callsite import current_place, stack_of
from ..metrics.names import clean
from .channel import ALIVE, DEAD, READABLE, SILENT, UP
from .driver import Driver
from .keeper import keeper
from .slot import Slot, Waiter
from .tally import Tally

logger = logging.getLogger("django_perf.pool")

# Used a moment ago: not looked at. Idle for longer than PING_AFTER: a firewall may have forgotten it, which no look at
# the socket shows, so it makes a round trip within PING_S.
BYPASS_S, PING_AFTER_S, PING_S = 0.1, 0.5, 0.3
# A statement that takes longer makes us ask whether the server, or the way to it, still lives.
_SUSPECT_AFTER_S, _ASK_EVERY_S = 0.5, 2.0
# An attempt to connect that hangs for so long is a failure, whatever comes of it later.
_OPEN_PATIENCE_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _PROBE_PAUSE_S = 0.01, 0.25, 0.5
# While nothing connects, but not for long enough to refuse everybody: then only some may wait.
_BULKHEAD_AFTER_S = 0.5
_QUESTION_S = 1.0
_JITTER = 0.1
_CUTS = ("overdue", "silence", "lost")
_RUNNING, _SUSPENDED, _CLOSED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Level:
    """Hold what a pool looks like at one moment."""

    max_size: int
    size: int
    in_use: int
    idle: int
    waiting: int
    breaker: str


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
        self._connect = connect
        self._driver = driver or Driver()
        self._error_class = error_class
        self._clock = clock
        self._start = start or _start_thread
        # Slots of a parent process: kept, so that nothing ever closes their sockets from here.
        self._inherited: dict[Any, Slot] = {}
        self._reset()

    def _reset(self) -> None:
        self._lock = Lock()
        self._state = _RUNNING
        self._stop = Event()
        self._idle: deque[Slot] = deque()
        self._waiters: deque[Waiter] = deque()
        self._taken: dict[Any, Slot] = {}
        self._slots: set[Slot] = set()
        self._checking: dict[Slot, float] = {}
        # When each attempt to connect began; guarded by the lock.
        self._opening: dict[object, float] = {}
        self._delayed: list[object] = []
        self._suspected_at = -inf
        self._next_question = -inf
        self._closed_uses = 0
        self._last_error: BaseException | None = None
        self._peer: tuple[int, Any] | None = None
        self.breaker = CircuitBreaker(clock=self._clock)
        self.tally = Tally()
        # Last: whoever sees the new pid must find nothing of the parent's.
        self._pid = os.getpid()

    # --- lending --------------------------------------------------------------------------------------------------

    def getconn(self, timeout: float | None = None) -> Any:
        """Return a connection that is alive; to be given back with putconn() by whoever gets it.

        Raises PoolTimeout when none comes within `timeout` seconds (default: the pool's) or when the server is known
        not to answer, TooManyRequests when the queue is full, PoolClosed, or the driver's own error when trying again
        is useless.
        """
        if self._pid != os.getpid():
            keeper.forget_parent()
        now = self._clock()
        slot = None
        # Nobody overtakes those who wait.
        if not self._waiters and not self._state:
            try:
                slot = self._idle.pop()
            except IndexError:
                pass
            else:
                released = slot.released_at
                if released < now - self._bypass or released <= self._suspected_at:
                    slot = self._checked(slot)
        if slot is None:
            slot = self._queue(now, self.timeout if timeout is None else timeout)
            now = self._clock()
        slot.owner = current_thread()
        slot.taken_at = now
        slot.uses += 1
        self._taken[slot.conn] = slot
        return slot.conn

    def putconn(self, conn: Any) -> None:
        """Take a connection back; it is rolled back, reset if need be, and closed when it is unfit for another holder.

        Raises PoolError for a connection that is not on loan from this pool.
        """
        slot = self._taken.pop(conn, None)
        if slot is None:
            self._refuse_return(conn)
            return
        reason = self._unfit(slot)
        now = self._clock()
        self.tally.holds.append(now - slot.taken_at)
        reason = reason or slot.doom or self._spent(slot, now)
        slot.owner = None
        slot.is_reported = False
        if reason:
            self._discard(slot, reason)
            return
        slot.released_at = now
        self._idle.append(slot)
        if self._waiters or self._state:
            self._settle()

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
            if self._driver.is_clean(slot):
                return ""
            with self._eyes_on(slot, self.timeout):
                return "" if self._driver.clean(slot) else "broken"
        except Exception:
            return "broken"
        except BaseException:  # a worker that is told to stop: nobody else knows of the connection now
            self._discard(slot, "broken")
            raise

    def _spent(self, slot: Slot, now: float) -> str:
        if now >= slot.expires_at:
            return "lifetime"
        if slot.uses >= self.max_uses:
            return "uses"
        return "surplus" if len(self._slots) > self.max_size else ""

    def _refuse_return(self, conn: Any) -> None:
        if conn not in self._inherited:
            raise self._error(PoolError, "a connection was returned that is not on loan (returned twice?)")

    # --- waiting --------------------------------------------------------------------------------------------------

    def _queue(self, started: float, timeout: float) -> Slot:
        """Wait for a connection, in the order of arrival."""
        deadline = started + timeout
        waiter = self._enter(Waiter(), is_back=False)
        while True:
            if not self._wait(waiter, deadline - self._clock()):
                raise self._timed_out(self._clock() - started)
            if waiter.error is not None:
                raise waiter.error
            assert waiter.slot is not None
            slot = self._checked(waiter.slot)
            if slot is not None:
                self.tally.waits.append(self._clock() - started)
                return slot
            # It was dead: back to the head of the queue.
            waiter = self._enter(Waiter(), is_back=True)

    def _wait(self, waiter: Waiter, seconds: float) -> bool:
        """Sleep until served, or told to fail; False when the time is over."""
        try:
            is_served = waiter.wait(seconds)
        except BaseException:  # a signal handler raised: what was handed over meanwhile goes back
            if not self._leave(waiter) and waiter.slot is not None:
                self._idle.append(waiter.slot)
                self._settle()
            raise
        return is_served or not self._leave(waiter)

    def _enter(self, waiter: Waiter, is_back: bool) -> Waiter:
        keeper.watch(self)
        self._reclaim()
        with self._lock:  # critical section: guards the queue, the slots and the attempts to connect
            self._admit()
            if is_back:
                self._waiters.appendleft(waiter)
            else:
                self._waiters.append(waiter)
                self.tally.add("queued")
        self._settle()
        return waiter

    def _admit(self) -> None:
        """Refuse whom waiting would not help; called under the lock."""
        if self._state == _CLOSED:
            raise self._error(PoolClosed, "it is closed")
        waiting = len(self._waiters)
        if self.breaker.is_open and not self._idle:
            self._plan(1)
            self.tally.add("refused")
            raise self._unreachable()
        half = max(1, self.max_size // 2)
        is_crowded = self.breaker.failing_s() > _BULKHEAD_AFTER_S and waiting >= half
        if is_crowded or (self.max_waiting and waiting >= self.max_waiting):
            self.tally.add("refused")
            raise self._error(TooManyRequests, f"{waiting} wait already ({self._describe()})")

    def _leave(self, waiter: Waiter) -> bool:
        """Take a waiter out of the queue; False when it has been served in the very last moment."""
        with self._lock:
            if waiter not in self._waiters:
                return False
            self._waiters.remove(waiter)
            self.tally.add("timeouts")
            return True

    def _settle(self) -> None:
        """Give idle connections to those who wait, first come first served, and open what is missing."""
        with self._lock:
            while self._waiters and self._idle and not self._state:
                try:
                    slot = self._idle.pop()
                except IndexError:  # a checkout was faster
                    break
                self._waiters.popleft().serve(slot)
            self._plan(len(self._waiters))
        while self._delayed:
            self._open(self._delayed.pop())
        while self._state == _CLOSED and self._idle:
            try:
                slot = self._idle.pop()
            except IndexError:
                break
            self._discard(slot, "closed")

    # --- opening and closing --------------------------------------------------------------------------------------

    def _plan(self, wanted: int) -> None:
        """Start as many attempts to connect as `wanted` and the size allow; called under the lock.

        None runs on the thread of a borrower, who may get a returned connection meanwhile, or give up.
        """
        if self.breaker.is_open:
            wanted = min(wanted, 1)
        room = self.max_size - len(self._slots) - len(self._opening)
        for _ in range(min(wanted - len(self._opening), room) if self._state == _RUNNING else 0):
            attempt = object()
            self._opening[attempt] = self._clock()
            try:
                self._start(partial(self._open, attempt))
            except RuntimeError:  # no more threads, at exit or at a limit of the system: _settle() does it here
                self._delayed.append(attempt)

    def _open(self, attempt: object) -> None:
        """Connect, again and again while somebody waits for it."""
        pause = _FIRST_PAUSE_S
        pid, stop = self._pid, self._stop
        while pid == os.getpid():
            try:
                slot = self._new_slot()
            except BaseException as error:
                if self._give_up(attempt, error):
                    return
                pause = min(2 * pause, _PROBE_PAUSE_S if self.breaker.is_open else _LONGEST_PAUSE_S)
                stop.wait(pause)
                self._opening[attempt] = self._clock()
            else:
                self._add(attempt, slot)
                return

    def _new_slot(self) -> Slot:
        # A silent server makes libpq hang for seconds; a knock at its door does not.
        if self.breaker.is_open and self._peer and self._driver.knock(self._peer) != UP:
            raise PoolError("the server does not answer")
        conn = self._connect()
        try:
            now = self._clock()
            lifetime = self.max_lifetime * (1 - _JITTER * random.random())  # noqa: S311 - no secret
            slot = Slot(conn, self._driver.channel(conn), now, now + lifetime)
            with self._eyes_on(slot, self.timeout):
                self._driver.opened(slot)
        except BaseException:
            self._driver.close(conn)
            raise
        return slot

    def _add(self, attempt: object, slot: Slot) -> None:
        if slot.channel is not None:
            self._peer = slot.channel.peer() or self._peer
        slot.released_at = self._clock()
        with self._lock:
            self._opening.pop(attempt, None)
            self._slots.add(slot)
            self.tally.add("opened")
            self.breaker.succeeded()
        self._idle.append(slot)
        self._settle()

    def _give_up(self, attempt: object, error: BaseException) -> bool:
        """Note a failed attempt to connect; True when there shall be no further one."""
        is_final = self._driver.is_final(error)
        with self._lock:
            self._last_error = error
            self.tally.add("failed")
            self.breaker.failed(self._opening.get(attempt, self._clock()))
            if is_final:
                self._fail_waiters(error)
            elif self.breaker.is_open:
                self._fail_waiters(None)
            is_probe = self.breaker.is_open and len(self._opening) == 1
            ends = is_final or self._state != _RUNNING or not (self._waiters or is_probe)
            if ends:
                self._opening.pop(attempt, None)
        return ends

    def _fail_waiters(self, error: BaseException | None) -> None:
        """Wake all waiters, with `error` or with the news that the server is gone; called under the lock."""
        while self._waiters:
            self._waiters.popleft().fail(error or self._unreachable())
            error = error and _copied(error)

    def _discard(self, slot: Slot, reason: str) -> None:
        """Close a connection that nobody holds; only then is there room for another one."""
        self._close(slot)
        with self._lock:
            if slot in self._slots:
                self._slots.remove(slot)
                self._closed_uses += slot.uses
                self.tally.add("closed_cut" if reason in _CUTS else f"closed_{reason}")
                self._plan(len(self._waiters))

    def _close(self, slot: Slot) -> None:
        self._driver.close(slot.conn)
        if slot.channel is not None:
            slot.channel.close()

    # --- liveness -------------------------------------------------------------------------------------------------

    def _checked(self, slot: Slot) -> Slot | None:
        """Return the slot if its connection is alive, else another idle one that is, else None."""
        while True:
            try:
                reason = self._fault(slot, self._clock())
            except BaseException:
                self._discard(slot, "dead")
                raise
            if not reason:
                return slot
            self._discard(slot, reason)
            try:
                slot = self._idle.pop()
            except IndexError:
                return None

    def _fault(self, slot: Slot, now: float) -> str:
        if now >= slot.expires_at or slot.doom:
            return slot.doom or "lifetime"
        if slot.released_at <= self._suspected_at or now - slot.released_at > PING_AFTER_S:
            return "" if self._answers(slot) else "dead"
        state = slot.channel.state() if slot.channel else ALIVE
        if state == READABLE:  # a notice, or a FATAL before the end of the stream
            state = ALIVE if self._answers(slot) else state
        if state == ALIVE:
            return ""
        self._suspected_at = now
        return "dead"

    def _answers(self, slot: Slot) -> bool:
        """Make a round trip within PING_S."""
        started = self._clock()
        try:
            with self._eyes_on(slot, PING_S):
                if slot.channel is not None and slot.channel.state() == DEAD:
                    raise PoolError("the server hung up")
                self._driver.ping(slot)
        except Exception:
            self._suspected_at = max(self._suspected_at, started)
            if self._clock() - started >= PING_S:
                self._evict_idle(started)
                self._question([])
            return False
        return not slot.doom

    @contextmanager
    def _eyes_on(self, slot: Slot, limit: float) -> Iterator[None]:
        """Have the keeper cut the connection off when the block takes longer than `limit`."""
        slot.limit, slot.since = limit, self._clock()
        self._checking[slot] = slot.since
        keeper.wake()
        try:
            yield
        finally:
            slot.since, slot.limit = 0.0, self.statement_limit
            self._checking.pop(slot, None)

    def _evict_idle(self, before: float) -> None:
        """Close what was idle when another connection fell silent: pinging each would cost its own deadline."""
        for slot in self._idle.copy():
            if slot.released_at <= before and self._claim(slot):
                self._discard(slot, "dead")

    def _claim(self, slot: Slot) -> bool:
        """Take a certain slot out of the stack; False when somebody was faster."""
        try:
            self._idle.remove(slot)
        except (ValueError, IndexError):
            return False
        return True

    # --- care, by the keeper's thread -----------------------------------------------------------------------------

    def tend(self, is_due: bool) -> bool:
        """Cut what is overdue, ask after what is suspicious, and maintain if `is_due`; True while anything is busy."""
        now = self._clock()
        self._cut_overdue(now)
        self._watch_opening(now)
        if is_due:
            self._maintain(now)
        return bool(self._taken or self._checking or self._opening)

    def _running(self) -> list[Slot]:
        return [slot for slot in (*self._taken.copy().values(), *self._checking.copy()) if slot.since]

    def _cut_overdue(self, now: float) -> None:
        suspects = []
        for slot in self._running():
            since = slot.since
            if since and now - since > slot.limit:
                self._cut(slot, since, "overdue")
            elif since and now - since > _SUSPECT_AFTER_S:
                suspects.append(slot)
        if suspects:
            self._question(suspects)

    def _question(self, suspects: Sequence[Slot]) -> None:
        """Ask after the server in a thread of its own, unless that was done a moment ago."""
        if self._clock() >= self._next_question:
            self._next_question = inf
            self._start(partial(self._ask_after, suspects))

    def _cut(self, slot: Slot, since: float, reason: str) -> None:
        """Free the thread that hangs in a statement begun at `since`, unless it has ended meanwhile.

        The doom is set first: should the statement end between the second look and the cut, then the connection is
        not lent to anybody else.
        """
        slot.doom = reason
        if slot.since != since:
            slot.doom = ""
            return
        if slot.channel is not None:
            slot.channel.cut()
        with self._lock:
            self.tally.add(f"cut_{reason}")

    def _ask_after(self, suspects: Sequence[Slot]) -> None:
        """Find out why statements take long: a slow statement is left alone, a dead server or way is not."""
        begun = {slot: slot.since for slot in suspects}
        try:
            if self._is_silent():
                self._silenced()
            elif suspects:
                for slot in self._find_lost([slot for slot in suspects if slot.since == begun[slot]]):
                    self._lose(slot, begun[slot])
        except Exception as error:
            logger.warning("pool %r: could not ask after slow statements: %s", self.name, type(error).__name__)
        finally:
            self._next_question = self._clock() + _ASK_EVERY_S

    def _is_silent(self) -> bool:
        """Tell whether the server is mute: two knocks unanswered, and not a byte for anybody meanwhile."""
        began = self._clock()
        if not self._peer or any(self._driver.knock(self._peer) != SILENT for _ in range(2)):
            return False
        took = self._clock() - began
        quiet = [slot.channel.quiet_s() for slot in self._running() if slot.channel]
        return all(seconds is None or seconds >= took for seconds in quiet)

    def _find_lost(self, suspects: Sequence[Slot]) -> list[Slot]:
        """Ask the server about statements of which not a byte has come back.

        Through an idle connection if there is one, else through one more: all others may hang.
        """
        now = self._clock()
        mute = [slot for slot in suspects if slot.channel and (slot.channel.quiet_s() or 0.0) >= now - slot.since]
        if not mute:
            return []
        with self._asker() as asker, self._eyes_on(asker, _QUESTION_S):
            return self._driver.find_lost(asker, mute)

    @contextmanager
    def _asker(self) -> Iterator[Slot]:
        try:
            slot = self._checked(self._idle.pop())
        except IndexError:
            slot = None
        asker = slot or self._new_slot()
        try:
            yield asker
        except BaseException:
            self._discard(asker, "dead")
            raise
        finally:
            if asker not in self._slots:
                self._close(asker)
            else:
                self._idle.append(asker)
                self._settle()

    def _lose(self, slot: Slot, since: float) -> None:
        self._suspected_at = self._clock()
        if since:
            self._cut(slot, since, "lost")

    def _silenced(self) -> None:
        """Act on a server that is confirmed not to answer: nobody shall hang on it, and one probe goes on asking."""
        running = self._running()
        logger.warning("pool %r: the server does not answer; %d statements are cut off", self.name, len(running))
        with self._lock:
            self.breaker.trip()
            self._fail_waiters(None)
            self._plan(1)
        self._suspected_at = self._clock()
        for slot in running:
            if since := slot.since:
                self._cut(slot, since, "silence")
        self._evict_idle(self._suspected_at)

    def _watch_opening(self, now: float) -> None:
        with self._lock:
            if self._opening and now - min(self._opening.values()) > _OPEN_PATIENCE_S and not self.breaker.is_open:
                self.breaker.trip()
                self._fail_waiters(None)

    def _maintain(self, now: float) -> None:
        self._reclaim()
        self._report_leaks(now)
        for slot in self._idle.copy():
            is_idle = now - slot.released_at > self.max_idle and len(self._slots) > self.min_size
            reason = "lifetime" if now >= slot.expires_at else "idle" if is_idle else ""
            if reason and self._claim(slot):
                self._discard(slot, reason)
            elif now - max(slot.released_at, slot.pinged_at) > self.keepalive and self._claim(slot):
                self._start(partial(self._keep_alive, slot))
        with self._lock:
            if not self.breaker.is_open:
                self._plan(self.min_size - len(self._slots))

    def _keep_alive(self, slot: Slot) -> None:
        """Make a round trip, for the sake of every firewall on the way; it is no use, so the idle time goes on."""
        if self._answers(slot):
            slot.pinged_at = self._clock()
            self._idle.appendleft(slot)
            self._settle()
        else:
            self._discard(slot, "dead")

    def _reclaim(self) -> None:
        """Take back what dead threads hold; closed, for a cursor of it may have been handed to a living one."""
        for conn, slot in self._taken.copy().items():
            if self._driver.is_abandoned(slot) and self._taken.pop(conn, None) is not None:
                self._discard(slot, "owner_died")

    def _report_leaks(self, now: float) -> None:
        for slot in self._taken.copy().values():
            owner = slot.owner
            if owner is None or slot.is_reported or now - slot.taken_at < self.leak_after:
                continue
            slot.is_reported = True
            with self._lock:
                self.tally.add("leaks")
            text = "pool %r: a connection has been held for %.0f s by thread %s; its stack now:\n%s"
            logger.warning(text, self.name, now - slot.taken_at, owner.name, stack_of(owner))

    # --- steering -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Do nothing: a pool opens its connections when they are asked for (Django calls this)."""

    def resize(self, min_size: int, max_size: int | None = None) -> None:
        """Change the size; what is lent comes back first."""
        self.min_size = min_size
        self.max_size = self.max_size if max_size is None else max_size
        for slot in self._idle.copy():
            if len(self._slots) > self.max_size and self._claim(slot):
                self._discard(slot, "surplus")
        self._settle()

    def evict(self) -> None:
        """Replace every connection: idle ones now, lent ones when they come back."""
        with self._lock:
            for slot in self._slots:
                slot.doom = "evicted"
        for slot in self._idle.copy():
            if self._claim(slot):
                self._discard(slot, "evicted")

    def suspend(self) -> None:
        """Lend nothing until resume(): those who ask wait, up to their timeout."""
        self._change(_RUNNING, _SUSPENDED)

    def resume(self) -> None:
        """End suspend()."""
        self._change(_SUSPENDED, _RUNNING)
        self._settle()

    def _change(self, old: int, new: int) -> None:
        with self._lock:
            if self._state == old:
                self._state = new

    def close(self) -> None:
        """Close idle connections now, lent ones when they come back, and fail whoever waits. Does not block."""
        self._reclaim()
        with self._lock:
            self._state = _CLOSED
            self._stop.set()
            while self._waiters:
                self._waiters.popleft().fail(self._error(PoolClosed, "it was closed while you waited"))
            for slot in self._slots:
                slot.doom = "closed"
        self._settle()

    def forget(self) -> None:
        """Start empty in a forked child. What was inherited is never touched again, not even to close it."""
        if self._pid != os.getpid():
            self._inherited.update({slot.conn: slot for slot in self._slots.copy()})
            state = self._state
            self._reset()
            self._state = state

    @property
    def is_closed(self) -> bool:
        """Tell whether close() was called."""
        return self._state == _CLOSED

    # --- figures --------------------------------------------------------------------------------------------------

    def level(self) -> Level:
        """Return what the pool looks like now."""
        size, in_use = len(self._slots), len(self._taken)
        return Level(self.max_size, size, in_use, len(self._idle), len(self._waiters), self.breaker.state)

    def get_stats(self) -> dict[str, int]:
        """Return the counters since the process began, and the levels now, by psycopg_pool's names and our own."""
        level, totals = self.level(), self.tally.totals
        return {
            "pool_min": self.min_size,
            "pool_max": level.max_size,
            "pool_size": level.size,
            "pool_available": level.idle,
            "requests_waiting": level.waiting,
            "requests_num": self.uses(),
            "requests_queued": totals["queued"],
            "requests_errors": totals["timeouts"] + totals["refused"],
            "connections_num": totals["opened"] + totals["failed"],
            "connections_errors": totals["failed"],
            "connections_lost": totals["closed_dead"],
            "returns_bad": totals["closed_broken"],
            **{name: count for name, count in totals.items() if name.startswith(("closed_", "cut_", "leaks"))},
        }

    def uses(self) -> int:
        """Return how many connections were lent since the process began."""
        with self._lock:
            return self._closed_uses + sum(slot.uses for slot in self._slots)

    def _error(self, kind: type[PoolError], text: str) -> PoolError:
        return self._error_class(kind)(f"pool {self.name!r}: {text}")

    def _timed_out(self, waited: float) -> PoolError:
        remedy = "raise max_size or look for a leak"
        text = f"no connection after {waited:.2f} s ({self._describe()}); {remedy}"
        if self.breaker.failing_s():
            text = f"no connection after {waited:.2f} s ({self._describe()}); connecting fails{self._why()}"
        error = self._error(PoolTimeout, text)
        error.__cause__ = self._last_error if self.breaker.failing_s() else None
        return error

    def _unreachable(self) -> PoolError:
        text = f"the server has not answered for {self.breaker.failing_s():.1f} s ({self._describe()}){self._why()}"
        error = self._error(PoolTimeout, text)
        error.__cause__ = self._last_error
        return error

    def _why(self) -> str:
        lines = str(self._last_error or "").strip().splitlines()
        return f": {clean(lines[0])}" if lines else ""

    def _describe(self) -> str:
        level = self.level()
        return f"max {level.max_size}, in use {level.in_use}, waiting {level.waiting}{self._oldest()}"

    def _oldest(self) -> str:
        held = [slot for slot in self._taken.copy().values() if slot.owner is not None]
        if not held:
            return ""
        slot = min(held, key=lambda slot: slot.taken_at)
        owner = slot.owner
        if owner is None:
            return ""
        place = current_place(owner)
        return f", oldest held {self._clock() - slot.taken_at:.1f} s by thread {owner.name}{place and f' at {place}'}"


def _start_thread(target: Callable[[], None]) -> None:
    Thread(target=target, name="django_perf pool worker", daemon=True).start()


def _copied(error: BaseException) -> BaseException:
    """Return a copy for one thread: a shared exception would gather the tracebacks of all."""
    try:
        copy = type(error)(*error.args)
    except Exception:
        copy = PoolError(str(error))
    copy.__cause__ = error
    return copy
