"""What chance can do, and what it cannot."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.advisor.statistics import deviations, doubt, slope, steadiness

NUMBERS = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ((10, 100), (10, 100), 0.0),
        ((20, 100), (10, 100), 1.98),  # worked out by hand: 0.1 / sqrt(0.15 * 0.85 * 0.02)
        ((10, 100), (20, 100), -1.98),
        ((0, 100), (0, 100), 0.0),
        ((100, 100), (100, 100), 0.0),
        ((5, 10), (0, 0), 0.0),
        ((0, 0), (5, 10), 0.0),
    ],
)
def test_a_rate_is_compared_with_that_of_before(now, before, expected):
    assert deviations(*now, *before) == pytest.approx(expected, abs=0.01)


def test_equal_rates_are_four_deviations_apart_once_in_thirty_thousand():
    chance = random.Random(1)

    def errors():
        return sum(chance.random() < 0.02 for _ in range(300))

    assert max(deviations(errors(), 300, errors(), 300) for _ in range(500)) < 4


def test_the_slope_is_that_of_the_line_whatever_a_few_points_do():
    points = [(x, 3 * x + 5) for x in range(20)]
    assert slope(points) == 3
    assert slope([*points[:18], (18, 1e9), (19, -1e9)]) == pytest.approx(3)
    assert slope([(1, 1)]) == slope([]) == 0


def test_rising_all_the_time_is_steady_and_a_step_is_not():
    assert steadiness([(x, x**3) for x in range(20)]) == 1
    assert steadiness([(x, -x) for x in range(20)]) == -1
    assert steadiness([(x, x >= 10) for x in range(20)]) == pytest.approx(0.53, abs=0.01)
    assert steadiness([(1, 1)]) == 0


@given(st.lists(NUMBERS, min_size=2, max_size=12))
def test_both_are_turned_round_with_the_points(values):
    points = list(enumerate(values))
    turned = [(x, -y) for x, y in points]
    assert steadiness(turned) == -steadiness(points)
    assert slope(turned) == pytest.approx(-slope(points))


def test_of_more_values_a_quantile_is_known_better():
    assert doubt(0.5, 100) == pytest.approx(0.15)
    assert doubt(0.95, 10_000) == pytest.approx(0.0065, abs=0.0001)
