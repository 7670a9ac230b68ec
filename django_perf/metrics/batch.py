"""Carry what one flush hands to the store, and pack tables of series into bytes."""

from __future__ import annotations

import json
import os
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from ..exceptions import DamagedPayload, UnknownPayload
from .aggregate import Key, Table, pack_aggregates, unpack_aggregate
from .frame import Frame
from .samples import Sample

VERSION = 5
# From here on a new version has only meant new kinds: while workers are replaced one by one, both are read.
_OLDEST = 2
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """Name the process that measured: `started` (seconds since 1970) tells two uses of one pid apart."""

    host: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Batch:
    """One flush of one process, with the examples that it keeps.

    `id` stays the same over retries, so that the store can tell a repetition.

    `tables` is by minute since 1970 (UTC); `levels` are the gauges; `final` marks the last flush of a clean stop;
    `taken` is when it was drained, in seconds since 1970.
    """

    origin: Origin
    taken: float
    tables: dict[int, Table]
    levels: dict[str, float]
    final: bool = False
    samples: Sequence[Sample] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def count(self) -> int:
        """Return how many values it carries: what is lost when it is dropped."""
        return sum(series.histogram.count for table in self.tables.values() for series in table.values())


def own_origin(host: str, started: float) -> Origin:
    """Return the origin of this process."""
    return Origin(host[:64], os.getpid(), started)


def pack(table: Table) -> bytes:
    """Pack a table: version, length of the deflated keys, a line of JSON for each, a frame with the series in order."""
    # Level 1: less time than level 6, for a few more bytes, of a row that lives two minutes.
    keys = zlib.compress(b"\n".join(map(_line, table)), 1)
    head = bytes((VERSION,)) + len(keys).to_bytes(_LENGTH_BYTES, "big")
    return head + keys + pack_aggregates(table.values())


# A process sends the same keys in every flush.
@lru_cache(maxsize=2_048)
def _line(key: Key) -> bytes:
    return json.dumps(key, separators=(",", ":")).encode()


def key_of(line: bytes) -> Key:
    """Return the key on one line of a payload; raises DamagedPayload where there is none."""
    try:
        key = json.loads(line)
    except ValueError as error:
        raise DamagedPayload("a key of a payload cannot be read") from error
    if not (isinstance(key, list) and key and all(isinstance(one, str) for one in key)):
        raise DamagedPayload("a key of a payload is no list of texts")
    return tuple(key)


def split(payload: bytes) -> tuple[list[bytes], Frame]:
    """Return the lines with the keys, for key_of(), and the frame of what pack() wrote.

    Raises UnknownPayload for a version of the future, DamagedPayload for anything else that cannot be read.
    """
    if not payload or not _OLDEST <= payload[0] <= VERSION:
        known = f"{_OLDEST} to {VERSION}"
        raise UnknownPayload(f"payload version {payload[:1].hex() or 'missing'}, this code reads {known}")
    start = 1 + _LENGTH_BYTES
    end = start + int.from_bytes(payload[1:start], "big")
    try:
        lines = zlib.decompress(payload[start:end]).splitlines()
    except zlib.error as error:
        raise DamagedPayload("the keys of a payload cannot be inflated") from error
    frame = Frame(payload[end:])
    if frame.length != len(lines):
        raise DamagedPayload(f"a payload of {len(lines)} keys and {frame.length} series")
    return lines, frame


def unpack(payload: bytes) -> Table:
    """Read what pack() wrote; errors as in split()."""
    lines, frame = split(payload)
    return {key_of(line): unpack_aggregate(frame, index) for index, line in enumerate(lines)}
