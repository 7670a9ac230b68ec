"""Compress responses on their way out."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ..conf import Compression, get_settings
from ..metrics.guard import count_fault
from .compressor import Compressor
from .request_body import decode

logger = logging.getLogger("django_perf")

# Coroutines share a thread: whatever takes longer than a millisecond is done in another one.
_LARGE = 128 * 2**10


class CompressionMiddleware:
    """Compress responses by zstd, br or gzip, as the client likes and DJANGO_PERF["COMPRESSION"] says.

    Takes the place of Django's GZipMiddleware: near the top, above whatever looks at bodies or makes ETags. Sync and
    async. A fault of its own never changes a response: it is counted, and the response goes out as it came.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any], options: Compression | None = None) -> None:
        self.get_response = get_response
        options = options or _usable_options()
        self.compressor = Compressor(options)
        self._decodes = options.request_decompression
        # The cache of variants may be a server.
        self._asks = options.variant_cache is not None
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._acall(request)
        refused = self._refused(request)
        if refused is not None:
            return refused
        return self._processed(request, cast(HttpResponseBase, self.get_response(request)))

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        refused = None
        if self._decodes and "HTTP_CONTENT_ENCODING" in request.META:
            refused = await sync_to_async(decode, thread_sensitive=False)(request)
        if refused is not None:
            return refused
        response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        try:
            if not response.streaming and (self._asks or len(response.content) > _LARGE):  # type: ignore[attr-defined]
                return await sync_to_async(self._processed, thread_sensitive=False)(request, response)
        except Exception as fault:  # no more threads
            count_fault("compression", fault)
            return response
        return self._processed(request, response)

    def _refused(self, request: HttpRequest) -> HttpResponse | None:
        """Decode the request's body, if the site wants that; returns the answer to one that cannot be taken."""
        if self._decodes and "HTTP_CONTENT_ENCODING" in request.META:
            return decode(request)
        return None

    def _processed(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        try:
            self.compressor.process(request, response)
        except Exception as fault:
            count_fault("compression", fault)
        return response


def _usable_options() -> Compression:
    """Return the options; with wrong settings the site serves uncompressed, and the log and the checks say why."""
    try:
        return get_settings().compression
    except ImproperlyConfigured as error:
        logger.critical("CompressionMiddleware is off: %s", error)
        raise MiddlewareNotUsed("the settings of django_perf are wrong") from error
