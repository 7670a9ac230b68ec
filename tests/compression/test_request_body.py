"""Bodies of requests are decoded within the site's limit, whatever the coding; anything else is a clear answer."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tracemalloc
import zlib

import brotli
import pytest
from django.http import HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from django_perf.compression import request_body
from django_perf.compression.codecs import zstd
from django_perf.conf import Compression
from django_perf.middleware import CompressionMiddleware

ENCODE = {"gzip": gzip.compress, "x-gzip": gzip.compress, "br": brotli.compress, "zstd": zstd.compress}
CODINGS = pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
LIMIT = 2_621_440
TEXT = "näme=" + "value " * 500


def send(body, coding, view=None, **options):
    """Return the answer to a POST with this body."""
    request = RequestFactory().post("/", body, content_type="application/x-www-form-urlencoded")
    request.META["HTTP_CONTENT_ENCODING"] = coding
    assert "content-encoding" in request.headers  # somebody above has looked
    middleware = CompressionMiddleware(view or echo, Compression(**{"request_decompression": True, **options}))
    return middleware(request)


def echo(request):
    assert "content-encoding" not in request.headers
    assert int(request.META["CONTENT_LENGTH"]) == len(request.body)
    return HttpResponse(request.body)


@pytest.mark.parametrize("coding", [*ENCODE, "GZIP", " br "])
def test_the_view_sees_the_body_as_it_was(coding):
    packed = ENCODE[coding.strip().lower()](TEXT.encode())
    assert send(packed, coding).content == TEXT.encode()
    assert send(packed, coding, lambda request: HttpResponse(request.POST["näme"])).content.startswith(b"value value")


@CODINGS
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_000_000, LIMIT])
def test_every_size_up_to_the_limit_is_taken(coding, size):
    body = (os.urandom(1_000) * (size // 1_000 + 1))[:size]
    assert send(ENCODE[coding](body), coding).content == body


@CODINGS
def test_one_byte_more_is_too_much(coding):
    answer = send(ENCODE[coding](bytes(LIMIT + 1)), coding)
    assert (answer.status_code, answer.content) == (413, b"The request body is too large.")


@CODINGS
def test_a_bomb_takes_no_more_memory_than_the_limit(coding):
    packed = ENCODE[coding](bytes(64 * 2**20))
    tracemalloc.start()
    try:
        assert send(packed, coding).status_code == 413
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT
    finally:
        tracemalloc.stop()


def test_what_is_too_large_in_its_coding_is_not_even_read(monkeypatch):
    monkeypatch.setattr(request_body, "_parts", lambda *args: pytest.fail("read"))
    assert send(os.urandom(LIMIT + 1), "gzip").status_code == 413


@CODINGS
def test_what_is_cut_short_or_damaged_is_a_400(coding):
    packed = ENCODE[coding](os.urandom(5_000))
    for broken in (packed[:-1], packed[: len(packed) // 2], b"", b"\0" * 50, packed + b"garbage", packed[5:]):
        assert send(broken, coding, lambda request: pytest.fail("the view was called")).status_code == 400


@pytest.mark.parametrize("coding", ["deflate", "gzip, gzip", "gzip,br", "compress", "x" * 10_000, "\n"])
def test_one_layer_of_a_known_coding_is_all(coding):
    answer = send(gzip.compress(b"x"), coding) if coding.strip() else send(b"x", coding, lambda r: HttpResponse("ok"))
    assert answer.status_code == (415 if coding.strip() else 200)
    assert answer.headers.get("Accept-Encoding") == ("br, gzip, zstd" if coding.strip() else None)


def test_members_and_frames_behind_one_another_are_one_body():
    assert send(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip").content == b"one two"
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    assert send(zstd.compress(b"one ") + skipped + zstd.compress(b"two"), "zstd").content == b"one two"


# Without the time in its head: processes of one run must agree on the names of their tests.
@pytest.mark.parametrize(
    ("coding", "member"), [("gzip", gzip.compress(b"", mtime=0)), ("zstd", b"\x50\x2a\x4d\x18" + bytes(4))]
)
def test_a_body_of_nothing_but_beginnings_is_refused_early(coding, member):
    assert send(member * 1_000, coding).content == b""
    answer = send(member * 1_001, coding)
    assert (answer.status_code, answer.content) == (400, b"The request body has too many members.")


def test_what_is_longer_than_it_said_is_refused(settings):
    request = RequestFactory().post("/", b"", content_type="text/plain")
    request._stream = io.BytesIO((b"\x50\x2a\x4d\x18" + (9_000).to_bytes(4, "little") + bytes(9_000)) * 300)
    request.META |= {"HTTP_CONTENT_ENCODING": "zstd", "CONTENT_LENGTH": ""}
    assert CompressionMiddleware(echo, Compression(request_decompression=True))(request).status_code == 413


@pytest.mark.parametrize("method", ["get", "head", "delete", "options"])
def test_a_request_without_a_body_passes_whatever_its_header_says(method):
    request = getattr(RequestFactory(), method)("/", headers={"content-encoding": "utf-8"})
    answer = CompressionMiddleware(lambda request: HttpResponse("ok"), Compression(request_decompression=True))(request)
    assert answer.status_code == 200


def test_a_window_that_browsers_would_refuse_is_refused():
    options = {zstd.CompressionParameter.window_log: 25, zstd.CompressionParameter.compression_level: 3}
    compressor = zstd.ZstdCompressor(options=options)
    packed = compressor.compress(os.urandom(1_000)) + compressor.flush()
    assert send(packed, "zstd").status_code == 400


def test_without_the_option_nothing_is_decoded():
    packed = gzip.compress(b"x")
    answer = send(packed, "gzip", lambda request: HttpResponse(request.body), request_decompression=False)
    assert answer.content == packed


def test_a_request_without_a_coding_is_left_alone():
    request = RequestFactory().post("/", {"a": "b"})
    request._stream = io.BytesIO(request._stream.read())
    view = CompressionMiddleware(
        lambda request: HttpResponse(request.POST["a"]), Compression(request_decompression=True)
    )
    assert view(request).content == b"b"


def test_the_limit_may_be_switched_off(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = None
    assert len(send(gzip.compress(bytes(2 * LIMIT)), "gzip").content) == 2 * LIMIT


def test_an_asynchronous_site_decodes_too():
    request = AsyncRequestFactory().post("/", zlib.compress(b"abc", wbits=31), content_type="text/plain")
    request.META["HTTP_CONTENT_ENCODING"] = "gzip"

    async def view(request):
        return HttpResponse(request.body)

    answer = asyncio.run(CompressionMiddleware(view, Compression(request_decompression=True))(request))
    assert answer.content == b"abc"
