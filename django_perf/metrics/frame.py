"""Pack many histograms with their counters into one run of bytes, column by column.

The columns of the head (count, sum, min, max, first bucket, number of buckets, counters) can be read without the rest:
a report adds up five hundred series and unpacks the buckets of the fifty that it shows. The buckets follow as one
deflated column, from the first used one to the last of each histogram: dense, because then merging is one addition of
slices, and because Huffman codes make an empty bucket one bit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate, zip_longest

from ..exceptions import DamagedPayload, UnknownPayload
from . import columns, varint

VERSION = 1
_COUNT, _SUM, _MIN, _MAX, _FIRST, _BUCKETS = range(6)
_OWN = 6

# (count, sum, min, max, first bucket, number of buckets, *counters) of one histogram.
Row = tuple[int, ...]
# Bucket index -> count, count, sum, min, max: what a histogram is made of.
Parts = tuple[dict[int, int], int, int, int, int]
# Sum of counts, sum of sums, largest max, sums of the counters.
Added = tuple[int, int, int, list[int]]


def pack(histograms: Sequence[Parts], counters: Sequence[Sequence[int]] = (), level: int = 6) -> bytes:
    """Pack histograms and the counters of each; equal input gives equal bytes, in whatever order it was merged.

    `level` is zlib's: 1 for what lives two minutes, 6 for what is kept.
    """
    buckets = [parts[0] for parts in histograms]
    firsts = [min(counts) if counts else 0 for counts in buckets]
    lengths = [max(counts) - first + 1 if counts else 0 for counts, first in zip(buckets, firsts, strict=True)]
    numbers = list(zip(*[parts[1:] for parts in histograms], strict=True)) or [()] * 4
    out = bytearray((VERSION,))
    varint.put(out, len(histograms))
    varint.put(out, max(map(len, counters), default=0))
    for column in (*numbers, firsts, lengths, *zip_longest(*counters, fillvalue=0)):
        columns.put(out, column)
    return bytes(out + _deflated(buckets, firsts, lengths, level))


def _deflated(buckets: list[dict[int, int]], firsts: list[int], lengths: list[int], level: int) -> bytes:
    largest = max([max(counts.values()) for counts in buckets if counts], default=0)
    cells = columns.blank(min(largest, columns.LARGEST), sum(lengths))
    start = 0
    for counts, first, length in zip(buckets, firsts, lengths, strict=True):
        shift = start - first
        for index, count in counts.items():
            cells[index + shift] = count
        start += length
    body = bytearray()
    columns.put_cells(body, cells)
    # Huffman codes alone: counts hold no repeats, and looking for them costs time and a few bytes.
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
    return packer.compress(bytes(body)) + packer.flush()


class Frame:
    """Read what pack() wrote, as far as it is asked for.

    Raises UnknownPayload for a version of the future, and DamagedPayload, also later, for bytes that contradict
    themselves.
    """

    def __init__(self, data: bytes) -> None:
        if not data or data[0] != VERSION:
            raise UnknownPayload(f"frame version {data[:1].hex() or 'missing'}, this code reads {VERSION}")
        try:
            (self.length, width), position = varint.take(data, 1, 2)
        except IndexError as error:
            raise DamagedPayload("a frame ends inside its head") from error
        if width > len(data):
            raise DamagedPayload(f"a frame of {len(data)} bytes cannot hold {width} counters")
        head = []
        for _ in range(_OWN + width):
            column, position = columns.take(data, position, self.length)
            head.append(column)
        self.rows: list[Row] = list(zip(*head, strict=True))
        self._deflated = data[position:]

    @cached_property
    def _cells(self) -> tuple[Sequence[int], list[int]]:
        """Return the counts of all buckets, and where those of each histogram begin."""
        starts = [0, *accumulate(row[_BUCKETS] for row in self.rows)]
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # Bounded: what claims to be larger than its own lengths say is damaged, or made to fill the memory.
            body = inflater.decompress(self._deflated, 8 * starts[-1] + 2)
        except zlib.error as error:
            raise DamagedPayload("the buckets of a frame cannot be inflated") from error
        if not inflater.eof:
            raise DamagedPayload("the buckets of a frame are cut or too many")
        return columns.take(body, 0, starts[-1])[0], starts

    def buckets(self, index: int) -> tuple[int, Sequence[int]]:
        """Return the first bucket of one histogram and the counts from there on."""
        cells, starts = self._cells
        return self.rows[index][_FIRST], cells[starts[index] : starts[index + 1]]

    def parts(self, index: int) -> Parts:
        """Return what one histogram is made of."""
        first, counts = self.buckets(index)
        row = self.rows[index]
        if sum(counts) != row[_COUNT]:
            raise DamagedPayload(f"a histogram of {row[_COUNT]} values holds {sum(counts)}")
        return {at: count for at, count in enumerate(counts, first) if count}, *row[:_FIRST]  # type: ignore[return-value]

    def counters(self, index: int) -> list[int]:
        """Return the counters of one histogram."""
        return list(self.rows[index][_OWN:])


def add_rows(rows: Iterable[Row]) -> Added:
    """Return the sums of count, sum and counters, and the largest max; what older rows lack counts as zero."""
    table = list(zip_longest(*rows, fillvalue=0))
    if not table:
        return 0, 0, 0, []
    return sum(table[_COUNT]), sum(table[_SUM]), max(table[_MAX]), [sum(column) for column in table[_OWN:]]
