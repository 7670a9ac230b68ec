"""Keep compressed bodies that are asked for again, compressed as hard as nobody would wait for.

An entry is found by the whole body, so it is right whoever asks. The first time a body goes out as always, and a thread
compresses it anew behind the request. What is private, or sets a cookie, is not kept.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from functools import cache
from hashlib import blake2b

from django.core.cache import caches
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..metrics.guard import count_fault
from .codecs import Pad, background_codec

_PREFIX = "django_perf:variant"
_TIMEOUT_S = 86_400
# Brotli's 11 takes 0.1 s for 100 kB: larger bodies, and more than so many at a time, stay as they are.
_MAX_BYTES, _MAX_WAITING = 512 * 1024, 16
# One process of all compresses a body.
_LEASE_S = 60


def is_shared(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Tell whether a response is the same for many, as far as its headers say."""
    headers = response.headers
    if request.method not in ("GET", "HEAD") or "Set-Cookie" in headers or response.cookies:
        return False
    control = headers.get("Cache-Control", "").lower()
    if "private" in control or "no-store" in control:
        return False
    is_public = "public" in control or "max-age" in control
    return "ETag" in headers or (is_public and not request.META.get("HTTP_COOKIE"))


class Variants:
    """Find and make compressed bodies in one of Django's caches. Thread-safe; a child starts with nothing waiting."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._waiting: deque[tuple[str, str, bytes, Pad]] = deque(maxlen=_MAX_WAITING)
        self._pid = 0

    def get(self, coding: str, body: bytes, pad: Pad) -> bytes | None:
        """Return a body as it is kept; what is missing is there soon. A cache that fails has nothing."""
        if len(body) > _MAX_BYTES:
            return None
        key = f"{_PREFIX}:{coding}:{blake2b(body, digest_size=16).hexdigest()}"
        try:
            found = caches[self._alias].get(key)
        except Exception as fault:
            count_fault("compression variants", fault)
            return None
        if isinstance(found, bytes):
            return found
        self._waiting.append((key, coding, body, pad))
        self._start()
        return None

    def _start(self) -> None:
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        try:
            threading.Thread(target=self._run, name="django_perf variants", daemon=True).start()
        except RuntimeError:  # no more threads, at exit
            self._pid = 0

    def _run(self) -> None:
        while self._waiting:
            try:
                self._make(*self._waiting.popleft())
            except Exception as fault:
                count_fault("compression variants", fault)
        # Whoever appends now starts another thread; one that came before this line is made with the next body.
        self._pid = 0
        caches[self._alias].close()

    def _make(self, key: str, coding: str, body: bytes, pad: Pad) -> None:
        cache = caches[self._alias]
        if cache.get(key) is None and cache.add(f"{key}:lease", 1, _LEASE_S):
            cache.set(key, background_codec(coding).encode(body, pad), _TIMEOUT_S)


@cache
def variants_in(alias: str) -> Variants:
    """Return the variants of a cache, which all middlewares and views share."""
    return Variants(alias)
