"""Open the connections of a pool, and know whether the server answers at all."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from ..breaker import CircuitBreaker
from ..exceptions import PoolError
from .channel import UP
from .slot import Slot

if TYPE_CHECKING:
    from .pool import ConnectionPool

# An attempt to connect that hangs for so long is a failure, whatever comes of it later.
_PATIENCE_S = 2.0
# After so long its thread is taken for ended, whatever became of it.
_FORGOTTEN_S = 120.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _PROBE_PAUSE_S = 0.01, 0.25, 0.5
_JITTER = 0.1


class Opener:
    """Connect in threads of its own, never on that of a borrower, who may be served or give up meanwhile.

    An attempt goes on while somebody waits. After a second of failures the breaker opens: then one attempt goes on as
    the probe, and the others end. Everything that is said to be called under the lock means the pool's.
    """

    def __init__(self, pool: ConnectionPool, connect: Callable[[], Any], start: Callable[..., None] | None) -> None:
        self._pool = pool
        self._connect = connect
        self._start = start or _start_thread
        self.reset()

    def reset(self) -> None:
        """Forget all attempts; also in a forked child, which has none of the threads."""
        self.breaker = CircuitBreaker(clock=self._pool.clock)
        self.last_error: BaseException | None = None
        # Where the server is, for a knock at its door; known from the first connection.
        self.peer: tuple[int, Any] | None = None
        # When each attempt began; guarded by the lock, as the next two are.
        self.attempts: dict[object, float] = {}
        self._written_off: dict[object, float] = {}
        self._delayed: list[object] = []
        self._stop = Event()
        self._pid = os.getpid()

    def stop(self) -> None:
        """End all attempts soon."""
        self._stop.set()

    def plan(self, wanted: int) -> None:
        """Start as many attempts as `wanted` and the size allow; called under the lock."""
        if self.breaker.is_open:
            wanted = min(wanted, 1)
        # Counted anew each time: starting a thread may collect garbage, and that may return a connection.
        while len(self.attempts) < wanted and self._pool.room() > 0:
            attempt = object()
            self.attempts[attempt] = self._pool.clock()
            if not self.spawn(partial(self._run, attempt)):
                self._delayed.append(attempt)

    def spawn(self, call: Callable[[], None]) -> bool:
        """Run `call` in a thread of its own; False when there are no more, at exit or at a limit of the system."""
        try:
            self._start(call)
        except RuntimeError:
            return False
        return True

    def run_delayed(self) -> None:
        """Connect on this thread, where no other could be had."""
        while self._delayed:
            self._run(self._delayed.pop(), is_only=True)

    def drop_delayed(self) -> None:
        """Give up the attempts that no thread could be had for; called under the lock."""
        while self._delayed:
            self.attempts.pop(self._delayed.pop(), None)

    def write_off_hanging(self) -> bool:
        """Count attempts that hang as failed, and start another; True when there were any. Called under the lock.

        libpq can hang for seconds, and a probe must not wait for that. The threads end by themselves, at
        connect_timeout; there are never more of them than connections.
        """
        now = self._pool.clock()
        self._written_off = {one: since for one, since in self._written_off.items() if now - since < _FORGOTTEN_S}
        hanging = [attempt for attempt, began in self.attempts.items() if now - began > _PATIENCE_S]
        for attempt in hanging[: max(0, self._pool.max_size - len(self._written_off))]:
            del self.attempts[attempt]
            self._written_off[attempt] = now
        return bool(hanging)

    def _run(self, attempt: object, is_only: bool = False) -> None:
        """Connect, again and again while it is wanted, or just once."""
        pause, pid, stop = _FIRST_PAUSE_S, self._pid, self._stop
        while pid == os.getpid():
            try:
                slot = self.connect()
            except BaseException as error:
                if self._give_up(attempt, error, is_only):
                    return
                pause = min(2 * pause, _PROBE_PAUSE_S if self.breaker.is_open else _LONGEST_PAUSE_S)
                stop.wait(pause)
                self._begin_again(attempt)
            else:
                self._succeed(attempt, slot)
                return

    def connect(self) -> Slot:
        """Return a new connection, ready to be lent; raises what the driver raises."""
        pool = self._pool
        # A silent server makes libpq hang for seconds; a knock at its door does not.
        if self.breaker.is_open and self.peer and pool.driver.knock(self.peer) != UP:
            raise PoolError("the server does not answer")
        conn = self._connect()
        try:
            now = pool.clock()
            lifetime = pool.max_lifetime * (1 - _JITTER * random.random())  # noqa: S311 - no secret
            slot = Slot(conn, pool.driver.channel(conn), now, now + lifetime)
            with pool.watchdog.eyes_on(slot, pool.timeout):
                pool.driver.opened(slot)
        except BaseException:
            pool.driver.close(conn)
            raise
        return slot

    def _succeed(self, attempt: object, slot: Slot) -> None:
        if slot.channel is not None:
            self.peer = slot.channel.peer() or self.peer
        with self._pool.lock:
            self._written_off.pop(attempt, None)
            # One that was written off may find its place taken.
            has_place = self.attempts.pop(attempt, None) is not None or self._pool.room() > 0
            self.breaker.succeeded()
            if has_place:
                self._pool.admit(slot)
        if has_place:
            self._pool.lend(slot)
        else:
            self._pool.close_slot(slot)

    def _give_up(self, attempt: object, error: BaseException, is_only: bool) -> bool:
        """Note a failed attempt; True when there shall be no further one."""
        pool = self._pool
        is_final = pool.driver.is_final(error)
        with pool.lock:
            self.last_error = error
            pool.tally.add("failed")
            self.breaker.failed(self.attempts.get(attempt, pool.clock()))
            if is_final:
                pool.fail_waiters(error)
            elif self.breaker.is_open:
                pool.fail_waiters(None)
            is_probe = self.breaker.is_open and len(self.attempts) == 1
            is_wanted = attempt in self.attempts and (pool.has_waiters() or is_probe)
            if is_wanted and not (is_final or is_only or self._stop.is_set()):
                return False
            self.attempts.pop(attempt, None)
            self._written_off.pop(attempt, None)
            return True

    def _begin_again(self, attempt: object) -> None:
        with self._pool.lock:
            if attempt in self.attempts:
                self.attempts[attempt] = self._pool.clock()


def _start_thread(target: Callable[[], None]) -> None:
    Thread(target=target, name="django_perf pool worker", daemon=True).start()
