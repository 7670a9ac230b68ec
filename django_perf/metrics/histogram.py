"""Count values in log-linear buckets: any quantile within 2 %, merging exact.

The layout is that of HdrHistogram (G. Tene): integers below 64 have a bucket each, above that every octave is cut into
32 equal buckets, so a bucket is at most 1/32 = 3.1 % wide. Buckets are kept sparse: a quiet series costs a few bytes.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterable, Sequence
from sys import byteorder

from ..exceptions import DamagedPayload, UnknownPayload
from . import varint

VERSION = 1
QUANTILE_ERROR = 0.02
# 2**50 us are 35 years, 2**50 bytes a petabyte: larger values share the last bucket, so indices stay small.
MAX_VALUE = 2**50 - 1

_SUB_BITS = 5
_EXACT = 2 << _SUB_BITS
_SPARSE, _DEFLATED = 0, 0x40
_TYPECODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_HEADER_FIELDS = 6


def bucket_index(value: int) -> int:
    """Return the bucket of `value` (0 <= value <= MAX_VALUE)."""
    if value < _EXACT:
        return value
    shift = value.bit_length() - _SUB_BITS - 1
    return (shift << _SUB_BITS) + (value >> shift)


def bucket_bounds(index: int) -> tuple[int, int]:
    """Return the smallest and the largest integer that fall into bucket `index`."""
    if index < _EXACT:
        return index, index
    shift = (index >> _SUB_BITS) - 1
    lowest = (index - (shift << _SUB_BITS)) << shift
    return lowest, lowest + (1 << shift) - 1


class Histogram:
    """Hold the counts of one series; not thread-safe, the recorder's lock guards it.

    Values are integers: microseconds, bytes or plain counts. Negative ones count as 0 (a clock that was set back).
    """

    __slots__ = ("count", "counts", "max", "min", "sum")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.sum = 0
        self.min = MAX_VALUE
        self.max = 0

    def add(self, value: int) -> None:
        """Count one value."""
        self.add_all((value,))

    def add_all(self, values: Sequence[int]) -> None:
        """Count each of `values`; one call for many is what keeps a 50-query view cheap."""
        counts = self.counts
        for value in values:
            if not 0 <= value <= MAX_VALUE:
                value = 0 if value < 0 else MAX_VALUE
            # bucket_index() written out: the call would double the price of this line.
            if value < 64:
                index = value
            else:
                shift = value.bit_length() - 6
                index = (shift << 5) + (value >> shift)
            counts[index] = counts.get(index, 0) + 1
            self.sum += value
            if value > self.max:
                self.max = value
            if value < self.min:
                self.min = value
        self.count += len(values)

    def merge(self, other: Histogram) -> None:
        """Add the counts of `other`; any order of merging gives the same result."""
        counts = self.counts
        for index, count in other.counts.items():
            counts[index] = counts.get(index, 0) + count
        self.count += other.count
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)

    @property
    def mean(self) -> float:
        """Return the exact mean, 0.0 when empty."""
        return self.sum / self.count if self.count else 0.0

    def quantile(self, q: float) -> float:
        """Estimate the value at rank ceil(q * count), within 2 % of it; 0.0 when empty."""
        return self.quantiles((q,))[0]

    def quantiles(self, wanted: Sequence[float]) -> list[float]:
        """Estimate several quantiles, given in ascending order, in one walk over the buckets."""
        if not self.count:
            return [0.0] * len(wanted)
        found: list[float] = []
        buckets = iter(sorted(self.counts.items()))
        index, inside, below = 0, 0, 0
        for q in wanted:
            rank = min(max(1, math.ceil(q * self.count)), self.count)
            while below + inside < rank:
                below += inside
                index, inside = next(buckets)
            found.append(self._inside(index, (rank - below - 0.5) / inside))
        return found

    def _inside(self, index: int, fraction: float) -> float:
        """Interpolate inside one bucket, never further than 2 % from any value it can hold."""
        lowest, highest = bucket_bounds(index)
        guess = lowest + (highest - lowest) * fraction
        # Near-constant data may sit at one edge: an unlimited interpolation would then be 3 % off.
        guess = min(max(guess, (1 - QUANTILE_ERROR) * highest), (1 + QUANTILE_ERROR) * lowest)
        return float(min(max(guess, self.min), self.max))

    def to_bytes(self, level: int = 0) -> bytes:
        """Pack into bytes that start with the version; equal histograms give equal bytes.

        `level` > 0 deflates the counts where that makes them smaller (stored rollups); 0 leaves them raw, for a
        caller who compresses many histograms together.
        """
        out = bytearray((VERSION,))
        if not self.count:
            return bytes(out)
        offset = min(self.counts)
        code, body = _encode_counts(self.counts, offset)
        if level:
            code, body = _deflate(code, body, level)
        for value in (self.count, self.sum, self.min, self.max, offset, code):
            varint.put(out, value)
        return bytes(out + body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Histogram:
        """Read what to_bytes() wrote.

        Raises UnknownPayload for a version of the future, DamagedPayload for bytes that contradict themselves.
        """
        histogram = cls()
        histogram.merge_bytes((data,))
        return histogram

    def merge_bytes(self, payloads: Iterable[bytes]) -> None:
        """Add packed histograms without building an object for each: a page merges thousands of them."""
        for data in payloads:
            header, position = read_header(data)
            if not header:
                continue
            count, total, lowest, highest, offset, code = header
            counts = _decode_counts(data[position:], offset, code)
            if sum(counts.values()) != count:
                raise DamagedPayload(f"histogram of {count} values holds {sum(counts.values())}")
            _add_counts(self.counts, counts)
            self.count += count
            self.sum += total
            self.min = min(self.min, lowest)
            self.max = max(self.max, highest)


def read_header(data: bytes) -> tuple[list[int], int]:
    """Return (count, sum, min, max, offset, code) and where the counts begin; an empty list for an empty histogram."""
    if not data or data[0] != VERSION:
        raise UnknownPayload(f"histogram version {data[:1].hex() or 'missing'}, this code reads {VERSION}")
    if len(data) == 1:
        return [], 1
    try:
        return varint.take(data, 1, _HEADER_FIELDS)
    except IndexError as error:
        raise DamagedPayload("histogram ends inside its header") from error


def _add_counts(target: dict[int, int], counts: dict[int, int]) -> None:
    if not target:
        target.update(counts)
        return
    get = target.get
    for index, count in counts.items():
        target[index] = get(index, 0) + count


def _encode_counts(counts: dict[int, int], offset: int) -> tuple[int, bytes]:
    """Return (code, body), sparse or dense, whichever is smaller; ties go to sparse."""
    span = max(counts) - offset + 1
    width = _width(max(counts.values()))
    # A sparse pair takes two bytes at least, so a full histogram need not try.
    sparse = _sparse(counts, offset) if len(counts) * 2 <= span * width else None
    if sparse is not None and len(sparse) <= span * width:
        return _SPARSE, sparse
    return width, _dense(counts, offset, span, width)


def _width(largest: int) -> int:
    return next(width for width in _TYPECODES if largest < 1 << 8 * width)


def _sparse(counts: dict[int, int], offset: int) -> bytes:
    out = bytearray()
    previous = offset
    for index in sorted(counts):
        varint.put(out, index - previous)
        varint.put(out, counts[index])
        previous = index
    return bytes(out)


def _dense(counts: dict[int, int], offset: int, span: int, width: int) -> bytes:
    cells = array(_TYPECODES[width], bytes(span * width))
    for index, count in counts.items():
        cells[index - offset] = count
    return _little_endian(cells).tobytes()


def _little_endian(cells: array[int]) -> array[int]:
    if byteorder == "big":
        cells.byteswap()
    return cells


def _deflate(code: int, body: bytes, level: int) -> tuple[int, bytes]:
    """Deflate by Huffman codes alone: counts hold no repeats, and it beats the default by a tenth on these."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(body) + packer.flush()
    return (code | _DEFLATED, packed) if len(packed) < len(body) else (code, body)


def _decode_counts(body: bytes, offset: int, code: int) -> dict[int, int]:
    try:
        if code & _DEFLATED:
            body = zlib.decompress(body, -zlib.MAX_WBITS)
        if code & ~_DEFLATED == _SPARSE:
            return _read_sparse(body, offset)
        cells = array(_TYPECODES[code & ~_DEFLATED], body)
    except (IndexError, KeyError, ValueError, zlib.error) as error:
        raise DamagedPayload(f"histogram counts cannot be read: {error}") from error
    return {index: count for index, count in enumerate(_little_endian(cells), offset) if count}


def _read_sparse(body: bytes, offset: int) -> dict[int, int]:
    counts = {}
    position, index = 0, offset
    while position < len(body):
        (gap, count), position = varint.take(body, position, 2)
        index += gap
        counts[index] = count
    return counts
