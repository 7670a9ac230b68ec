"""The site's own list of what it served: one line `pid finished inner_ms outer_ms status path` per request.

One clock sits just inside TimingMiddleware and one around the whole application, so that its figure lies between the
two, however the threads are scheduled. The line is written, and dated, when the application has returned: by then
django_perf has committed the request, so a request that is dated before a flush began is in that flush.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Served:
    """One line of the list."""

    pid: int
    finished: float
    inner_ms: float
    outer_ms: float
    status: int
    path: str


class OwnClockMiddleware:
    """Time the request from inside TimingMiddleware, and say who answered."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        started = time.perf_counter_ns()
        response = self.get_response(request)
        request.META["inner_ms"] = (time.perf_counter_ns() - started) / 1e6
        response.headers["X-Pid"] = str(os.getpid())
        return response


def with_own_list(application, path):
    """Return a WSGI application that appends to the list; O_APPEND keeps the lines of all processes whole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def listed(environ, start_response):
        statuses = []

        def noting(status, headers, *rest):
            statuses.append(status[:3])
            return start_response(status, headers, *rest)

        started = time.perf_counter_ns()
        body = application(environ, noting)
        outer_ms, inner_ms = (time.perf_counter_ns() - started) / 1e6, environ["inner_ms"]
        line = f"{os.getpid()} {time.time()} {inner_ms} {outer_ms} {statuses[-1]} {environ['PATH_INFO']}\n"
        os.write(descriptor, line.encode())
        return body

    return listed


def read_own_list(path: Path) -> list[Served]:
    """Return what has been served, of all processes."""
    fields = [line.split() for line in path.read_text().splitlines()]
    return [
        Served(int(pid), float(at), float(inner), float(outer), int(status), path)
        for pid, at, inner, outer, status, path in fields
    ]
