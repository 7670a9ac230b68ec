"""Read what was compressed with the reference decoders, and ask a middleware for one answer."""

from __future__ import annotations

import gzip
import zlib

import brotli
from asgiref.sync import async_to_sync
from django.test import RequestFactory

from django_perf.compression.middleware import CompressionMiddleware
from django_perf.conf import Compression

try:
    from compression import zstd
except ImportError:
    from backports import zstd

CODINGS = ("zstd", "br", "gzip")
# What a decoder makes of a whole body; each raises when the body is cut or followed by something foreign.
DECODERS = {"zstd": zstd.decompress, "br": brotli.decompress, "gzip": gzip.decompress, "identity": bytes}
DEFAULT = Compression()
PAGE = "".join(f"<li>Product {number}: grün, {number * 7 % 101} €</li>\n" for number in range(400)).encode()


class Reader:
    """A client that reads a body as it comes."""

    def __init__(self, coding):
        self._decoder = {
            "zstd": zstd.ZstdDecompressor,
            "br": brotli.Decompressor,
            "gzip": lambda: zlib.decompressobj(31),
        }[coding]()
        self._read = getattr(self._decoder, "decompress", None) or self._decoder.process

    def read(self, data):
        """Return what can be read now."""
        out = self._read(data) if data else b""
        if isinstance(self._decoder, brotli.Decompressor):  # since 1.2 it gives much of it only when asked again
            while more := self._decoder.process(b""):
                out += more
        return out

    @property
    def has_all(self):
        """Whether the end of the body was seen."""
        if isinstance(self._decoder, brotli.Decompressor):
            return self._decoder.is_finished()
        return self._decoder.eof


def decoded(response):
    """Return the body as the client sees it, whole."""
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return DECODERS[response.headers.get("Content-Encoding", "identity")](body)


def asked(accept="zstd, br, gzip", method="GET", **headers):
    """Return a request; a header is named as in Python: if_none_match."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return RequestFactory().generic(method, "/", headers={"accept-encoding": accept, **given})


def answered(response, request=None, options=DEFAULT):
    """Return what becomes of a response on its way out."""
    return CompressionMiddleware(lambda request: response, options)(request or asked())


def aanswered(response, request=None, options=DEFAULT):
    """Return the same from a site that runs under ASGI."""

    async def view(request):
        return response

    async def answer():
        return await CompressionMiddleware(view, options)(request or asked())

    return async_to_sync(answer)()
