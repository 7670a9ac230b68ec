"""Remember what could not be written, and delete it as soon as its level is back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any

from .keys import to_bytes

if TYPE_CHECKING:
    from .guard import Guard
    from .shared import Shared

logger = logging.getLogger("django_perf")

_MAX_KEYS = 10_000
_BATCH = 500
_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 1.0
_ANY = ("ping",)


class Dirt:
    """Hold the keys that a level may have wrong. Thread-safe; beyond 10,000 of them all keys count as dirty."""

    def __init__(self) -> None:
        # Key -> the mark of the last time that it was noted.
        self._keys: dict[str, int] = {}
        self._lock = RLock()
        # Grows with every note; whoever is about to write or delete keys takes it before, for done().
        self.mark = 0
        self.is_everything = False

    def __bool__(self) -> bool:
        return bool(self._keys) or self.is_everything

    def __len__(self) -> int:
        return len(self._keys)

    def has(self, key: str) -> bool:
        """Tell whether the level may have this key wrong."""
        return self.is_everything or key in self._keys

    def add(self, keys: Iterable[str]) -> None:
        """Note keys."""
        with self._lock:
            self.mark += 1
            for key in keys:
                self._keys[key] = self.mark
            if self.is_everything or len(self._keys) > _MAX_KEYS:
                self.add_everything()

    def add_everything(self) -> None:
        """Note all keys."""
        with self._lock:
            self.mark += 1
            self.is_everything = True
            self._keys.clear()

    def done(self, keys: Iterable[str], mark: int) -> None:
        """Forget keys that have been written or deleted, but for what was noted after that mark."""
        if self._keys:
            with self._lock:
                for key in keys:
                    if self._keys.get(key, mark + 1) <= mark:
                        del self._keys[key]

    def some(self) -> list[str]:
        """Return the oldest keys."""
        with self._lock:
            return list(islice(self._keys, _BATCH))


class Repairs:
    """Mend both levels in a thread that lives while something is wrong; it also closes their breakers."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        # Called when Redis has come back, before anybody reads it again.
        self.on_return: Callable[[], None] = lambda: None
        # Called when nobody knows any more which keys are wrong: the cache has to be cleared.
        self.on_overflow: Callable[[], None] = lambda: None
        # Called with keys that have been deleted, when their level is back: the other processes may have to know.
        self.on_mended: Callable[[Sequence[str]], None] = lambda keys: None
        self.redis, self.table = Dirt(), Dirt()
        self._mended: list[str] = []
        self._lock = RLock()
        self._pid = 0
        # How often each level has failed to come back, and when it is asked next.
        self._failures: dict[str, tuple[int, float]] = {}

    def forget_parent(self) -> None:
        """Keep what is dirty: it is so for the child too, which mends it with a thread of its own."""
        self._lock = RLock()
        self._pid = 0
        for dirt in (self.redis, self.table):
            dirt._lock = RLock()
        if self._is_needed():
            self.start()

    def note(self, dirt: Dirt, keys: Iterable[str]) -> None:
        """Have keys deleted in a level that may have them wrong, whatever it was that it could not do."""
        dirt.add(keys)
        self.start()

    def note_everything(self) -> None:
        """Have all keys made unreachable, in every level that there is."""
        for guard, dirt in ((self._shared.redis, self.redis), (self._shared.table, self.table)):
            if guard is not None:
                dirt.add_everything()
        self.start()

    def start(self) -> None:
        """Begin to mend, unless this process does already."""
        with self._lock:  # critical section: one thread
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
        try:
            Thread(target=self._run, args=(self._pid,), name="django_perf cache repairs", daemon=True).start()
        except RuntimeError:  # no more threads: at exit, or at a limit of the system
            self._pid = 0

    def _run(self, pid: int) -> None:
        pause = Event()
        while pid == os.getpid():
            pause.wait(_PAUSE_S)
            try:
                self.mend()
            except Exception as error:
                logger.warning("cache: repairs failed: %r", error)
            with self._lock:
                if not self._is_needed():
                    self._pid = 0
                    return

    def _is_needed(self) -> bool:
        guards = (self._shared.redis, self._shared.table)
        return bool(self.redis or self.table or any(guard is not None and guard.is_open for guard in guards))

    def mend(self) -> None:
        """Ask the levels that are away, and delete in those that answer what is dirty there."""
        redis, table = self._shared.redis, self._shared.table
        if table is not None and (table.is_open or self.table):
            self._attempt(table, lambda: table.level.get_many(_ANY), self.mend_table, partial(self._back, table))
        if redis is not None and (redis.is_open or self.redis):
            # Twice: by the second answer the server has done what lay in the buffers of the connections given up.
            self._attempt(redis, redis.level.ping, redis.level.ping, self.mend_redis, partial(self._back, redis))
        if self.redis.is_everything or self.table.is_everything:
            self._start_over()

    def _attempt(self, guard: Guard[Any], *steps: Callable[[], object]) -> None:
        """Take the steps until one fails; a level that goes on failing, as without its table, is asked less often."""
        failures, not_before = self._failures.get(guard.name, (0, 0.0))
        if time.monotonic() < not_before:
            return
        try:
            for step in steps:
                step()
        except guard.errors as error:
            guard.failed(error)
            pause = min(_PAUSE_S * 2**failures, _LONGEST_PAUSE_S)
            self._failures[guard.name] = min(failures + 1, 8), time.monotonic() + pause
        else:
            self._failures.pop(guard.name, None)

    def _back(self, guard: Guard[Any]) -> None:
        if guard.is_open:
            self.on_return()
            guard.breaker.succeeded()
        self.tell_mended()

    def tell_mended(self) -> None:
        """Say what has been deleted; not before the level may be asked again."""
        mended, self._mended = self._mended, []
        if mended:
            self.on_mended(mended)

    def mend_redis(self) -> None:
        """Delete in Redis what is dirty there. Raises what redis-py raises."""
        assert self._shared.redis is not None
        mark = self.redis.mark
        while keys := self.redis.some():
            self._shared.redis.level.delete([to_bytes(key) for key in keys], self._shared.buried_ms)
            self.redis.done(keys, mark)
            self._mended += keys
            mark = self.redis.mark

    def mend_table(self) -> None:
        """Delete in the table what is dirty there. Raises what the database raises."""
        assert self._shared.table is not None
        mark = self.table.mark
        while keys := self.table.some():
            old = self._shared.table.level.get_many(keys)
            self._shared.table.level.delete_many(keys, now_us() if self._shared.redis is not None else None)
            self._shared.bury_old({key: row.value for key, row in old.items()})
            self.table.done(keys, mark)
            self._mended += keys
            mark = self.table.mark

    def _start_over(self) -> None:
        """Nobody knows which keys are wrong: make all of them unreachable, in every level that there is."""
        if not any(guard is not None and guard.is_open for guard in (self._shared.redis, self._shared.table)):
            marks = self.redis.mark, self.table.mark
            self.on_overflow()
            if marks == (self.redis.mark, self.table.mark):  # else even that could not be written
                self.redis.is_everything = self.table.is_everything = False


def now_us() -> int:
    """Return what orders a write that Redis could not stamp."""
    return int(time.time() * 1e6)
