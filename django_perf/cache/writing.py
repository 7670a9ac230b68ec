"""Write through the cache, or behind it: keep the entries of saved rows, add up increments."""

from __future__ import annotations

import atexit
import logging
import os
import time
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from threading import Event, Lock, Thread
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseError
from django.db.models import Case, F, Model, Value, When
from django.db.models.signals import post_delete, post_save

from .computing import Policy
from .decorators import multilevel
from .pending import on_commit

logger = logging.getLogger("django_perf")

_BATCH = 500


class WriteThrough:
    """Keep an entry for every saved instance of a model, so that the next read is a hit.

    `key` makes the entry's key of an instance, `serializer` its value. After the commit the row is read anew under a
    lease: of two writers the later one wins, whichever comes to the cache first. Deleting an instance forgets its
    entry.
    """

    def __init__(
        self,
        model: type[Model],
        key: Callable[[Any], str],
        serializer: Callable[[Any], Any],
        ttl: float | None = 300,
        alias: str = "default",
    ) -> None:
        self.model, self.key, self.serializer, self.alias = model, key, serializer, alias
        self._policy = Policy(ttl)
        uid = f"django_perf.cache.through.{model._meta.label}.{alias}.{id(self)}"
        post_save.connect(self._saved, model, weak=False, dispatch_uid=f"{uid}.saved")
        post_delete.connect(self._deleted, model, weak=False, dispatch_uid=f"{uid}.deleted")

    def _saved(self, instance: Model, using: str | None = None, **kwargs: Any) -> None:
        key = self.key(instance)
        on_commit({f"{self.alias}:key:{key}"}, partial(self._store, key, instance.pk, using), using)

    def _deleted(self, instance: Model, using: str | None = None, **kwargs: Any) -> None:
        key = self.key(instance)
        on_commit({f"{self.alias}:key:{key}"}, partial(self._forget, key), using)

    def _forget(self, key: str) -> None:
        cache = multilevel(self.alias)
        if cache is not None:
            cache.delete(key)

    def _store(self, key: str, pk: Any, using: str | None) -> None:
        cache = multilevel(self.alias)
        if cache is None:
            return
        # Ends the lease of a writer that has read the row before this commit.
        cache.delete(key)
        rows = self.model._default_manager.using(using)

        def compute() -> Any:
            return self.serializer(rows.get(pk=pk))

        cache.levels.computing.refresh(cache.physical(key), compute, self._policy)


class BufferedCounter:
    """Add up increments of a column in this process, and write them every `interval` seconds in few statements.

    What is not written yet is lost when the process is killed (SIGKILL): at most `interval` seconds of it. A clean end,
    SIGTERM included, writes what is left. A failed write is repeated with the next one; a COMMIT whose answer was lost
    counts twice. Thread-safe; a forked child starts with nothing, its parent keeps what it has.
    """

    def __init__(
        self, model: type[Model], field: str, *, interval: float = 5.0, most: int = 1_000, using: str = DEFAULT_DB_ALIAS
    ) -> None:
        self.model, self.field, self.interval, self.most, self.using = model, field, interval, most, using
        self._forget_parent()
        _counters.add(self)

    def _forget_parent(self) -> None:
        self._lock = Lock()
        self._writing = Lock()
        self._wake = Event()
        self._counts: Counter[Any] = Counter()
        self._pid = 0
        self._is_ended = False

    def add(self, pk: Any, number: int = 1) -> None:
        """Add to the column of a row; a row that does not exist is passed over when it is written."""
        with self._lock:
            self._counts[pk] += number
            is_full = len(self._counts) >= self.most
        if self._pid != os.getpid():
            self._start()
        if is_full:
            self._wake.set()

    def pending(self, pk: Any) -> int:
        """Return what this process has not written yet."""
        return self._counts.get(pk, 0)

    def flush(self) -> int:
        """Write what has gathered; returns the number of rows. Raises the database's errors, and keeps what failed."""
        with self._writing:
            with self._lock:
                counts, self._counts = self._counts, Counter()
            written = 0
            items = [(pk, number) for pk, number in counts.items() if number]
            try:
                while written < len(items):
                    self._write(items[written : written + _BATCH])
                    written += _BATCH
            except BaseException:
                with self._lock:
                    self._counts.update(dict(items[written:]))
                raise
            return len(items)

    def _write(self, items: list[tuple[Any, int]]) -> None:
        cases = [When(pk=pk, then=Value(number)) for pk, number in items]
        rows = self.model._default_manager.using(self.using).filter(pk__in=[pk for pk, _ in items])
        rows.update(**{self.field: F(self.field) + Case(*cases, default=Value(0))})

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid() or self._is_ended:
                return
            self._pid = os.getpid()
        Thread(target=self._run, name="django_perf counter", daemon=True).start()
        atexit.register(self.close)

    def _run(self) -> None:
        while not self._is_ended:
            self._wake.wait(self.interval)
            self._wake.clear()
            self._flush_quietly()

    def _flush_quietly(self) -> None:
        try:
            self.flush()
        except DatabaseError as error:
            logger.warning("counter %s.%s: not written yet: %s", self.model._meta.label, self.field, error)
            time.sleep(min(1.0, self.interval))
        finally:
            connections[self.using].close()

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._is_ended = True
        self._wake.set()
        self._flush_quietly()


_counters: weakref.WeakSet[BufferedCounter] = weakref.WeakSet()


def _forget_parent() -> None:
    for counter in _counters:
        counter._forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
