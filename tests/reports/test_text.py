"""Values as people read them."""

from __future__ import annotations

import pytest

from django_perf.reports.text import short_sql, text_of


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", "–"),
        ("[red]", "text", "[red]"),
        (0.4, "us", "0.40\u00a0µs"),
        (310.0, "us", "310\u00a0µs"),
        (12_340, "us", "12.3\u00a0ms"),
        (0.0, "ms", "0\u00a0ms"),
        (0.1234, "ms", "0.12\u00a0ms"),
        (12.34, "ms", "12.3\u00a0ms"),
        (999.4, "ms", "999\u00a0ms"),
        (1_234.0, "ms", "1.23\u00a0s"),
        (90_000.0, "ms", "1 min 30 s"),
        (59.4, "s", "59 s"),
        (3_725, "s", "1 h 2 min"),
        (90_061, "s", "1 d 1 h"),
        (999, "bytes", "999\u00a0B"),
        (1_500, "bytes", "1.50\u00a0kB"),
        (2.5e18, "bytes", "2\u202f500\u00a0PB"),
        (0.0, "ratio", "0\u00a0%"),
        (0.004, "ratio", "0.4\u00a0%"),
        (0.12, "ratio", "12\u00a0%"),
        (87.6, "percent", "88\u00a0%"),
        (1234567, "count", "1\u202f234\u202f567"),
        (1234567, "id", "1234567"),
        (0.25, "per_s", "0.25/s"),
        (3.0, "number", "3"),
    ],
)
def test_a_value_is_written_with_its_unit_and_no_needless_digit(value, unit, text):
    assert text_of(value, unit) == text


def test_a_long_list_of_columns_is_left_out():
    columns = ", ".join(f'"shop"."column_{number}"' for number in range(9))
    assert short_sql(f'SELECT DISTINCT {columns} FROM "shop" WHERE 1') == 'SELECT DISTINCT … FROM "shop" WHERE 1'


@pytest.mark.parametrize("sql", ["SELECT 1", 'SELECT "a", "b" FROM "t"', "UPDATE t SET a = 1 FROM u", "…"])
def test_other_statements_are_left_as_they_are(sql):
    assert short_sql(sql) == sql
