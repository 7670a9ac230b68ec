"""Pack the series of one shard of one bucket into the bytes of a rollup row."""

from __future__ import annotations

from functools import lru_cache

from ..exceptions import DamagedPayload
from ..metrics import columns, varint
from ..metrics.aggregate import Aggregate, pack_aggregates, unpack_aggregate
from ..metrics.frame import Frame

SHARDS = 16


def shard_of(id_: int) -> int:
    """Return the shard of a series."""
    return id_ % SHARDS


def pack_row(series: dict[int, Aggregate]) -> bytes:
    """Pack aggregates by series id; equal series give equal bytes."""
    out = bytearray()
    ids = sorted(series)
    varint.put(out, len(ids))
    columns.put(out, [ids])
    return bytes(out) + pack_aggregates(series[id_] for id_ in ids)


def split_row(data: bytes) -> tuple[tuple[int, ...], Frame]:
    """Return the ids and the frame of a row, in the same order.

    Raises UnknownPayload for a version of the future, DamagedPayload for bytes that contradict themselves.
    """
    try:
        (count,), position = varint.take(data, 0, 1)
    except IndexError as error:
        raise DamagedPayload("a rollup is empty") from error
    if count > len(data):  # no id takes less than a byte, and no damage may make us ask for all memory
        raise DamagedPayload(f"a rollup of {len(data)} bytes cannot hold {count} series")
    ids = columns.Columns(data, position, 1, count)
    frame = Frame(data[ids.end :])
    if frame.length != count:
        raise DamagedPayload(f"a rollup of {count} ids and {frame.length} series")
    return _ids(data[position : ids.end], count), frame


@lru_cache(maxsize=64)
def _ids(packed: bytes, count: int) -> tuple[int, ...]:
    """Return the ids of a row: those of one shard hold the same ones as a rule, bucket after bucket."""
    return columns.Columns(packed, 0, 1, count)[0]


def unpack_row(data: bytes) -> dict[int, Aggregate]:
    """Return the aggregates by series id; errors as in split_row()."""
    ids, frame = split_row(data)
    return {id_: unpack_aggregate(frame, index) for index, id_ in enumerate(ids)}
