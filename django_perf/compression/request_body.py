"""Decode the body of a request that comes in gzip, br or zstd, before anybody parses it.

A small body can hold a large one: what comes out is counted while it comes, whatever the coding, and no more than the
site allows is ever made.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Protocol

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from .codecs import brotli, zstd

# Their clients may send the header with every request; without a length there is nothing to read.
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_CHUNK = 64 * 1024
# A window above 8 MB is refused, as RFC 9659 has it for the other direction.
_MAX_WINDOW = 23
# Each begins a new decoder: a body of nothing but empty ones would take seconds.
_MOST_MEMBERS = 1_000
_BAD_REQUEST, _TOO_LARGE, _UNSUPPORTED = 400, 413, 415


class Refused(Exception):
    """A body that is not taken; the arguments are the status and a text for the client."""


class Decoder(Protocol):
    """Decode one body."""

    def feed(self, data: bytes, most: int) -> bytes:
        """Take bytes; returns what comes out of them, hardly more than `most`: the rest comes with feed(b"")."""

    @property
    def wants_more(self) -> bool:
        """Tell whether feed() would do nothing without more bytes."""

    @property
    def is_complete(self) -> bool:
        """Tell whether the body may end here."""


class _Framed:
    """Decode members of gzip, or frames of zstd, one behind the other, as their RFCs have it."""

    def __init__(self, make: Callable[[], Any], rest: Callable[[Any], bytes]) -> None:
        self._make, self._rest = make, rest
        self._inner = make()
        self._input = b""
        self._has_begun = False
        self._members = 1

    def feed(self, data: bytes, most: int) -> bytes:
        given, self._input = self._input + data, b""
        if self._inner.eof:
            if not given:
                return b""
            self._members += 1
            if self._members > _MOST_MEMBERS:
                raise Refused(_BAD_REQUEST, "The request body has too many members.")
            self._inner = self._make()
        self._has_begun = True
        out = bytes(self._inner.decompress(given, most))
        self._input = self._inner.unused_data if self._inner.eof else self._rest(self._inner)
        return out

    @property
    def wants_more(self) -> bool:
        return not self._input and (self._inner.eof or getattr(self._inner, "needs_input", True))

    @property
    def is_complete(self) -> bool:
        return self._has_begun and self._inner.eof and not self._input


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def feed(self, data: bytes, most: int) -> bytes:
        return bytes(self._inner.process(data, output_buffer_limit=most))

    @property
    def wants_more(self) -> bool:
        return bool(self._inner.can_accept_more_data())

    @property
    def is_complete(self) -> bool:
        return bool(self._inner.is_finished())


def _gzip() -> Decoder:
    return _Framed(lambda: zlib.decompressobj(wbits=31), lambda inner: bytes(inner.unconsumed_tail))


def _zstd() -> Decoder:
    options = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW}
    return _Framed(lambda: zstd.ZstdDecompressor(options=options), lambda inner: b"")


def _decoders() -> dict[str, Callable[[], Decoder]]:
    """Return the codings that can be read within a limit; brotli could not before its release 1.2."""
    found: dict[str, Callable[[], Decoder]] = {"gzip": _gzip, "x-gzip": _gzip}
    if zstd is not None:
        found["zstd"] = _zstd
    if brotli is not None and hasattr(brotli.Decompressor, "can_accept_more_data"):
        found["br"] = _Brotli
    return found


DECODERS = _decoders()
_ACCEPTED = ", ".join(sorted(set(DECODERS) - {"x-gzip"}))


def decode(request: HttpRequest) -> HttpResponse | None:
    """Decode the body in place; returns the answer to one that cannot be read, or is too large."""
    coding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    has_none = request.method in _BODILESS and request.META.get("CONTENT_LENGTH") in (None, "", "0", 0)
    # Somebody above us may have read it, as it is.
    if has_none or coding in ("", "identity") or getattr(request, "_read_started", False):
        return None
    try:
        body = _decoded(request, coding)
    except Refused as refusal:
        status, text = refusal.args
        headers = {"Accept-Encoding": _ACCEPTED} if status == _UNSUPPORTED else {}
        return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8", headers=headers)
    request._stream = BytesIO(body)
    request.META["CONTENT_LENGTH"] = str(len(body))
    del request.META["HTTP_CONTENT_ENCODING"]
    request.__dict__.pop("headers", None)  # made of META, perhaps before
    return None


def _decoded(request: HttpRequest, coding: str) -> bytes:
    """Return the whole body. Raises Refused."""
    if coding not in DECODERS:
        raise Refused(_UNSUPPORTED, "This Content-Encoding is not supported.")
    # None: the site wants no limit.
    limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    if limit is not None and _length(request) > limit:
        raise Refused(_TOO_LARGE, "The request body is too large.")
    decoder = DECODERS[coding]()
    parts, size = [], 0
    try:
        for part in _parts(request, decoder, limit):
            parts.append(part)
            size += len(part)
            if limit is not None and size > limit:
                raise Refused(_TOO_LARGE, "The request body is too large.")
    except Refused:
        raise
    except Exception as error:  # of whichever library: none of them says more than that it cannot be read
        raise Refused(_BAD_REQUEST, "The request body is damaged.") from error
    if not decoder.is_complete:
        raise Refused(_BAD_REQUEST, "The request body is cut short.")
    return b"".join(parts)


def _parts(request: HttpRequest, decoder: Decoder, limit: int | None) -> Iterator[bytes]:
    taken = 0
    # Past request.read(), after which Django lets nobody read the body any more.
    while data := request._stream.read(_CHUNK):
        taken += len(data)
        if limit is not None and taken > limit:  # its length may be unknown before, or zero bytes come of it
            raise Refused(_TOO_LARGE, "The request body is too large.")
        yield decoder.feed(data, _CHUNK)
        while not decoder.wants_more:
            yield decoder.feed(b"", _CHUNK)
    while rest := decoder.feed(b"", _CHUNK):  # what was taken, but had no room yet
        yield rest


def _length(request: HttpRequest) -> int:
    length = str(request.META.get("CONTENT_LENGTH") or "")
    return int(length) if length.isascii() and length.isdecimal() and len(length) < 18 else 0
