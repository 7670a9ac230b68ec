"""Turn a finished request into measurements. All of it is hot path: a call costs more here than a line."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from time import perf_counter_ns, thread_time_ns, time
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ..conf import Settings
from ..metrics.catalog import EXCEPTION, REQUEST
from ..metrics.recorder import Described, Recorder
from ..metrics.trace import Trace, current
from .endpoints import method_of, route_of, status_class
from .headers import may_see_timing, set_server_timing
from .slow_log import log_slow_request
from .streaming import Body, follow


class Meter:
    """Measure requests into `recorder`, as the settings say.

    An error is a 5xx or an unhandled exception, also in mid-stream behind a 200; never a 4xx. A client that goes away
    is counted apart, as aborted.
    """

    def __init__(self, recorder: Recorder, settings: Settings) -> None:
        self._recorder = recorder
        self._slow_ns = settings.slow_request_seconds * 1e9
        self._ignored = settings.ignore_routes
        self._sets_response_time = settings.response_time_header
        self._sets_server_timing = settings.server_timing

    def start(self, is_async: bool) -> Trace:
        """Begin the trace of a request. CPU time is that of the thread, so a coroutine, which shares it, has none."""
        trace = Trace(perf_counter_ns(), 0 if is_async else thread_time_ns())
        self._recorder.running.add(trace)
        return trace

    def finish(self, request: HttpRequest, response: HttpResponseBase, trace: Trace) -> None:
        """Commit a complete response, or follow a streamed one to its end; set the headers."""
        elapsed_ns = perf_counter_ns() - trace.started_ns
        if response.streaming:
            self._follow(request, cast(StreamingHttpResponse, response), trace)
        else:
            self._commit(request, trace, elapsed_ns, response.status_code, len(cast(HttpResponse, response).content))
        if self._sets_response_time:
            # Past HttpHeaders.__setitem__, which encodes and decodes name and value: a twelfth of our whole price.
            response.headers._store["x-response-time"] = ("X-Response-Time", f"{elapsed_ns / 1e9:.4f}s")
        if self._sets_server_timing and may_see_timing(request):
            set_server_timing(response, trace, elapsed_ns)

    def fail(self, request: HttpRequest, trace: Trace, error: BaseException) -> None:
        """Commit a request whose exception leaves the middleware chain; a worker told to stop counts as aborted."""
        is_error = isinstance(error, Exception)
        if is_error and trace.error is None:
            trace.error = type(error).__qualname__
        self._commit(request, trace, perf_counter_ns() - trace.started_ns, 500, 0, is_aborted=not is_error)

    def _follow(self, request: HttpRequest, response: StreamingHttpResponse, trace: Trace) -> None:
        is_head = request.method == "HEAD"  # its body is never read, so nobody went away

        def finish(body: Body) -> None:
            trace.error = trace.error or body.error
            is_aborted = not (body.is_complete or body.error or is_head)
            elapsed_ns = perf_counter_ns() - trace.started_ns
            self._commit(request, trace, elapsed_ns, response.status_code, body.sent_bytes, is_aborted)

        follow(response, trace, finish)

    def _commit(
        self,
        request: HttpRequest,
        trace: Trace,
        elapsed_ns: int,
        status: int,
        sent_bytes: int,
        is_aborted: bool = False,
    ) -> None:
        recorder = self._recorder
        recorder.running.discard(trace)
        if trace.ignored:
            return
        cpu_ns = thread_time_ns() - trace.cpu_started_ns if trace.cpu_started_ns else None
        received = request.META.get("CONTENT_LENGTH")
        raw = (request.resolver_match, request.method, status, elapsed_ns, cpu_ns, received, sent_bytes, is_aborted)
        recorder.finished.append((time(), trace, self._describe, raw))
        if recorder.needs_folding:
            recorder.fold()
        if elapsed_ns >= self._slow_ns and not self._is_ignored(route_of(request.resolver_match)):
            log_slow_request(request, status, elapsed_ns, trace)

    def _is_ignored(self, route: str) -> bool:
        return any(fnmatchcase(route, pattern) for pattern in self._ignored)

    def _describe(self, trace: Trace, raw: tuple[Any, ...]) -> Described | None:
        """Return key, microseconds and counters; called when the recorder folds, not in the request."""
        match, method, status, elapsed_ns, cpu_ns, received, sent_bytes, is_aborted = raw
        route = route_of(match)
        if self._ignored and self._is_ignored(route):
            return None
        if trace.error is not None:
            trace.add((EXCEPTION.name, trace.error), 1)
        # In the order of catalog.REQUEST.counters.
        counters = (
            (status >= 500 and not is_aborted) or trace.error is not None,
            is_aborted,
            (cpu_ns or 0) // 1000,
            cpu_ns is not None,
            _number(received),
            sent_bytes,
            trace.queries,
            trace.query_ns // 1000,
        )
        return (REQUEST.name, route, method_of(method), status_class(status)), (elapsed_ns + 500) // 1000, counters


def _number(length: str | None) -> int:
    """Read a Content-Length; a proxy may pass any text on, and 18 digits fit every counter."""
    return int(length) if length and len(length) < 18 and length.isascii() and length.isdecimal() else 0


def note_exception(**kwargs: object) -> None:
    """Remember the class of an exception that Django turns into a 500; receiver of got_request_exception."""
    trace, error = current.get(), sys.exc_info()[1]
    if trace is not None and error is not None:
        trace.error = type(error).__qualname__


def ignore_request() -> None:
    """Leave the current request out of every figure: django_perf's own pages."""
    trace = current.get()
    if trace is not None:
        trace.ignored = True
