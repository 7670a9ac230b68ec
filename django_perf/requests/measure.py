"""Turn a finished request into measurements. All of it is hot path: a call costs more here than a line."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from time import perf_counter_ns, thread_time_ns, time
from typing import cast

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ..conf import Settings
from ..metrics.callsite import raised_at
from ..metrics.endpoints import route_of
from ..metrics.guard import count_fault
from ..metrics.recorder import FOLD_AT, Recorder
from ..metrics.trace import Trace, current
from .headers import set_server_timing
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
        self._is_debug = django_settings.DEBUG

    def finish(self, request: HttpRequest, response: HttpResponseBase, trace: Trace) -> None:
        """Commit a complete response, or follow a streamed one to its end; set the headers."""
        elapsed_ns = perf_counter_ns() - trace.started_ns
        if response.streaming:
            self._follow(request, cast(StreamingHttpResponse, response), trace)
        else:
            sent_bytes = len(cast(HttpResponse, response).content)
            self._commit(request, trace, elapsed_ns, response.status_code, sent_bytes, False)
        if self._sets_response_time:
            # By integers: formatting a float is slow. And past HttpHeaders.__setitem__, which encodes and decodes.
            whole, rest = divmod((elapsed_ns + 50_000) // 100_000, 10_000)
            response.headers._store["x-response-time"] = ("X-Response-Time", f"{whole}.{rest:04d}s")
        if self._sets_server_timing and (self._is_debug or "_cached_user" in request.__dict__):
            set_server_timing(request, response, trace, elapsed_ns)

    def fail(self, request: HttpRequest, trace: Trace, error: BaseException) -> None:
        """Commit a request whose exception leaves the middleware chain; a worker told to stop counts as aborted."""
        is_error = isinstance(error, Exception)
        if is_error and trace.error is None:
            trace.error, trace.error_place = type(error).__qualname__, raised_at(error.__traceback__)
        self._commit(request, trace, perf_counter_ns() - trace.started_ns, 500, 0, not is_error)

    def _follow(self, request: HttpRequest, response: StreamingHttpResponse, trace: Trace) -> None:
        is_head = request.method == "HEAD"  # its body is never read, so nobody went away

        def finish(body: Body) -> None:
            trace.error = trace.error or body.error
            is_aborted = not (body.is_complete or body.error or is_head)
            elapsed_ns = perf_counter_ns() - trace.started_ns
            self._commit(request, trace, elapsed_ns, response.status_code, body.sent_bytes, is_aborted)

        follow(response, trace, finish)

    def _commit(
        self, request: HttpRequest, trace: Trace, elapsed_ns: int, status: int, sent_bytes: int, is_aborted: bool
    ) -> None:
        recorder, trace.is_over = self._recorder, True
        recorder.running.discard(trace)
        if trace.ignored:
            return
        if self._ignored and self._is_ignored(route_of(request.resolver_match)):
            return
        if trace.watch is not None:
            trace.watch.end(trace)
        trace.let_go()
        cpu_ns = thread_time_ns() - trace.cpu_started_ns if trace.cpu_started_ns else -1
        received = request.META.get("CONTENT_LENGTH")
        match, method = request.resolver_match, request.method
        finished = recorder.finished
        # In the order of folding.Finished.
        finished.append((time(), trace, match, method, status, elapsed_ns, cpu_ns, received, sent_bytes, is_aborted))
        if len(finished) >= FOLD_AT or recorder.is_asleep:
            recorder.fold()
        if elapsed_ns >= self._slow_ns:
            log_slow_request(request, status, elapsed_ns, trace)

    def _is_ignored(self, route: str) -> bool:
        return any(fnmatchcase(route, pattern) for pattern in self._ignored)


def note_exception(**kwargs: object) -> None:
    """Remember the class of an exception that Django turns into a 500; receiver of got_request_exception."""
    trace, error = current.get(), sys.exc_info()[1]
    if trace is not None and error is not None:
        trace.error = type(error).__qualname__
        try:
            trace.error_place = raised_at(error.__traceback__)
        except Exception as fault:
            count_fault("exception", fault)


def ignore_request() -> None:
    """Leave the current request out of every figure: django_perf's own pages."""
    trace = current.get()
    if trace is not None:
        trace.ignored = True
