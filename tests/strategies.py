"""Generate the inputs that property tests share."""

from __future__ import annotations

from hypothesis import strategies as st

from django_perf.metrics.histogram import MAX_VALUE, Histogram

# Small numbers, near-constant ones and huge ones: each takes another path through the buckets.
values = st.one_of(
    st.integers(0, 200),
    st.integers(0, 5_000_000),
    st.integers(999_990, 1_000_010),
    st.integers(0, MAX_VALUE),
)
samples = st.lists(values, min_size=1, max_size=300)
quantiles = st.floats(0, 1)


def histogram_of(sample: list[int]) -> Histogram:
    """Return a histogram of `sample`."""
    histogram = Histogram()
    histogram.add_all(sample)
    return histogram
