"""Bodies that are shared are kept, compressed harder; nothing private is, and a cache that fails changes nothing."""

from __future__ import annotations

import threading
import time
from random import Random

import brotli
import pytest
from django.core.cache import cache, caches
from django.http import HttpResponse
from django.test import RequestFactory

from django_perf.compression import variants
from django_perf.conf import Compression
from django_perf.middleware import CompressionMiddleware

_WORDS = [
    "a",
    "page",
    "of",
    "words",
    "that",
    "come",
    "in",
    "no",
    "order",
    "but",
    "are",
    "few",
    "enough",
    "to",
    "be",
    "found",
    "again",
    "and",
    "again",
    "more",
]
BODY = " ".join(Random(1).choices(_WORDS, k=4_000)).encode()


@pytest.fixture(autouse=True)
def _no_variants():
    variants.variants_in.cache_clear()
    cache.clear()
    yield
    variants.variants_in.cache_clear()


def ask(headers, cookie=None, body=BODY, method="get"):
    middleware = CompressionMiddleware(
        lambda request: HttpResponse(body, headers=headers), Compression(variant_cache="default", max_padding=0)
    )
    request = getattr(RequestFactory(), method)("/", headers={"accept-encoding": "br"})
    if cookie:
        request.META["HTTP_COOKIE"] = cookie
    response = middleware(request)
    assert brotli.decompress(response.content) == body
    assert response.headers["Content-Length"] == str(len(response.content))
    return len(response.content)


def settled():
    """Wait until the thread has nothing to do."""
    deadline = time.monotonic() + 20
    while variants.variants_in("default")._is_running and time.monotonic() < deadline:
        time.sleep(0.01)


ETAG = {"ETag": '"1"'}
SHARED = [
    (ETAG, None),
    (ETAG, "session=1"),
    ({"Cache-Control": "public"}, None),
    ({"Cache-Control": "max-age=9"}, None),
]
NOT_SHARED = [
    ({}, None),
    ({"Cache-Control": "max-age=9"}, "session=1"),
    ({"Cache-Control": "private", **ETAG}, None),
    ({"Cache-Control": "no-store", **ETAG}, None),
    ({"Set-Cookie": "a=b", **ETAG}, None),
    ({"Vary": "Cookie", **ETAG}, None),
    ({"Vary": "*", **ETAG}, None),
]


@pytest.mark.parametrize(("headers", "cookie"), SHARED)
def test_what_is_shared_is_smaller_the_third_time(headers, cookie):
    first = ask(headers, cookie)
    settled()
    assert ask(headers, cookie) == first
    settled()
    assert ask(headers, cookie) < 0.95 * first


@pytest.mark.parametrize(("headers", "cookie"), NOT_SHARED)
def test_what_may_be_private_is_not_kept(headers, cookie):
    assert ask(headers, cookie) == ask(headers, cookie)
    settled()
    assert ask(headers, cookie) == ask(headers, cookie)
    assert list(cache.iter_keys("*variant*")) == []


def test_another_body_under_the_same_etag_is_another_entry():
    ask(ETAG)
    ask(ETAG)
    settled()
    other = BODY.replace(b"more", b"less")
    for _ in range(2):
        ask(ETAG, body=other)  # which is read again, and compared
        settled()
    assert sum(not key.endswith(":lease") for key in cache.iter_keys("*variant*")) == 2


def test_a_cache_that_fails_changes_nothing(monkeypatch):
    expected = ask(ETAG)
    assert ask(ETAG) == expected
    settled()
    monkeypatch.setattr(caches["default"], "get", lambda *args: 1 / 0)
    assert ask(ETAG) == expected


def test_what_is_too_large_or_waits_in_vain_is_sent_as_always(monkeypatch):
    monkeypatch.setattr(variants, "_MAX_BYTES", 10)
    assert ask(ETAG) == ask(ETAG)
    assert list(cache.iter_keys("*variant*")) == []


def test_pages_that_are_never_the_same_cost_no_thread():
    for number in range(30):
        ask(ETAG, body=BODY + b"%d" % number)
    assert not variants.variants_in("default")._is_running


def test_there_is_one_thread_however_many_ask(monkeypatch):
    may_go, names = threading.Event(), []

    def make(*item):
        names.append(threading.current_thread().name)
        may_go.wait(10)

    found = variants.variants_in("default")
    monkeypatch.setattr(found, "_make", make)
    for number in range(2 * 10):
        found._want(f"key{number % 10}", "br", b"", len)
    assert sum(thread.name == "django_perf variants" for thread in threading.enumerate()) == 1
    may_go.set()
    settled()
    assert len(names) == 10
