"""Turn a finished request into measurements."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import cast

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from ..conf import Settings
from ..metrics.catalog import EXCEPTION, REQUEST
from ..metrics.recorder import Entry, recorder
from ..metrics.trace import Trace, current
from .endpoints import is_ignored, method_of, route_of, status_class
from .headers import set_response_time, set_server_timing
from .slow_log import log_slow_request
from .streaming import Body, follow


@dataclass(slots=True)
class Outcome:
    """Say how a request ended. An error is a 5xx or an unhandled exception, also in mid-stream; never a 4xx."""

    status: int
    sent_bytes: int
    is_error: bool
    is_aborted: bool = False


def start_request(is_async: bool) -> Trace:
    """Begin the trace of a request. CPU time is that of the thread, so a coroutine, which shares it, has none."""
    trace = Trace(time.perf_counter_ns(), None if is_async else time.thread_time_ns())
    recorder.start(trace)
    return trace


def finish_response(request: HttpRequest, response: HttpResponseBase, trace: Trace, settings: Settings) -> None:
    """Commit a complete response, or follow a streamed one to its end; set the headers."""
    duration_s = (time.perf_counter_ns() - trace.started_ns) / 1e9
    if response.streaming:
        _follow_stream(request, cast(StreamingHttpResponse, response), trace, settings)
    else:
        sent = len(cast(HttpResponse, response).content)
        status = response.status_code
        _commit(request, trace, Outcome(status, sent, status >= 500 or trace.error is not None), settings)
    if settings.response_time_header:
        set_response_time(response, duration_s)
    if settings.server_timing:
        set_server_timing(request, response, trace, duration_s)


def fail_request(request: HttpRequest, trace: Trace, error: BaseException, settings: Settings) -> None:
    """Commit a request whose exception leaves the middleware chain; a worker told to stop counts as aborted."""
    is_error = isinstance(error, Exception)
    trace.error = trace.error or type(error).__qualname__
    _commit(request, trace, Outcome(500, 0, is_error, is_aborted=not is_error), settings)


def note_exception(request: HttpRequest | None = None, **kwargs: object) -> None:
    """Remember the class of an exception that Django turns into a 500; receiver of got_request_exception."""
    trace, error = current.get(), sys.exc_info()[1]
    if trace is not None and error is not None:
        trace.error = type(error).__qualname__


def ignore_request() -> None:
    """Leave the current request out of every figure: django_perf's own pages."""
    trace = current.get()
    if trace is not None:
        trace.ignored = True


def _follow_stream(request: HttpRequest, response: StreamingHttpResponse, trace: Trace, settings: Settings) -> None:
    is_head = request.method == "HEAD"  # its body is never read, so nobody went away

    def finish(body: Body) -> None:
        trace.error = trace.error or body.error
        is_aborted = not (body.is_complete or body.error or is_head)
        is_error = response.status_code >= 500 or trace.error is not None
        _commit(request, trace, Outcome(response.status_code, body.sent_bytes, is_error, is_aborted), settings)

    follow(response, trace, finish)


def _commit(request: HttpRequest, trace: Trace, outcome: Outcome, settings: Settings) -> None:
    route, method = route_of(request), method_of(request)
    if trace.ignored or (settings.ignore_routes and is_ignored(route, settings.ignore_routes)):
        recorder.abandon(trace)
        return
    elapsed_ns = time.perf_counter_ns() - trace.started_ns
    recorder.finish(trace, (route, method), _entries(request, route, method, trace, outcome, elapsed_ns))
    if elapsed_ns >= settings.slow_request_seconds * 1e9:
        log_slow_request(request, (route, method), outcome.status, elapsed_ns / 1e9, trace.queries, trace.query_ns / 1e9)


def _entries(
    request: HttpRequest, route: str, method: str, trace: Trace, outcome: Outcome, elapsed_ns: int
) -> list[Entry]:
    cpu_ns = trace.cpu_started_ns and time.thread_time_ns() - trace.cpu_started_ns
    counters = (
        outcome.is_error,
        outcome.is_aborted,
        (cpu_ns or 0) // 1000,
        cpu_ns is not None,
        _received_bytes(request),
        outcome.sent_bytes,
        trace.queries,
        trace.query_ns // 1000,
    )
    key = (REQUEST.name, route, method, status_class(outcome.status))
    entries: list[Entry] = [(key, ((elapsed_ns + 500) // 1000,), counters, None)]
    if trace.error is not None:
        entries.append(((EXCEPTION.name, route, method, trace.error), (1,), (), None))
    return entries


def _received_bytes(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH")
    # A proxy may pass any text on; 18 digits fit every counter.
    return int(length) if length and len(length) < 18 and length.isascii() and length.isdecimal() else 0
