"""Keep compressed bodies that are asked for again, compressed as hard as nobody would wait for.

An entry is found by the whole body, so it is right whoever asks. The second time that a process is asked for it, a body
goes out as always, and a thread compresses it anew behind the request. What is private, varies by cookie, or sets one,
is not kept.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict, deque
from functools import cache
from hashlib import blake2b

from django.core.cache import caches
from django.db import connections
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
_MAX_SEEN = 10_000


def is_shared(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Tell whether a response is the same for many, as far as its headers say."""
    headers = response.headers
    if request.method not in ("GET", "HEAD") or "Set-Cookie" in headers or response.cookies:
        return False
    control, vary = headers.get("Cache-Control", "").lower(), headers.get("Vary", "").lower()
    if "cookie" in vary or "authorization" in vary or "*" in vary:
        return False
    if request.META.get("HTTP_AUTHORIZATION") and "public" not in control:
        return False
    if "private" in control or "no-store" in control:
        return False
    is_public = "public" in control or "max-age" in control
    return "ETag" in headers or (is_public and not request.META.get("HTTP_COOKIE"))


_instances: weakref.WeakSet[Variants] = weakref.WeakSet()


class Variants:
    """Find and make compressed bodies in one of Django's caches. Thread-safe; a child starts with nothing waiting."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self.forget_parent()
        _instances.add(self)

    def forget_parent(self) -> None:
        """Begin with nothing waiting and no thread."""
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, str, bytes, Pad]] = deque(maxlen=_MAX_WAITING)
        self._is_running = False
        # Keys that were asked for once: a page that is another one each time is not worth the work.
        self._seen: OrderedDict[str, None] = OrderedDict()

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
        self._want(key, coding, body, pad)
        return None

    def _want(self, key: str, coding: str, body: bytes, pad: Pad) -> None:
        """Have a body compressed that is asked for the second time."""
        with self._lock:  # critical section: the thread ends only when nothing waits
            is_new = key not in self._seen
            self._seen[key] = None
            self._seen.move_to_end(key)
            if len(self._seen) > _MAX_SEEN:
                self._seen.popitem(last=False)
            if is_new:
                return
            self._waiting.append((key, coding, body, pad))
            must_start, self._is_running = not self._is_running, True
        if must_start:
            try:
                threading.Thread(target=self._run, name="django_perf variants", daemon=True).start()
            except RuntimeError:  # no more threads
                self._is_running = False

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                try:
                    self._make(*item)
                except Exception as fault:
                    count_fault("compression variants", fault)
            # Of a thread that ends nobody else closes the connections.
            caches[self._alias].close()
            connections.close_all()
        except Exception as fault:
            self._is_running = False
            count_fault("compression variants", fault)

    def _next(self) -> tuple[str, str, bytes, Pad] | None:
        with self._lock:
            if not self._waiting:
                self._is_running = False
                return None
            return self._waiting.popleft()

    def _make(self, key: str, coding: str, body: bytes, pad: Pad) -> None:
        cache = caches[self._alias]
        if cache.get(key) is None and cache.add(f"{key}:lease", 1, _LEASE_S):
            cache.set(key, background_codec(coding).encode(body, pad), _TIMEOUT_S)


@cache
def variants_in(alias: str) -> Variants:
    """Return the variants of a cache, which all middlewares and views share."""
    return Variants(alias)


def _forget_parent() -> None:
    for instance in _instances:
        instance.forget_parent()


os.register_at_fork(after_in_child=_forget_parent)
