"""Time every request, from the first middleware to the last byte handed to the server."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter_ns, thread_time_ns
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core import mail
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..conf import Settings, get_settings
from ..metrics.guard import count_fault
from ..metrics.recorder import recorder
from ..metrics.trace import Trace, current
from .measure import Meter

logger = logging.getLogger("django_perf")


class TimingMiddleware:
    """Measure requests and what they do; put it first in MIDDLEWARE, so that it sees all the others.

    Sync and async. A fault of its own never changes a response: it is counted, and the request goes on. Raises
    MiddlewareNotUsed, which takes it out of the chain, when ENABLED is False or the settings are wrong: gunicorn
    runs no system checks, so the latter is said once, at CRITICAL, and the site serves.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._meter = Meter(recorder, _usable_settings())
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        # This process serves requests: from here on it measures. Management commands never build a middleware chain.
        recorder.enabled = recorder.enabled or not _is_under_test()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._acall(request)
        try:
            trace = Trace(perf_counter_ns(), thread_time_ns())
            trace.request = request
            recorder.running.add(trace)
        except Exception as fault:
            count_fault("start of a request", fault)
            return cast(HttpResponseBase, self.get_response(request))
        token = current.set(trace)
        try:
            response = cast(HttpResponseBase, self.get_response(request))
        except BaseException as error:
            self._fail(request, trace, error)
            raise
        finally:
            current.reset(token)
        try:
            self._meter.finish(request, response, trace)
        except Exception as fault:
            count_fault("end of a request", fault)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        try:
            # No CPU time: coroutines share their thread.
            trace = Trace(perf_counter_ns())
            trace.request = request
            recorder.running.add(trace)
        except Exception as fault:
            count_fault("start of a request", fault)
            return await cast(Awaitable[HttpResponseBase], self.get_response(request))
        token = current.set(trace)
        try:
            response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        except BaseException as error:
            self._fail(request, trace, error)
            raise
        finally:
            current.reset(token)
        try:
            self._meter.finish(request, response, trace)
        except Exception as fault:
            count_fault("end of a request", fault)
        return response

    def _fail(self, request: HttpRequest, trace: Trace, error: BaseException) -> None:
        try:
            self._meter.fail(request, trace, error)
        except Exception as fault:
            count_fault("end of a request", fault)


def _usable_settings() -> Settings:
    try:
        settings = get_settings()
    except ImproperlyConfigured as error:
        logger.critical("django_perf is off: %s", error)
        raise MiddlewareNotUsed("the settings of django_perf are wrong") from error
    if not settings.enabled:
        raise MiddlewareNotUsed("DJANGO_PERF['ENABLED'] is False")
    return settings


def _is_under_test() -> bool:
    """Tell whether setup_test_environment() has run: host test suites shall see no thread, connection or query."""
    return hasattr(mail, "outbox")
