from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.exceptions import DamagedPayload, UnknownPayload
from django_perf.metrics import columns
from django_perf.metrics.frame import Frame, add_rows, pack
from django_perf.metrics.histogram import Histogram
from tests.strategies import histogram_of, samples

counters = st.lists(st.integers(0, 2**64 - 1), max_size=4)
many = st.lists(st.tuples(st.one_of(st.just([]), samples), counters), max_size=6)


def packed(series, level=6):
    return pack([histogram_of(sample).parts() for sample, _ in series], [own for _, own in series], level)


@given(many, st.sampled_from([0, 1, 6, 9]))
def test_histograms_and_counters_round_trip_at_every_level(series, level):
    frame = Frame(packed(series, level))
    assert frame.length == len(series)
    for index, (sample, own) in enumerate(series):
        assert frame.parts(index) == histogram_of(sample).parts()
        assert frame.counters(index)[: len(own)] == own
        assert not any(frame.counters(index)[len(own) :])


@given(many)
def test_the_head_alone_adds_up(series):
    count, total, largest, sums = add_rows(Frame(packed(series)).rows)
    values = [value for sample, _ in series for value in sample]
    assert (count, total, largest) == (len(values), sum(values), max(values, default=0))
    assert sums == [sum(own[at] for _, own in series if at < len(own)) for at in range(len(sums))]


@given(many.filter(len))
def test_merging_slices_gives_what_merging_one_by_one_gives(series):
    frame, one_by_one = Frame(packed(series)), Histogram()
    for sample, _ in series:
        one_by_one.merge(histogram_of(sample))
    merged = Histogram.merged((frame, index) for index in range(frame.length))
    assert merged.parts() == one_by_one.parts()


@given(many.filter(len), st.integers(0, 10_000))
def test_a_frame_that_was_cut_is_damaged_never_read_wrongly(series, at):
    data = packed(series)
    with pytest.raises((DamagedPayload, UnknownPayload)):
        Frame(data[: at % len(data)]).parts(0)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise_anything_else(noise):
    try:
        frame = Frame(b"\x01" + noise)
        for index in range(frame.length):
            frame.parts(index)
    except DamagedPayload:
        return
    assert frame.length >= 0


def test_a_version_of_the_future_is_refused():
    with pytest.raises(UnknownPayload, match="version 02"):
        Frame(b"\x02" + packed([])[1:])


def test_a_short_text_that_inflates_to_gigabytes_is_not_inflated():
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bomb.compress(b"\x01" + bytes(10_000_000)) + bomb.flush()
    head = pack([histogram_of([1, 2]).parts()])
    frame = Frame(head[: -len(_body_of(head))] + body)
    with pytest.raises(DamagedPayload):
        frame.parts(0)


def _body_of(data):
    return Frame(data)._deflated


def test_a_busy_minute_takes_fewer_bytes_than_a_row_of_forty_counters():
    source = random.Random(2)
    series = [([int(source.lognormvariate(10, 0.6)) for _ in range(60)], [1, 0, 900_000, 60]) for _ in range(31)]
    assert len(packed(series)) / 31 < 75


@given(st.lists(st.integers(0, 2**70)), st.binary(max_size=5))
def test_columns_round_trip_and_cut_what_is_above_64_bits(values, before):
    out = bytearray(before)
    columns.put(out, values)
    found, end = columns.take(bytes(out), len(before), len(values))
    assert list(found) == [min(value, columns.LARGEST) for value in values]
    assert end == len(out)
