from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.exceptions import DamagedPayload, UnknownPayload
from django_perf.metrics.frame import Frame
from django_perf.metrics.histogram import MAX_VALUE, QUANTILE_ERROR, Histogram, bucket_bounds, bucket_index
from tests.strategies import histogram_of, quantiles, samples, values


@given(samples, quantiles)
def test_every_quantile_is_within_two_percent_of_the_sample(sample, q):
    exact = sorted(sample)[max(1, math.ceil(q * len(sample))) - 1]
    assert histogram_of(sample).quantile(q) == pytest.approx(exact, rel=QUANTILE_ERROR * 1.000001)


@given(st.integers(64, MAX_VALUE), st.integers(2, 500), quantiles)
def test_near_constant_data_is_within_two_percent(value, count, q):
    sample = [value] * count + [min(MAX_VALUE, value + value // 33)] * count
    exact = sorted(sample)[max(1, math.ceil(q * len(sample))) - 1]
    assert histogram_of(sample).quantile(q) == pytest.approx(exact, rel=QUANTILE_ERROR * 1.000001)


def test_quantiles_of_a_large_lognormal_sample_are_within_two_percent():
    source = random.Random(1)
    sample = sorted(int(source.lognormvariate(10, 1)) for _ in range(20_000))
    for q in (0.01, 0.5, 0.9, 0.95, 0.99, 0.999):
        assert histogram_of(sample).quantile(q) == pytest.approx(sample[math.ceil(q * 20_000) - 1], rel=QUANTILE_ERROR)


@given(values)
def test_a_value_lies_within_the_bounds_of_its_bucket(value):
    lowest, highest = bucket_bounds(bucket_index(value))
    assert lowest <= value <= highest
    assert highest - lowest <= lowest / 32


@given(values)
def test_buckets_follow_each_other_without_a_gap(value):
    index = bucket_index(value)
    assert bucket_bounds(index + 1)[0] == bucket_bounds(index)[1] + 1


@given(samples)
def test_adding_one_by_one_fills_the_bucket_that_the_index_names(sample):
    histogram = histogram_of(sample)
    for value in set(sample):
        assert histogram.counts[bucket_index(value)] >= sample.count(value)
    assert sum(histogram.counts.values()) == histogram.count == len(sample)


@given(samples)
def test_sum_minimum_maximum_and_mean_are_exact(sample):
    histogram = histogram_of(sample)
    assert (histogram.sum, histogram.min, histogram.max) == (sum(sample), min(sample), max(sample))
    assert histogram.mean == sum(sample) / len(sample)


@given(st.lists(samples, min_size=2, max_size=5), st.randoms())
def test_merging_in_any_order_gives_the_identical_bytes(parts, source):
    whole = histogram_of([value for part in parts for value in part])
    source.shuffle(parts)
    merged = Histogram()
    for part in parts:
        merged.merge(histogram_of(part))
    packed = Histogram.merged((Frame(histogram_of(part).to_bytes()), 0) for part in parts)
    assert merged.to_bytes() == packed.to_bytes() == whole.to_bytes()


@given(samples)
def test_bytes_round_trip(sample):
    histogram = histogram_of(sample)
    assert Histogram.from_bytes(histogram.to_bytes()).parts() == histogram.parts()


@pytest.mark.parametrize("count", [255, 256, 65_535, 65_536, 2**32])
def test_large_counts_round_trip(count):
    histogram = Histogram()
    histogram.counts = {100: count, 101: 1, 140: 2}
    histogram.count, histogram.sum, histogram.min, histogram.max = count + 3, 500, 136, 300
    assert Histogram.from_bytes(histogram.to_bytes()).counts == histogram.counts


def test_an_empty_histogram_answers_zero_and_round_trips():
    empty = Histogram.from_bytes(Histogram().to_bytes())
    assert (empty.count, empty.mean, empty.quantiles((0.5, 0.99))) == (0, 0.0, [0.0, 0.0])


def test_negative_values_count_as_zero_and_huge_ones_as_the_largest():
    histogram = histogram_of([-5, 2**80])
    assert (histogram.min, histogram.max, histogram.count) == (0, MAX_VALUE, 2)


def test_a_version_of_the_future_is_refused_not_guessed():
    with pytest.raises(UnknownPayload, match="version 02"):
        Histogram.from_bytes(b"\x02" + histogram_of([5]).to_bytes()[1:])


def test_no_bytes_at_all_are_refused():
    with pytest.raises(UnknownPayload, match="missing"):
        Histogram.from_bytes(b"")


@given(samples, st.integers(0, 5_000))
def test_bytes_that_were_cut_never_pass_for_a_histogram(sample, at):
    data = histogram_of(sample).to_bytes()
    cut = data[: at % len(data)]
    with pytest.raises((DamagedPayload, UnknownPayload)):
        Histogram.from_bytes(cut)
