"""Count values in log-linear buckets: any quantile within 2 %, merging exact.

The layout is that of HdrHistogram (G. Tene): integers below 64 have a bucket each, above that every octave is cut into
32 equal buckets, so a bucket is at most 1/32 = 3.1 % wide. Buckets are kept sparse: a quiet series costs a few bytes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from ..exceptions import DamagedPayload
from . import columns, frame

QUANTILE_ERROR = 0.02
# 2**50 us are 35 years, 2**50 bytes a petabyte: larger values share the last bucket, so indices stay small.
MAX_VALUE = 2**50 - 1

_SUB_BITS = 5
_EXACT = 2 << _SUB_BITS


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


BUCKETS = bucket_index(MAX_VALUE) + 1


def last_bucket(limit: int) -> int:
    """Return the bucket whose largest value lies nearest to `limit`: it is less than 1/64 (1.6 %) away."""
    index = bucket_index(limit)
    lowest, highest = bucket_bounds(index)
    return index if highest - limit <= limit - (lowest - 1) else index - 1


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

    def add_counts(self, counted: Mapping[int, int]) -> None:
        """Count values that came several times: value -> how often."""
        counts = self.counts
        for value, number in counted.items():
            value = min(max(value, 0), MAX_VALUE)
            index = bucket_index(value)
            counts[index] = counts.get(index, 0) + number
            self.sum += value * number
            self.max, self.min = max(self.max, value), min(self.min, value)
            self.count += number

    def merge(self, other: Histogram) -> None:
        """Add the counts of `other`; any order of merging gives the same result."""
        self.merge_counts(other.counts.items())
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

    def cumulative(self, lasts: Sequence[int]) -> list[int]:
        """Return how many values lie in the buckets up to each of `lasts`; exact, and never less after a merge."""
        indexes = sorted(self.counts)
        running = list(accumulate((self.counts[index] for index in indexes), initial=0))
        return [running[bisect_right(indexes, last)] for last in lasts]

    def parts(self) -> frame.Parts:
        """Return what a frame packs."""
        return self.counts, self.count, self.sum, self.min, self.max

    def merge_parts(self, parts: frame.Parts) -> None:
        """Add what a frame unpacked."""
        counts, count, total, lowest, highest = parts
        self.merge_counts(counts.items())
        self.count += count
        self.sum += total
        self.min = min(self.min, lowest)
        self.max = max(self.max, highest)

    def merge_counts(self, counts: Iterable[tuple[int, int]]) -> None:
        """Add (bucket, count) pairs alone."""
        own = self.counts
        get = own.get
        for index, count in counts:
            own[index] = get(index, 0) + count

    def to_bytes(self) -> bytes:
        """Pack into bytes that start with the version; equal histograms give equal bytes, however they were merged."""
        return frame.pack([self.parts()])

    @classmethod
    def merged(cls, packed: Iterable[tuple[frame.Frame, int]]) -> Histogram:
        """Merge histograms of frames without unpacking them one by one: a page merges thousands of them.

        One whose buckets are damaged is left out: the head of its frame has said how many values it holds.
        """
        histogram = cls()
        runs = []
        for source, index in packed:
            if (run := _readable_run(source, index)) is not None:
                runs.append(run)
                histogram.sum += source.head.at(frame.SUM, index)
                histogram.min = min(histogram.min, source.head.at(frame.MIN, index))
                histogram.max = max(histogram.max, source.head.at(frame.MAX, index))
        first, counts = columns.add_shifted(runs) if runs else (0, ())
        histogram.counts = {at: count for at, count in enumerate(counts, first) if count}
        histogram.count = sum(counts)
        return histogram

    @classmethod
    def from_bytes(cls, data: bytes) -> Histogram:
        """Read what to_bytes() wrote.

        Raises UnknownPayload for a version of the future, DamagedPayload for bytes that contradict themselves.
        """
        packed = frame.Frame(data)
        if packed.length != 1:
            raise DamagedPayload(f"a frame of {packed.length} histograms, not of one")
        histogram = cls()
        histogram.merge_parts(packed.parts(0))
        return histogram


def _readable_run(source: frame.Frame, index: int) -> frame.Run | None:
    """Return the packed buckets of one histogram, None where they are damaged or none."""
    try:
        run = first, width, raw = source.run(index)
    except DamagedPayload:
        return None
    return run if raw and first + len(raw) // width <= BUCKETS else None
