"""Compress with a dictionary that the browser has already: Compression Dictionary Transport, RFC 9842.

A browser that names a wrong dictionary, or gets one it does not have, shows no page at all: any doubt means plain zstd.
"""

from __future__ import annotations

import binascii
import re
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..metrics.guard import count_fault
from ..metrics.recorder import recorder
from .codecs import Pad, Zstd
from .profiles import Levels

# How long a browser may keep a dictionary, and how long one is still served after nobody is told of it any more.
MAX_AGE_S = 7 * 86_400
# The magic of a skippable frame of 32 bytes: RFC 9842, section 5.
_HEAD = b"\x5e\x2a\x4d\x18\x20\x00\x00\x00"
# Most of a long page is in the dictionary or further up: looking harder costs it a tenth of br's time.
_LONG, _MORE_LEVELS = 32 * 1024, 3
_REFRESH_S = 30.0
_HASH_LENGTH = 46  # 32 bytes in base64, between two colons
# Segments of a path; what has a meaning of its own in a URL pattern, or in a structured field, is not among them.
_MATCH = re.compile(r"/[A-Za-z0-9/_.~*-]{0,199}")


class Dcz:
    """zstd with one dictionary: its hash, then a frame that only its owners can read. Thread-safe."""

    def __init__(self, levels: Levels, sha256: bytes, content: bytes) -> None:
        self._head, self._quick = _HEAD + sha256, Zstd(levels, content)
        self._thorough = Zstd(levels._replace(zstd=levels.zstd + _MORE_LEVELS), content)

    def encode(self, body: bytes, pad: Pad) -> bytes:
        """Return a whole body."""
        codec = self._quick if len(body) < _LONG else self._thorough
        return self._head + codec.encode(body, pad)


@dataclass(frozen=True, slots=True)
class Known:
    """A dictionary in use: its hash, the paths it is for, and its codec."""

    sha256: bytes
    match: str
    codec: Dcz


def is_match_of(pattern: str, path: str) -> bool:
    """Tell whether a path is one of a pattern; in linear time, because the visitor chooses the path."""
    first, *parts = pattern.split("*")
    if not parts:
        return path == first
    *middle, last = parts
    end = len(path) - len(last)
    at = len(first) if path.startswith(first) and path.endswith(last) else len(path) + 1
    for part in middle:
        found = path.find(part, at, end)
        at = len(path) + 1 if found < 0 else found + len(part)
    return at <= end


def is_match(pattern: str) -> bool:
    """Tell whether a pattern of paths is one that we, browsers and headers understand alike: `*` is any text."""
    return _MATCH.fullmatch(pattern) is not None


def known(sha256: str, match: str, content: bytes, levels: Levels) -> Known:
    """Return a dictionary ready for use."""
    raw = bytes.fromhex(sha256)
    return Known(raw, match, Dcz(levels, raw, content))


class Dictionaries:
    """Know the dictionaries in use; `load` returns them, newest first, and is called by a thread of its own.

    A request never waits for it: until it is there, and while the database is away, what is known is used.
    """

    def __init__(self, load: Callable[[], Iterable[Known]], clock: Callable[[], float] = time.monotonic) -> None:
        self._load, self._clock = load, clock
        self._known: list[Known] = []
        self._by_hash: dict[bytes, Known] = {}
        self._next = 0.0

    def refresh(self) -> None:
        """See that what is known is not older than half a minute, soon."""
        now = self._clock()
        if now >= self._next:
            # Two threads that come at once load twice, which does no harm. A forked child inherits what was known.
            self._next = now + _REFRESH_S
            threading.Thread(target=self.load, name="django_perf dictionaries", daemon=True).start()

    def load(self) -> None:
        """Load now; what was known stays when that fails."""
        try:
            with recorder.paused():
                found = list(self._load())
        except Exception as fault:
            count_fault("compression dictionaries", fault)
            return
        self._known, self._by_hash = found, {one.sha256: one for one in found}

    def for_path(self, path: str) -> Known | None:
        """Return the newest dictionary for a path."""
        return next((one for one in self._known if is_match_of(one.match, path)), None)

    def of_client(self, meta: Mapping[str, Any]) -> Known | None:
        """Return the dictionary that the client says it has, if it is one of ours and its page may read the answer."""
        found = self._by_hash.get(_hash_of(meta.get("HTTP_AVAILABLE_DICTIONARY", "")))
        return found if found is not None and _may_read(meta) else None


def _hash_of(header: str) -> bytes:
    """Return the hash in an Available-Dictionary, a byte sequence of RFC 9651; b"" for anything else."""
    if len(header) != _HASH_LENGTH or header[0] != ":" or header[-1] != ":":
        return b""
    try:
        return b64decode(header[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return b""


def _may_read(meta: Mapping[str, Any]) -> bool:
    """Tell whether whoever asks may read the answer anyway: its own site's page, or a visitor who follows a link."""
    if meta.get("HTTP_SEC_FETCH_SITE") == "same-origin":
        return True
    return meta.get("HTTP_SEC_FETCH_MODE") == "navigate" and meta.get("HTTP_SEC_FETCH_DEST") == "document"
