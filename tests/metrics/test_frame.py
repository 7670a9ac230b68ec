from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.exceptions import DamagedPayload, UnknownPayload
from django_perf.metrics import columns
from django_perf.metrics.frame import COUNT, COUNTERS, MAX, SUM, Frame, Stack, column, pack
from django_perf.metrics.histogram import Histogram
from tests.strategies import histogram_of, samples

counters = st.lists(st.integers(0, 2**64 - 1), max_size=4)
many = st.lists(st.tuples(st.one_of(st.just([]), samples), counters), max_size=6)


def packed(series):
    return pack([histogram_of(sample).parts() for sample, _ in series], [own for _, own in series])


@given(many)
def test_histograms_and_counters_round_trip(series):
    frame = Frame(packed(series))
    assert frame.length == len(series)
    for index, (sample, own) in enumerate(series):
        assert frame.parts(index) == histogram_of(sample).parts()
        assert frame.counters(index)[: len(own)] == own
        assert not any(frame.counters(index)[len(own) :])


@given(st.lists(st.tuples(*[st.tuples(st.one_of(st.just([]), samples), counters)] * 2), min_size=1, max_size=4))
def test_the_heads_of_a_stack_add_up_what_its_frames_hold(frames):
    stack = Stack(*[Frame(packed(series)) for series in frames])
    for index in range(2):
        values = [value for series in frames for value in series[index][0]]
        assert sum(column([(stack, index)], COUNT)) == len(values)
        assert sum(column([(stack, index)], SUM)) == sum(values)
        assert max(column([(stack, index)], MAX)) == max(values, default=0)
        for at in range(5):
            expected = sum(series[index][1][at] for series in frames if at < len(series[index][1]))
            assert sum(column([(stack, index)], COUNTERS + at)) == expected


@given(st.lists(st.tuples(st.integers(0, 40), st.lists(st.integers(0, 2**64 - 1))), min_size=1, max_size=6))
def test_shifted_columns_add_up_exactly(parts):
    packed, expected = [], [0] * 2_000
    for place, values in parts:
        code = columns.code_of(max(values, default=0))
        cells = columns.blank(code, len(values))
        for at, value in enumerate(values):
            cells[at] = value
            expected[place + at] += value
        packed.append((place, columns.WIDTHS[code], columns.little_endian(cells)))
    first, found = columns.add_shifted(packed)
    assert [0] * first + list(found) == expected[: first + len(found)]
    assert not any(expected[first + len(found) :])


def test_a_histogram_that_claims_buckets_beyond_the_last_is_left_out():
    good, far = pack([histogram_of([7]).parts()]), pack([({2**40: 1}, 1, 9, 9, 9)])
    merged = Histogram.merged([(Frame(good), 0), (Frame(far), 0)])
    assert merged.parts() == histogram_of([7]).parts()


@given(many.filter(len))
def test_merging_packed_gives_what_merging_one_by_one_gives(series):
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


@given(many.filter(len), st.integers(0, 10_000))
def test_of_a_frame_that_was_cut_each_run_is_whole_or_damaged(series, at):
    data = packed(series)
    whole, cut = Frame(data), data[: len(data) - at % len(_body_of(data))]
    for index in range(len(series)):
        try:
            assert Frame(cut).run(index) == whole.run(index)
        except DamagedPayload:
            assert cut != data


def test_the_buckets_behind_those_that_were_asked_for_are_not_inflated():
    sample = range(1, 2**40, 2**31)
    frame = Frame(packed([(sample, []) for _ in range(50)]))
    assert frame.run(3) == Frame(packed([(sample, [])])).run(0)
    assert len(frame._cells()._body) < len(frame.run(3)[2]) * 5


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


@given(st.lists(st.tuples(*[st.integers(0, 2**70)] * 3)), st.binary(max_size=5))
def test_columns_round_trip_and_cut_what_is_above_64_bits(rows, before):
    table = [[row[at] for row in rows] for at in range(3)]
    out = bytearray(before)
    columns.put(out, table)
    found = columns.Columns(bytes(out), len(before), 3, len(rows))
    assert [list(found[at]) for at in (2, 0, 1)] == [
        [min(value, columns.LARGEST) for value in table[at]] for at in (2, 0, 1)
    ]
    assert found.end == len(out)
