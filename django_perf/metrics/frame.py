"""Pack many histograms with their counters into one run of bytes, column by column.

The columns of the head (count, sum, min, max, first bucket, number of buckets, counters) can be read without the rest:
a report adds up five hundred series and unpacks the buckets of the fifty that it shows. The buckets follow as one
deflated column, from the first used one to the last of each histogram: dense, because then merging is one addition of
large integers, and because Huffman codes make an empty bucket one bit.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, zip_longest

from ..exceptions import DamagedPayload, UnknownPayload
from . import columns, varint

VERSION = 1
# The columns of a head; the counters follow.
COUNT, SUM, MIN, MAX, _FIRST, _BUCKETS, COUNTERS = range(7)
# More buckets than any frame has: a damaged length must not fill the memory.
_MOST = 10_000_000

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
    themselves. `head` holds the columns of the head, one behind the other.
    """

    def __init__(self, data: bytes) -> None:
        if not data or data[0] != VERSION:
            raise UnknownPayload(f"frame version {data[:1].hex() or 'missing'}, this code reads {VERSION}")
        try:
            (self.length, width), position = varint.take(data, 1, 2)
        except IndexError as error:
            raise DamagedPayload("a frame ends inside its head") from error
        if max(self.length, width) > len(data):
            raise DamagedPayload(f"a frame of {len(data)} bytes cannot hold {self.length} times {width} counters")
        self.head, end = columns.take(data, position, COUNTERS + width, self.length)
        self._deflated = data[end:]

    def row(self, index: int) -> Row:
        """Return the numbers of one histogram."""
        return self.head[index :: self.length]

    @cached_property
    def _cells(self) -> tuple[int, bytes, list[int]]:
        """Return the bytes per count, the counts of all buckets, and where those of each histogram begin."""
        starts = [0, *accumulate(self.head[_BUCKETS * self.length : COUNTERS * self.length])]
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # Bounded: what claims to be larger than its own lengths say is damaged, or made to fill the memory.
            body = inflater.decompress(self._deflated, 8 * min(starts[-1], _MOST) + 2)
        except zlib.error as error:
            raise DamagedPayload("the buckets of a frame cannot be inflated") from error
        width = columns.WIDTHS.get(body[:1].decode("latin-1"), 0)
        if not inflater.eof or not width or len(body) != width * starts[-1] + 1:
            raise DamagedPayload("the buckets of a frame are cut or too many")
        return width, body, [start * width + 1 for start in starts]

    def run(self, index: int) -> Run:
        """Return the buckets of one histogram, packed."""
        width, body, starts = self._cells
        return self.head[_FIRST * self.length + index], width, body[starts[index] : starts[index + 1]]

    def parts(self, index: int) -> Parts:
        """Return what one histogram is made of."""
        first, counts = columns.add_shifted([self.run(index)])
        row = self.row(index)
        if sum(counts) != row[COUNT]:
            raise DamagedPayload(f"a histogram of {row[COUNT]} values holds {sum(counts)}")
        return {at: count for at, count in enumerate(counts, first) if count}, *row[:_FIRST]  # type: ignore[return-value]

    def counters(self, index: int) -> list[int]:
        """Return the counters of one histogram."""
        return list(self.row(index)[COUNTERS:])


class Stack:
    """Hold frames of the same series in the same order: their heads are added up at once, in C."""

    def __init__(self, *frames: Frame) -> None:
        self.frames = list(frames)

    @cached_property
    def length(self) -> int:
        """Return how many series there are."""
        return self.frames[0].length

    @cached_property
    def head(self) -> Sequence[int]:
        """Return the columns of the heads, one behind the other, of MAX the largest, and of all others the sum."""
        heads = [frame.head for frame in self.frames]
        if len(heads) == 1:
            return heads[0]
        # What an older frame lacks are counters, which are its last columns.
        added = list(map(sum, zip_longest(*heads, fillvalue=0)))
        largest = slice(MAX * self.length, (MAX + 1) * self.length)
        added[largest] = map(max, *[head[largest] for head in heads])
        return added


def column(parts: Sequence[tuple[Stack, int]], number: int) -> list[int]:
    """Return one column of some series of stacks, without those that have no such counter."""
    places = [(stack.head, stack.length * number + index) for stack, index in parts]
    return [head[at] for head, at in places if at < len(head)]
