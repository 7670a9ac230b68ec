"""Turn bodies into gzip, br and zstd, whole or piece by piece, with what is installed.

Nothing here is shared by threads: contexts are kept per thread, and given up after a large body,
whose memory they keep.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from .padding import file_name, metadata_block, skippable_frame
from .profiles import BACKGROUND, PROFILES, Levels

try:
    from compression import zstd
except ImportError:
    try:
        from backports import zstd
    except ImportError:
        zstd = None
try:
    import brotli
except ImportError:
    brotli = None
try:
    from zlib_ng import zlib_ng
except ImportError:
    zlib_ng = None  # type: ignore[assignment]
try:
    from isal import isal_zlib
except ImportError:
    isal_zlib = None  # type: ignore[assignment]

# The context of a body keeps the memory that this one took.
LARGE = 2**20
# RFC 9659: clients refuse more than 8 MB, 2**23. Streams that last cost so much each: 2**17 takes 52 kB with zstd.
_STREAM_WINDOW = 17
_BR_STREAM_WINDOW = 18
# ID, deflate, flags, no time (equal bodies have equal bytes), no hint, unknown system: RFC 1952.
_GZIP_HEAD, _FNAME = b"\x1f\x8b\x08%c\0\0\0\0\0\xff", 0x08
_RAW = -15

Pad = Callable[[bytes], int]


__all__ = ["Codec", "Stream", "Zstd", "background_codec", "brotli", "codec_of", "is_installed", "zstd"]


class Stream(Protocol):
    """Compress one body piece by piece. For one thread at a time."""

    def write(self, chunk: bytes) -> bytes:
        """Take a piece; returns what is ready."""

    def flush(self) -> bytes:
        """Return the rest of what was taken, so that the client can read all of it."""

    def end(self) -> bytes:
        """Return the rest of the body."""


class Codec(Protocol):
    """Compress bodies into one coding. Thread-safe."""

    def encode(self, body: bytes, pad: Pad) -> bytes:
        """Return a whole body with a padding of the length that `pad` makes of the compressed bytes."""

    def stream(self, padding: int) -> Stream:
        """Begin a body that comes in pieces."""


def _padded_gzip(padding: int) -> bytes:
    return _GZIP_HEAD % (_FNAME if padding else 0) + file_name(padding)


class Gzip:
    """gzip by isal, zlib-ng or zlib, the first that is installed and that the profile wants."""

    def __init__(self, levels: Levels) -> None:
        candidates: tuple[tuple[Any, int], ...] = (
            (isal_zlib, levels.isal),
            (zlib_ng, levels.zlib_ng),
            (zlib, levels.zlib),
        )
        usable = [(module, level) for module, level in candidates if module is not None and level >= 0]
        self._module, self._level = usable[0]
        # isal is poor at many small pieces.
        self._stream_module, self._stream_level = next(one for one in usable if one[0] is not isal_zlib)

    def encode(self, body: bytes, pad: Pad) -> bytes:
        """Return the body as one member; equal bodies are equal bytes."""
        raw = self._module.compress(body, self._level, _RAW)
        tail = struct.pack("<II", self._module.crc32(body), len(body) & 0xFFFFFFFF)
        return b"".join((_padded_gzip(pad(raw)), raw, tail))

    def stream(self, padding: int) -> Stream:
        """Begin a member."""
        return _GzipStream(self._stream_module, self._stream_level, padding)


class _GzipStream:
    def __init__(self, module: Any, level: int, padding: int) -> None:
        self._module, self._deflate = module, module.compressobj(level, zlib.DEFLATED, _RAW)
        self._head, self._crc, self._length = _padded_gzip(padding), 0, 0

    def write(self, chunk: bytes) -> bytes:
        self._crc, self._length = self._module.crc32(chunk, self._crc), self._length + len(chunk)
        return self._with_head(self._deflate.compress(chunk))

    def flush(self) -> bytes:
        # 15 % fewer bytes than Z_SYNC_FLUSH where there are many.
        return self._with_head(self._deflate.flush(zlib.Z_PARTIAL_FLUSH))

    def end(self) -> bytes:
        tail = struct.pack("<II", self._crc, self._length & 0xFFFFFFFF)
        return self._with_head(self._deflate.flush() + tail)

    def _with_head(self, data: bytes) -> bytes:
        if data and self._head:
            data, self._head = self._head + data, b""
        return data


class Brotli:
    """br; without a dictionary of our own, which the Python binding cannot take."""

    def __init__(self, levels: Levels) -> None:
        self._level = levels.br

    def encode(self, body: bytes, pad: Pad) -> bytes:
        """Return the body, its padding behind the last data."""
        compressor = brotli.Compressor(quality=self._level)
        data = compressor.process(body) + compressor.flush()
        return b"".join((data, metadata_block(pad(data)), compressor.finish()))

    def stream(self, padding: int) -> Stream:
        """Begin a stream."""
        return _BrotliStream(self._level, padding)


class _BrotliStream:
    def __init__(self, level: int, padding: int) -> None:
        self._compressor = brotli.Compressor(quality=level, lgwin=_BR_STREAM_WINDOW)
        self._padding = padding

    def write(self, chunk: bytes) -> bytes:
        return bytes(self._compressor.process(chunk))

    def flush(self) -> bytes:
        return bytes(self._compressor.flush()) + self._metadata()

    def end(self) -> bytes:
        return self.flush() + bytes(self._compressor.finish())

    def _metadata(self) -> bytes:
        padding, self._padding = self._padding, 0
        return metadata_block(padding)


class Zstd:
    """zstd by the standard library's module, or its backport: a context per thread, the dictionary shared by all."""

    def __init__(self, levels: Levels, dictionary: bytes | None = None) -> None:
        self._level = levels.zstd
        # Raw bytes, whatever they look like: that is how a browser uses its copy.
        self._dictionary = None if dictionary is None else zstd.ZstdDict(dictionary, is_raw=True).as_digested_dict
        self._local = threading.local()

    def encode(self, body: bytes, pad: Pad) -> bytes:
        """Return the body as one frame, and its padding as another one."""
        context = getattr(self._local, "context", None)
        # A context that failed, or is at work in a finaliser of this thread, is not asked again.
        self._local.context = None
        context = context or self._context()
        data = context.compress(body, context.FLUSH_FRAME)
        if len(body) <= LARGE:
            self._local.context = context
        return bytes(data) + skippable_frame(pad(data))

    def stream(self, padding: int) -> Stream:
        """Begin a frame."""
        return _ZstdStream(self._context(_STREAM_WINDOW), padding)

    def _context(self, window: int = 0) -> Any:
        options = {zstd.CompressionParameter.compression_level: self._level}
        if window:
            options[zstd.CompressionParameter.window_log] = window
        return zstd.ZstdCompressor(options=options, zstd_dict=self._dictionary)


class _ZstdStream:
    def __init__(self, context: Any, padding: int) -> None:
        self._context, self._padding = context, padding

    def write(self, chunk: bytes) -> bytes:
        return bytes(self._context.compress(chunk))

    def flush(self) -> bytes:
        return bytes(self._context.flush(self._context.FLUSH_BLOCK))

    def end(self) -> bytes:
        return bytes(self._context.flush(self._context.FLUSH_FRAME)) + skippable_frame(self._padding)


_CODECS: dict[str, Callable[[Levels], Codec]] = {"zstd": Zstd, "br": Brotli, "gzip": Gzip}
_INSTALLED = {"zstd": zstd is not None, "br": brotli is not None, "gzip": True}


def is_installed(coding: str) -> bool:
    """Tell whether the library of a coding is there."""
    return _INSTALLED[coding]


@cache
def codec_of(coding: str, profile: str) -> Codec:
    """Return the codec of a coding, which all threads share, at the level of a profile."""
    return _CODECS[coding](PROFILES[profile])


@cache
def background_codec(coding: str) -> Codec:
    """Return the codec for what nobody waits for."""
    return _CODECS[coding](BACKGROUND)
