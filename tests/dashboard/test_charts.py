"""The pure part of the charts: numbers to SVG paths."""

from __future__ import annotations

import pytest

from django_perf.dashboard.charts import HEIGHT, WIDTH, Chart, Line

TOP = 6.0


def chart(*values, **fields):
    times = [60 * number for number in range(len(values))]
    return Chart("rate", "Rate", "per_s", times, [Line("requests", "1", values)], **fields)


def path(*values):
    (line,) = chart(*values).paths()
    return line["path"]


def test_a_line_runs_from_edge_to_edge_and_its_highest_point_stays_below_the_top():
    assert path(0, 5, 10) == f"M0.0 {HEIGHT}.0h1L{WIDTH / 2} {TOP + (HEIGHT - TOP) / 2}L{WIDTH}.0 {TOP}"


def test_a_gap_breaks_the_line():
    assert path(1, None, 1).count("M") == 2


def test_a_point_between_two_gaps_is_visible():
    assert path(None, 1, None) == f"M{WIDTH / 2} {TOP}h1"


def test_one_point_alone_stands_at_the_left():
    assert path(3) == f"M0.0 {TOP}h1"


@pytest.mark.parametrize("values", [(), (None,), (None, None), (0, 0.0, None)])
def test_nothing_but_gaps_and_zeros_is_empty(values):
    assert chart(*values).is_empty
    assert chart(*values).highest == 1.0


@pytest.mark.parametrize("values", [(), (None, None)])
def test_a_line_without_values_has_no_path(values):
    assert path(*values) == ""


def test_a_single_value_makes_it_worth_drawing():
    assert not chart(None, 0.001, None).is_empty


def test_all_lines_share_one_scale():
    lines = [Line("high", "1", [10, 10]), Line("low", "2", [0, 5])]
    high, low = Chart("x", "X", "ms", [0, 60], lines).paths()
    assert high["path"].endswith(f" {TOP}")
    assert low["path"].endswith(f" {TOP + (HEIGHT - TOP) / 2}")


def test_the_script_gets_what_the_svg_shows():
    assert chart(1.5, None).data() == {
        "unit": "per_s",
        "times": [0, 60],
        "lines": [{"label": "requests", "tone": "1", "values": [1.5, None]}],
    }
