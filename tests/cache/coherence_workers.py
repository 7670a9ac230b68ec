"""A process of the coherence tests: it reads and writes in threads, and tells what it sees.

Commands arrive as lines of JSON, answers leave as such: see `main`. Values are versions that only grow. The key `k` of
a round has one owner, who knows what came last; the truth behind cached functions lies in Redis, past all caches.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event, Thread

import django
import redis
from django.conf import settings

LONGEST_PAUSE_S = 0.004
# All processes work on the keys around a place that moves on with the clock they share: nothing mends a key afterwards.
KEYS_PER_S, AROUND = 1_000, 4
PATIENCE_S = 10.0


def configure(options: dict) -> None:
    """Set Django up on the cache and the database of the test."""
    databases = {"default": options["database"]} if options.get("database") else {}
    settings.configure(CACHES={"default": options["cache"]}, DATABASES=databases, SECRET_KEY="coherence", USE_TZ=True)
    django.setup()


def pause() -> None:
    """Let others overtake."""
    time.sleep(random.uniform(0, LONGEST_PAUSE_S))


def paused_after(function: Callable) -> Callable:
    def slow(*args, **kwargs):
        answer = function(*args, **kwargs)
        pause()
        return answer

    return slow


def slow_down() -> None:
    """Pause between the steps of reads and writes: before a fill, and between Redis and the table."""
    from django_perf.cache.database import DatabaseLevel
    from django_perf.cache.redis import RedisLevel

    RedisLevel.read = paused_after(RedisLevel.read)
    DatabaseLevel.get_many = paused_after(DatabaseLevel.get_many)
    for name in ("set", "delete"):
        setattr(RedisLevel, name, paused_after(getattr(RedisLevel, name)))


def trust_every_fill() -> None:
    """Break the cache: fill memory with whatever was read, as a cache without tokens does."""
    from django_perf.cache.memory import Memory

    Memory.fill = lambda self, key, token, value, ttl, *, payload=None, meta=None: (
        self.put(key, value, ttl, payload=payload, meta=meta) or True
    )


class Storm:
    """Threads that read and write for a while."""

    def __init__(self, options: dict) -> None:
        from django.core.cache import cache

        from django_perf.cache import cache_result

        self.cache, self.keys = cache, options["keys"]
        self.mine, self.of = options["number"], options["processes"]
        self.source = redis.Redis.from_url(options["source"])
        self.last: dict[str, int] = {}
        self.errors: list[str] = []
        self.clears = options.get("clears", 0.0)
        self.is_over = False
        self.by_key = cache_result(600, key="by-key:{number}", fail_safe=0, early=0)(self._read_source)
        self.by_tag = cache_result(600, key="by-tag:{number}", tags="tag:{number}", fail_safe=0, early=0)(
            self._read_source
        )

    def _read_source(self, number: int) -> int:
        if self.is_over:
            raise LookupError("no cache has it")
        value = int(self.source.get(f"source:{number}") or 0)
        pause()
        return value

    def run(self, seconds: float, readers: int, writers: int) -> None:
        """Read and write in threads; returns when all have ended."""
        self.stop, self.is_over = Event(), False
        work = [self.read] * readers + [lambda part=part: self.write(part, writers) for part in range(writers)]
        threads = [Thread(target=self._until_stopped, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        self.stop.wait(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()

    def _until_stopped(self, work: Callable[[], None]) -> None:
        try:
            while not self.stop.is_set():
                work()
        except Exception as error:
            self.errors.append(repr(error))

    def read(self) -> None:
        """Read something in one of the ways that there are."""
        number = self._number()
        random.choice([self._get, self._get, self._get_many, self.by_key, self.by_tag])(number)

    def _number(self) -> int:
        return (int(time.monotonic() * KEYS_PER_S) + random.randint(-AROUND, AROUND)) % self.keys

    def _get(self, number: int) -> None:
        self.cache.get(f"k:{number}")

    def _get_many(self, number: int) -> None:
        self.cache.get_many([f"k:{(number + more) % self.keys}" for more in range(5)])

    def write(self, part: int, parts: int) -> None:
        """Write a key that is this thread's own, or invalidate what a function has returned."""
        from django_perf.cache import invalidate

        number = self._number()
        own = number - number % (self.of * parts) + self.mine * parts + part
        chance = random.random()
        if chance < 0.45:
            self.last[f"k:{own}"] = version = time.monotonic_ns()
            self.cache.set(f"k:{own}", version, 600)
        elif chance < 0.7:
            self.last[f"k:{own}"] = 0
            self.cache.delete(f"k:{own}")
        elif chance < 1 - self.clears:
            self.source.incr(f"source:{number}")
            self.by_key.invalidate(number)
            invalidate(f"tag:{number}")
        else:
            self.cache.clear()

    def fence(self) -> None:
        """Wait until the backplane has answered a PING that was sent after this call."""
        levels, asked = self.cache.levels, time.monotonic()
        while levels.backplane is not None and levels.namespace.trusted_until <= asked + 1.0:
            levels.head(time.monotonic())
            assert time.monotonic() < asked + PATIENCE_S, "the backplane is silent"
            time.sleep(0.002)

    def view(self) -> dict[str, int]:
        """Return what this process reads of every key that exists."""
        self.is_over = True
        found = self.cache.get_many([f"k:{number}" for number in range(self.keys)])
        return {**found, **dict(self._results())}

    def _results(self) -> Iterator[tuple[str, int]]:
        for number in range(self.keys):
            for name, function in (("by-key", self.by_key), ("by-tag", self.by_tag)):
                with suppress(LookupError):
                    yield f"{name}:{number}", function(number)

    def below(self) -> dict[str, int]:
        """Return what the shared levels hold, past memory."""
        keys = {self.cache.physical(f"k:{number}"): f"k:{number}" for number in range(self.keys)}
        found = self.cache.levels.shared.read_many(list(keys), [])
        return {keys[physical]: entry.value for physical, entry in found.items()}

    def counts(self) -> dict[str, int]:
        """Return what the cache has counted, and how much lies in memory."""
        memory = self.cache.levels.memory
        return {**self.cache.levels.tally.take().events, "in_memory": 0 if memory is None else len(memory)}


class Reader:
    """Read a few keys that another process writes again and again, and note the oldest value that was returned."""

    def __init__(self, options: dict) -> None:
        from django.core.cache import cache

        self.cache, self.keys = cache, options["keys"]
        self.oldest_s, self.reads, self.hits = 0.0, 0, 0
        self.stop = Event()

    def start(self, threads: int) -> None:
        self._threads = [Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            began = time.monotonic()
            written = self.cache.get(f"k:{random.randrange(self.keys)}")
            self.reads += 1
            if written is not None:
                self.hits += 1
                self.oldest_s = max(self.oldest_s, began - written)
            self.stop.wait(0.0005)

    def end(self) -> dict[str, float]:
        self.stop.set()
        for thread in self._threads:
            thread.join()
        counts = self.cache.levels.tally.take()
        from_memory = sum(reads.l1 for reads in counts.patterns.values())
        return {"oldest_s": self.oldest_s, "reads": self.reads, "hits": self.hits, "from_memory": from_memory}


class Writer:
    """Write the moment of writing into a few keys, again and again."""

    def __init__(self, options: dict) -> None:
        from django.core.cache import cache

        self.cache, self.keys = cache, options["keys"]
        self.longest_s = 0.0
        self.stop = Event()

    def start(self, threads: int) -> None:
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            began = time.monotonic()
            for number in range(self.keys):
                self.cache.set(f"k:{number}", time.monotonic(), None)
            self.stop.wait(0.005)
            # An unchanged key is this old without being stale.
            self.longest_s = max(self.longest_s, time.monotonic() - began)

    def end(self) -> dict[str, float]:
        self.stop.set()
        self._thread.join()
        return {"longest_s": self.longest_s}


def main() -> None:
    """Answer commands until there are no more."""
    options = json.loads(sys.argv[1])
    configure(options)
    if options.get("is_slow"):
        slow_down()
    if options.get("trusts_every_fill"):
        trust_every_fill()
    actor = {"storm": Storm, "reader": Reader, "writer": Writer}[options["role"]](options)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer = getattr(actor, name)(*arguments) if hasattr(actor, name) else None
        said = {"answer": answer, "errors": getattr(actor, "errors", []), "last": getattr(actor, "last", {})}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
