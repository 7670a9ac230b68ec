"""The map of durations over time, sparklines, and where marks stand."""

from __future__ import annotations

import pytest

from django_perf.dashboard.charts import SPARK, WIDTH, Chart, sparkline
from django_perf.dashboard.heat import HEIGHT, heat_map
from django_perf.metrics.aggregate import Aggregate, pack_aggregates
from django_perf.metrics.frame import Frame, Stack
from django_perf.store.reader import Sum
from tests.store.data import MIDNIGHT


def of(*values):
    sum_, aggregate = Sum(), Aggregate()
    if values:
        aggregate.add_all(values)
        sum_.add([(Stack(Frame(pack_aggregates([aggregate]))), 0)])
    return sum_


def test_nothing_makes_no_map():
    assert heat_map([]) is None
    assert heat_map([(MIDNIGHT, of()), (MIDNIGHT + 1, of())]) is None


def test_each_time_and_band_with_requests_is_a_cell_the_darker_the_more():
    found = heat_map([(MIDNIGHT, of(*[1_500] * 4, 90_000)), (MIDNIGHT + 1, of()), (MIDNIGHT + 2, of(1_500))])
    assert [(cell.x, cell.y, cell.shade) for cell in found.cells] == [
        (0, 5 * HEIGHT, 1),
        (0, 0, 0.5),
        (400, 5 * HEIGHT, 0.5),
    ]
    assert [cell.text for cell in found.cells] == [
        "2024-10-04 00:00 UTC, up to 2 ms: 4",
        "2024-10-04 00:00 UTC, up to 100 ms: 1",
        "2024-10-04 00:02 UTC, up to 2 ms: 1",
    ]
    assert found.bands[0] == (0, "100 ms")
    assert found.bands[-1] == (5 * HEIGHT, "2 ms")
    assert (found.width, found.height, found.cell_width) == (600, 6 * HEIGHT, 200)


def test_what_takes_longest_has_a_band_without_a_bound():
    (cell,) = heat_map([(MIDNIGHT, of(90_000_000))]).cells
    assert cell.text.endswith("more than 5 s: 1")


def test_very_many_times_share_columns_and_no_request_is_lost():
    found = heat_map([(MIDNIGHT + number, of(1_500)) for number in range(180)])
    assert len(found.cells) == 60
    assert sum(int(cell.text.rpartition(": ")[2]) for cell in found.cells) == 180


@pytest.mark.parametrize("values", [(), (1,), (None, None), (0, 0), (None, 5)])
def test_a_sparkline_needs_two_points(values):
    assert sparkline(values) == ""


def test_a_sparkline_fills_its_box():
    width, height = SPARK
    assert sparkline((0.0, 2, None, 4)).startswith(f"M0.0 {height}.0")
    assert f"M{width}.0 {height * 0.05:.1f}" in sparkline((0.0, 2, None, 4))


@pytest.mark.parametrize(("moment", "x"), [(0, 0), (60, WIDTH), (30, WIDTH / 2), (-1, None), (61, None)])
def test_a_mark_stands_where_its_time_is(moment, x):
    assert Chart("a", "A", "ms", [0, 30, 60], []).at(moment) == x


def test_a_chart_of_one_point_has_no_room_for_marks():
    assert Chart("a", "A", "ms", [0], []).at(0) is None
