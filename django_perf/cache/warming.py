"""Fill the cache before visitors come: after a deploy, or after Redis was emptied."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any

from django.db import connections

Call = Callable[[], Any]
Warmer = Callable[[int], Iterable[Call]]

_warmers: dict[str, Warmer] = {}


def warmer(function: Warmer) -> Warmer:
    """Register a function that yields what to call to fill the cache, the most wanted first.

    It is called with the number of calls that will be made at most; each yielded call fills one entry, and may be made
    in another thread: `yield partial(product_detail, pk)`.
    """
    _warmers[f"{function.__module__}.{function.__qualname__}"] = function
    return function


def warmers() -> list[str]:
    """Return the names of the registered functions."""
    return sorted(_warmers)


@dataclass(slots=True)
class Warmed:
    """What came of a warming: entries filled, calls that raised (with the first error of each warmer), seconds."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    errors: tuple[str, ...] = ()


def warm(top: int = 100, concurrency: int = 4, rate: float | None = None) -> Warmed:
    """Make the first `top` calls of every warmer, in `concurrency` threads and at most `rate` a second.

    Two machines that warm at once compute each entry once if the calls go through cache_result or get_or_set.
    """
    began, result, lock = time.monotonic(), Warmed(), Lock()
    errors: dict[str, str] = {}

    def make(job: tuple[str, Call]) -> None:
        name, call = job
        try:
            call()
        except Exception as error:
            with lock:
                result.failed += 1
                errors.setdefault(name, f"{name}: {type(error).__name__}: {error}")
        else:
            with lock:
                result.done += 1

    with ThreadPoolExecutor(concurrency, "django_perf warming") as threads:
        for _ in threads.map(make, _paced(_jobs(top), rate)):
            pass
        # Each thread has opened connections of its own; who else could close them?
        list(threads.map(lambda _: connections.close_all(), range(concurrency)))
    result.seconds, result.errors = time.monotonic() - began, tuple(errors.values())
    return result


def _jobs(top: int) -> Iterator[tuple[str, Call]]:
    for name in warmers():
        for call in islice(_warmers[name](top), top):
            yield name, call


def _paced(jobs: Iterable[tuple[str, Call]], rate: float | None) -> Iterator[tuple[str, Call]]:
    began = time.monotonic()
    for number, job in enumerate(jobs):
        if rate:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield job
