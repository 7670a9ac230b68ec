"""Which rows answer a range of time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from django_perf.store.tiers import DAY, HOUR, TIERS, Segment, ceiling, floor, resolution, segments

minutes = st.integers(0, 30 * DAY)


@st.composite
def rolled_maps(draw):
    """Return how far each tier is made; every tier on its own, which is more than a compactor can do."""
    numbers = draw(st.sets(st.sampled_from([tier.number for tier in TIERS])))
    return {number: floor(draw(minutes), TIERS[number].size) for number in numbers}


@given(minutes, minutes, rolled_maps())
def test_segments_cover_a_range_exactly_once_in_order(start, end, rolled):
    covered = start
    for segment in segments(start, end, rolled):
        assert segment.start == covered
        assert segment.end > segment.start
        covered = segment.end
    assert covered == max(start, end)


@given(minutes, minutes, rolled_maps())
def test_segments_ask_a_tier_for_whole_buckets_that_are_made(start, end, rolled):
    for segment in segments(start, end, rolled):
        size = TIERS[segment.tier].size
        assert segment.start % size == segment.end % size == 0
        assert segment.tier == 0 or segment.end <= rolled[segment.tier]


def test_a_range_of_days_is_read_from_as_few_rows_as_possible():
    rolled = {1: 3 * DAY, 2: 3 * DAY, 3: 3 * DAY}
    assert list(segments(DAY - 61, 2 * DAY + 11, rolled)) == [
        Segment(0, DAY - 61, DAY - 60),
        Segment(2, DAY - 60, DAY),
        Segment(3, DAY, 2 * DAY),
        Segment(1, 2 * DAY, 2 * DAY + 10),
        Segment(0, 2 * DAY + 10, 2 * DAY + 11),
    ]


def test_segments_go_no_higher_than_the_tier_they_are_told():
    rolled = {1: 3 * DAY, 2: 3 * DAY, 3: 3 * DAY}
    assert list(segments(0, DAY, rolled, 1)) == [Segment(1, 0, DAY)]


@given(minutes, st.sampled_from([tier.size for tier in TIERS]))
def test_floor_and_ceiling_are_the_nearest_multiples(minute, size):
    assert floor(minute, size) <= minute <= ceiling(minute, size)
    assert ceiling(minute, size) - floor(minute, size) == (size if minute % size else 0)


def test_each_tier_is_kept_for_as_long_as_promised():
    # The last tier needs no hour of slack: nothing reads its first day by the minute.
    assert [(tier.size, tier.keep) for tier in TIERS] == [
        (1, 24 * HOUR + HOUR),
        (10, 7 * DAY + HOUR),
        (60, 35 * DAY + HOUR),
        (DAY, 400 * DAY),
    ]


def test_resolution_is_the_finest_bucket_surely_kept():
    ages = [0, DAY - 1, DAY, 7 * DAY - 1, 7 * DAY, 35 * DAY - 1, 35 * DAY, 500 * DAY]
    assert [resolution(age) for age in ages] == [1, 1, 10, 10, 60, 60, DAY, DAY]
