"""Blur how long a compressed body is, so that its length tells less about secrets in it (BREACH, 2013).

The length of the padding depends on the compressed body and a key of the site: whoever asks again for the same gets the
same, and learns nothing from averages. Bodies that are sent before they are complete get a random one.
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from hashlib import blake2b

from django.conf import settings
from django.utils.crypto import salted_hmac

_SALT = "django_perf.compression.padding"


def keyed_length(body: bytes, limit: int) -> int:
    """Return a number from 0 to `limit` - 1 that only the site can tell from the body; 0 for a limit of 0."""
    if limit <= 0:
        return 0
    digest = blake2b(body, key=_key(settings.SECRET_KEY), digest_size=8).digest()
    return int.from_bytes(digest, "big") % limit


def random_length(limit: int) -> int:
    """Return a random number from 0 to `limit` - 1; 0 for a limit of 0."""
    return secrets.randbelow(limit) if limit > 0 else 0


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    return salted_hmac(_SALT, "1", secret=secret, algorithm="sha256").digest()


def file_name(length: int) -> bytes:
    """Return what stands for a file's name in the header of gzip (RFC 1952), one byte longer; nothing for 0."""
    return b"a" * length + b"\0" if length else b""


def skippable_frame(length: int) -> bytes:
    """Return a frame that readers of zstd skip (RFC 8878, section 3.1.2), 8 bytes longer; nothing for 0."""
    return b"\x50\x2a\x4d\x18" + length.to_bytes(4, "little") + bytes(length) if length else b""


def metadata_block(length: int) -> bytes:
    """Return a block that readers of brotli skip (RFC 7932, section 9.2), 2 bytes longer; nothing for 0, 256 at most.

    Only between blocks that end with a whole byte, as they do after a flush.
    """
    if not length:
        return b""
    # From the lowest bit: not the last block; no nibbles of length, which says metadata; reserved; one byte of length.
    return (0b010110 | (length - 1) << 6).to_bytes(2, "little") + bytes(length)
