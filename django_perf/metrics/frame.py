"""Pack many histograms with their counters into one run of bytes, column by column.

The columns of the head (count, sum, min, max, first bucket, number of buckets, counters) can be read each alone: a
report adds up the sums of two thousand series and unpacks the buckets of the fifty that it shows. These follow as one
deflated column, from the first used one to the last of each histogram: dense, because then merging is one addition of
large integers, and because Huffman codes make an empty bucket one bit.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate, zip_longest

from ..exceptions import DamagedPayload, UnknownPayload
from . import columns, varint

VERSION = 1
# The columns of a head; the counters follow.
COUNT, SUM, MIN, MAX, _FIRST, _BUCKETS, COUNTERS = range(7)
# More buckets than any frame has: a damaged length must not fill the memory.
_MOST = 10_000_000
# To add up a whole column takes as long as to read a dozen of its numbers one by one; of two a report reads all.
_FEW, _OFTEN = 3, (COUNT, SUM)

# (count, sum, min, max, first bucket, number of buckets, *counters) of one histogram.
Row = tuple[int, ...]
# Bucket index -> count, count, sum, min, max: what a histogram is made of.
Parts = tuple[dict[int, int], int, int, int, int]
# First bucket, bytes per count, the counts from there on in little endian.
Run = tuple[int, int, bytes]


def pack(histograms: Sequence[Parts], counters: Sequence[Sequence[int]] = ()) -> bytes:
    """Pack histograms and the counters of each; equal input gives equal bytes, in whatever order it was merged."""
    counted, *numbers = zip(*histograms, strict=True) if histograms else [()] * 5
    # One empty bucket instead of none: so the passes over all buckets need no condition, and run in C.
    buckets = [counts or {0: 0} for counts in counted]
    # Sorting a dozen keys takes less time than min() and max() of them.
    ordered = list(map(sorted, buckets))
    firsts = [indexes[0] for indexes in ordered]
    lengths = [indexes[-1] - indexes[0] + 1 for indexes in ordered]
    out = bytearray((VERSION,))
    varint.put(out, len(histograms))
    varint.put(out, max(map(len, counters), default=0))
    columns.put(out, [*numbers, firsts, lengths, *zip_longest(*counters, fillvalue=0)])
    return bytes(out + _deflated(buckets, firsts, lengths, columns.code_of(_largest(buckets, numbers[COUNT]))))


def _largest(buckets: list[dict[int, int]], counts: Sequence[int]) -> int:
    """Return the largest count of a bucket, or what it cannot exceed where a byte holds that: as in every flush."""
    most = max(counts, default=0)
    return most if most < 256 else max(map(max, map(dict.values, buckets)))


def _deflated(buckets: list[dict[int, int]], firsts: list[int], lengths: list[int], code: str) -> bytes:
    cells = columns.blank(code, sum(lengths))
    for counts, start, first in zip(buckets, accumulate(lengths, initial=0), firsts, strict=False):
        shift = start - first
        for index, count in counts.items():
            cells[index + shift] = count
    # Huffman codes and runs of zeros: looking for other repeats finds none. More memory than 7 takes twice the time.
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS, 7, zlib.Z_RLE)
    return packer.compress(code.encode() + columns.little_endian(cells)) + packer.flush()


class Frame:
    """Read what pack() wrote, as far as it is asked for.

    Raises UnknownPayload for a version of the future, and DamagedPayload, also later, for bytes that contradict
    themselves. `head` holds the columns of the head by number.
    """

    __slots__ = ("_deflated", "_inflated", "_unpacked", "head", "length")

    def __init__(self, data: bytes) -> None:
        if not data or data[0] != VERSION:
            raise UnknownPayload(f"frame version {data[:1].hex() or 'missing'}, this code reads {VERSION}")
        try:
            (self.length, width), position = varint.take(data, 1, 2)
        except IndexError as error:
            raise DamagedPayload("a frame ends inside its head") from error
        if max(self.length, width) > len(data):
            raise DamagedPayload(f"a frame of {len(data)} bytes cannot hold {self.length} times {width} counters")
        self.head = columns.Columns(data, position, COUNTERS + width, self.length)
        self._deflated = data[self.head.end :]
        self._inflated: _Cells | None = None
        self._unpacked: list[Row] | None = None

    def _row(self, index: int) -> Row:
        """Return the numbers of one histogram."""
        if self._unpacked is None:
            self._unpacked = list(zip(*[self.head[number] for number in range(len(self.head))], strict=True))
        return self._unpacked[index]

    def _cells(self) -> _Cells:
        if self._inflated is None:
            self._inflated = _Cells(self._deflated, self.head[_BUCKETS])
        return self._inflated

    def run(self, index: int) -> Run:
        """Return the buckets of one histogram, packed; of those behind it nothing is read."""
        return self.head.at(_FIRST, index), *self._cells().of(index)

    def parts(self, index: int) -> Parts:
        """Return what one histogram is made of."""
        self._cells().check()
        first, counts = columns.add_shifted([self.run(index)])
        row = self._row(index)
        if sum(counts) != row[COUNT]:
            raise DamagedPayload(f"a histogram of {row[COUNT]} values holds {sum(counts)}")
        return {at: count for at, count in enumerate(counts, first) if count}, *row[:_FIRST]  # type: ignore[return-value]

    def counters(self, index: int) -> list[int]:
        """Return the counters of one histogram."""
        return list(self._row(index)[COUNTERS:])


class _Cells:
    """Inflate the buckets of a frame, no further than to the last one that was asked for.

    Raises DamagedPayload for bytes that contradict the numbers of buckets.
    """

    __slots__ = ("_body", "_inflater", "_rest", "_starts")

    def __init__(self, deflated: bytes, lengths: Sequence[int]) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest, self._body = deflated, b""
        self._starts = list(accumulate(lengths, initial=0))
        if self._starts[-1] > _MOST:  # it is damaged, or made to fill the memory
            raise DamagedPayload(f"a frame that claims {self._starts[-1]} buckets")

    def of(self, index: int) -> tuple[int, bytes]:
        """Return the bytes per count, and the counts of one histogram."""
        start, end = self._starts[index : index + 2]
        width = self._inflate(end)
        return width, self._body[1 + start * width : 1 + end * width]

    def check(self) -> None:
        """Make sure that there are as many buckets as there should be."""
        size = 1 + self._starts[-1] * self._inflate(self._starts[-1])
        self._read(size + 1)
        if not self._inflater.eof or len(self._body) != size:
            raise DamagedPayload("the buckets of a frame are cut or too many")

    def _inflate(self, count: int) -> int:
        """Have so many buckets inflated; returns the bytes of each."""
        self._read(1 + count)  # as if each took a byte: how many it takes is said by the first one
        width = columns.WIDTHS.get(self._body[:1].decode("latin-1"), 0)
        self._read(1 + count * width)
        if not width or len(self._body) <= count * width:
            raise DamagedPayload("the buckets of a frame are cut")
        return width

    def _read(self, size: int) -> None:
        if size <= len(self._body) or self._inflater.eof:
            return
        try:
            self._body += self._inflater.decompress(self._rest, size - len(self._body))
        except zlib.error as error:
            raise DamagedPayload("the buckets of a frame cannot be inflated") from error
        self._rest = self._inflater.unconsumed_tail


class Stack:
    """Hold frames of the same series in the same order, and add up their heads."""

    __slots__ = ("_added", "_asked", "frames")

    def __init__(self, *frames: Frame) -> None:
        self.frames = list(frames)
        # Columns that are added up, of MAX the largest, by number; and how often others were asked for.
        self._added: dict[int, Sequence[int]] = {}
        self._asked: dict[int, int] = {}

    def value(self, number: int, index: int) -> int:
        """Return a number of the heads of one series, of MAX the largest, and of all others the sum."""
        if number in self._added or self._is_often_asked(number):
            return self._added[number][index]
        values = [frame.head.at(number, index) for frame in self._having(number)]
        return max(values, default=0) if number == MAX else sum(values)

    def _is_often_asked(self, number: int) -> bool:
        """Count that a column is asked for, and add it up in C when it will pay."""
        asked = self._asked[number] = self._asked.get(number, 0) + 1
        is_often = asked > _FEW or number in _OFTEN
        if is_often:
            self._added[number] = self._all_of(number)
        return is_often

    def _all_of(self, number: int) -> Sequence[int]:
        own = [frame.head[number] for frame in self._having(number)]
        if len(own) < 2:
            return own[0] if own else [0] * self.frames[0].length
        return list(map(max if number == MAX else sum, zip(*own, strict=True)))

    def _having(self, number: int) -> list[Frame]:
        """Return the frames with a column: what older ones lack are counters, which are their last columns."""
        return [frame for frame in self.frames if number < len(frame.head)]


def column(parts: Sequence[tuple[Stack, int]], number: int) -> list[int]:
    """Return a number of the heads of some series of stacks."""
    return [stack.value(number, index) for stack, index in parts]
