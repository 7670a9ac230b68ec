"""Seal values into bytes that are worth nothing under another key, and never unpickle what was not sealed here.

A sealed value is, in this order: a byte that no number begins with; the grace in milliseconds (4 bytes, big-endian: a
script of the server reads it); a BLAKE2b tag of 16 bytes, keyed, over the key and all other bytes; the format of the
body; how long its computation took (4 bytes, microseconds); the number of tags (2 bytes); per tag the digest of its
name and its epoch (8 bytes each); the body. Numbers stay decimal text, so that the server can count.
"""

from __future__ import annotations

import hmac
import json
import pickle
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

SEALED = 0x81
# Stands for a deleted key while a table lies below: who finds it need not look further.
TOMBSTONE = b"\x80"
_TAG_BYTES = 16
_HEAD = struct.Struct(">BI")
_META = struct.Struct(">cIH")
_EPOCH = struct.Struct(">8s8s")
_TAG_END = _HEAD.size + _TAG_BYTES
_META_END = _TAG_END + _META.size
_STR, _BYTES = b"s", b"b"
_MAX_GRACE_MS, _MAX_COST_US, _MAX_EPOCHS = 2**32 - 1, 2**32 - 1, 2**16 - 1
# What the server counts in: more digits do not fit.
_MAX_INT = 2**63 - 1
_MAX_DIGITS = 20


class Format(NamedTuple):
    """Turn values into bytes and back; `code` marks the bodies."""

    code: bytes
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


def _pickle(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _msgpack() -> Format:
    import msgpack

    return Format(b"m", msgpack.packb, lambda body: msgpack.unpackb(body, strict_map_key=False))


def format_named(name: str) -> Format:
    """Return the format that the option `serializer` names. Raises KeyError, or ImportError without msgpack."""
    if name == "msgpack":
        return _msgpack()
    return {"pickle": Format(b"p", _pickle, pickle.loads), "json": Format(b"j", _json, json.loads)}[name]


@dataclass(frozen=True, slots=True)
class Meta:
    """What goes with a value: grace in seconds, the seconds it took to compute, and the epoch of each of its tags."""

    grace: float = 0.0
    cost: float = 0.0
    epochs: Mapping[str, bytes] | None = None


PLAIN = Meta()


class Opened(NamedTuple):
    """A value that was sealed here, under this key; `body` is what `loads` of the format made it of, if it did."""

    value: Any
    meta: Meta
    body: bytes | None


def tag_digest(tag: str) -> str:
    """Return the short name under which a sealed value knows a tag."""
    return blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def grace_ms(blob: bytes) -> int:
    """Return for how many milliseconds a value stays after its end; 0 for a number."""
    return int(_HEAD.unpack_from(blob)[1]) if blob[:1] == b"\x81" and len(blob) >= _HEAD.size else 0


class Sealer:
    """Seal and open the values of one cache. Thread-safe: holds nothing that changes.

    `secrets`: keys of up to 64 bytes; the first seals, all of them open.
    """

    def __init__(self, secrets: Sequence[bytes], form: Format) -> None:
        self.form = form
        # A keyed hash that has not begun: copying it costs less than making it.
        self._hashes = [blake2b(key=secret, digest_size=_TAG_BYTES) for secret in secrets]

    def seal(self, key: bytes, value: Any, meta: Meta = PLAIN) -> bytes:
        """Return the bytes of a value; raises what the format raises for a value that it cannot carry."""
        if type(value) is int and -_MAX_INT <= value <= _MAX_INT and meta is PLAIN:
            return b"%d" % value
        code, body = self._body(value)
        head = _HEAD.pack(SEALED, min(round(meta.grace * 1e3), _MAX_GRACE_MS))
        rest = self._meta(code, meta) + body
        return b"".join((head, self._tag(self._hashes[0], key, head, rest), rest))

    def copied(self, value: Any) -> Any:
        """Return what a reader of this value would get."""
        return self.form.loads(self.form.dumps(value))

    def open(self, key: bytes, blob: bytes) -> Opened | None:
        """Return what was sealed under this key; None for anything else, whatever it is."""
        if blob[:1] != b"\x81":
            return _number(blob)
        head, tag, rest = blob[: _HEAD.size], blob[_HEAD.size : _TAG_END], blob[_TAG_END:]
        if not any(hmac.compare_digest(self._tag(hashed, key, head, rest), tag) for hashed in self._hashes):
            return None
        try:
            return self._opened(head, rest)
        except Exception:  # sealed by another version of the code: its classes may be gone
            return None

    def _opened(self, head: bytes, rest: bytes) -> Opened | None:
        code, cost_us, count = _META.unpack_from(rest)
        end = _META.size + count * _EPOCH.size
        epochs = {digest.hex(): epoch for digest, epoch in _EPOCH.iter_unpack(rest[_META.size : end])}
        grace = _HEAD.unpack(head)[1]
        meta = Meta(grace / 1e3, cost_us / 1e6, epochs or None) if grace or cost_us or epochs else PLAIN
        body = rest[end:]
        if code == _STR:
            return Opened(body.decode("utf-8", "surrogatepass"), meta, None)
        if code == _BYTES:
            return Opened(body, meta, None)
        return Opened(self.form.loads(body), meta, body) if code == self.form.code else None

    def _body(self, value: Any) -> tuple[bytes, bytes]:
        if type(value) is str:
            return _STR, value.encode("utf-8", "surrogatepass")
        if type(value) is bytes:
            return _BYTES, value
        return self.form.code, self.form.dumps(value)

    @staticmethod
    def _meta(code: bytes, meta: Meta) -> bytes:
        epochs = meta.epochs or {}
        packed = _META.pack(code, min(round(meta.cost * 1e6), _MAX_COST_US), min(len(epochs), _MAX_EPOCHS))
        return packed + b"".join(_EPOCH.pack(bytes.fromhex(digest), epoch) for digest, epoch in epochs.items())

    @staticmethod
    def _tag(begun: blake2b, key: bytes, head: bytes, rest: bytes) -> bytes:
        hashed = begun.copy()
        # The length first: no key and value can be cut at another place and still be the same bytes.
        hashed.update(b"%d:%b%b" % (len(key), key, head))
        hashed.update(rest)
        return hashed.digest()


def _number(blob: bytes) -> Opened | None:
    digits = blob[1:] if blob[:1] == b"-" else blob
    if not (digits.isdigit() and len(digits) < _MAX_DIGITS):
        return None
    value = int(blob)
    return Opened(value, PLAIN, None) if b"%d" % value == blob else None
