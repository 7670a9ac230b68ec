"""A chart never shows the end of a site that is only waiting for its next flush."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from django_perf.dashboard.page import settled

MINUTE = 20_000 * 1_440


def points(*counts):
    return [(MINUTE + number, SimpleNamespace(count=count)) for number, count in enumerate(counts)]


@pytest.mark.parametrize("last", [0, 3])
def test_the_minute_that_runs_is_left_out(last):
    shown = settled(points(5, 5, last), (MINUTE + 2) * 60 + 30)
    assert [sum_.count for _, sum_ in shown] == [5, 5]


def test_a_longer_point_is_shown_from_its_second_minute_on():
    assert len(settled(points(5, 5, 5), (MINUTE + 2) * 60 + 60)) == 3


def test_the_first_minute_of_a_site_is_shown_for_there_is_nothing_else():
    assert len(settled(points(0, 0, 3), (MINUTE + 2) * 60 + 30)) == 3
