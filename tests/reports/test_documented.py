"""What the reports are called, and their columns, stand in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_perf.advisor.report import REPORTS

TEXT = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
ROWS = dict(re.findall(r"^\| ([a-z_]+)(?: \(live\))? \| (`.*) \|$", TEXT, re.MULTILINE))


def test_every_report_is_documented_and_no_other():
    assert set(ROWS) == set(REPORTS)


@pytest.mark.parametrize("name", REPORTS)
def test_every_column_is_documented_in_its_order(name):
    columns, _, _ = ROWS[name].partition("; totals:")
    documented = re.findall(r"`([a-z0-9_]+)`", columns)
    assert documented == [column.name for column in REPORTS[name].columns]


@pytest.mark.parametrize("report", REPORTS.values(), ids=lambda report: report.name)
def test_every_unit_is_documented(report):
    for column in report.columns:
        assert f"`{column.unit}`" in TEXT
