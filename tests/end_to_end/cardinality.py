"""Send what no two clients send alike, and print what it cost as JSON: `python -m tests.end_to_end.cardinality`.

Real middleware, requests, responses and query timer; only the server and the database are left out. Nothing drains
the recorder meanwhile, as when the store does not answer.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "DJANGO_PERF_NO_SERVICES": "1"}

import django

django.setup()

import psutil  # noqa: E402
from django.db import connections  # noqa: E402
from django.db.backends.utils import CursorWrapper  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import override_settings  # noqa: E402

from django_perf.db.cursor import measured  # noqa: E402
from django_perf.metrics.catalog import ENDPOINT_QUERY, REQUEST, Kind  # noqa: E402
from django_perf.metrics.recorder import recorder  # noqa: E402
from django_perf.middleware import TimingMiddleware  # noqa: E402

# Every twentieth request is an error, and every tenth statement fails.
ERROR_EVERY, FAILURE_EVERY = 20, 10
STATEMENTS_PER_REQUEST = 100
WARM_UP = 200
EVERYTHING_IS_SLOW = {"SLOW_REQUEST_SECONDS": 1e-9}

Sender = Callable[[int], None]


class Refused(Exception):
    """What a failing statement raises."""


def send(middleware: TimingMiddleware, path: str, method: str = "GET", **headers: str) -> None:
    request = HttpRequest()
    request.path = request.path_info = path
    request.method = method
    request.META = headers
    middleware(request)


def answering() -> TimingMiddleware:
    """Return the middleware around a view that fails every twentieth time."""
    numbers = count(1)
    return TimingMiddleware(lambda request: HttpResponse(status=404 if next(numbers) % ERROR_EVERY else 500))


def urls(number: int) -> None:
    middleware = answering()
    for n in range(number):
        send(middleware, f"/wp-admin/{n:x}/setup.php")


def methods(number: int) -> None:
    middleware = answering()
    for n in range(number):
        send(middleware, "/", f"BREW{n}")


def headers(number: int) -> None:
    """Each is slow, so that its request id is looked at and logged."""
    with override_settings(DJANGO_PERF=EVERYTHING_IS_SLOW):
        middleware = answering()
    for n in range(number):
        send(middleware, "/", CONTENT_LENGTH=str(n), HTTP_X_REQUEST_ID=f"{n:012x}", HTTP_USER_AGENT=f"bot {n}")


def statements(number: int) -> None:
    """Literals and names of tables are distinct; each comes once inside a request and once outside of any."""
    texts = count()

    def query(text: int) -> None:
        cursor = measured(CursorWrapper, "default", "postgresql")(Refusing(text), connections["default"])
        with suppress(Refused):
            cursor.execute(f"SELECT {text} FROM table_{text:x} WHERE name = 'n{text}'")

    def view(request: HttpRequest) -> HttpResponse:
        for _ in range(STATEMENTS_PER_REQUEST):
            query(next(texts))
        return HttpResponse()

    middleware = TimingMiddleware(view)
    for _ in range(number // STATEMENTS_PER_REQUEST):
        send(middleware, "/")
    for n in range(number):
        query(n)


class Refusing:
    """Stand for the cursor of a driver."""

    rowcount = -1

    def __init__(self, text: int) -> None:
        self._text = text

    def execute(self, sql: str) -> None:
        if self._text % FAILURE_EVERY == 0:
            raise Refused


def totals(kind: Kind) -> dict[str, int]:
    """Return series, count and sums of the counters over all series of a kind, and empty the recorder."""
    tables = recorder.drain().values()
    found = [(key, series) for table in tables for key, series in table.items() if key[0] == kind.name]
    sums = map(sum, zip(*(series.counters for _, series in found), strict=True))
    return {
        "series": len({key for key, _ in found}),  # a run that crosses a minute holds them twice
        "count": sum(series.histogram.count for _, series in found),
        **dict(zip(kind.counters, sums, strict=True)),
    }


def resident() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def measure(sender: Sender, number: int, kind: Kind) -> dict[str, float]:
    """Warm up, then send; memory is what remains while the recorder still holds everything."""
    sender(WARM_UP)
    recorder.drain()
    before, started = resident(), time.monotonic()
    sender(number)
    return {"sent": number, "grown": resident() - before, "s": time.monotonic() - started, **totals(kind)}


def main() -> None:
    """Print one JSON object with an entry for each sort of flood."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=int, default=1_000_000)
    parser.add_argument("--others", type=int, default=100_000)
    options = parser.parse_args()
    logging.getLogger("django_perf").handlers = [logging.NullHandler()]
    logging.getLogger("django_perf").propagate = False
    recorder.wake = None  # no flusher: there is no store
    floods = [(urls, options.urls, REQUEST), (methods, options.others, REQUEST), (headers, options.others, REQUEST)]
    floods.append((statements, options.others, ENDPOINT_QUERY))
    print(json.dumps({sender.__name__: measure(sender, number, kind) for sender, number, kind in floods}))


if __name__ == "__main__":
    main()
