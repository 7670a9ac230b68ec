"""The rules, without a database: what is an N+1 and what only looks like one."""

from __future__ import annotations

import pytest

from django_perf.db import findings

MS = 1_000_000


@pytest.mark.parametrize(
    ("calls", "ns", "is_one"),
    [
        (4, 900 * MS, False),
        (5, 10 * MS, True),
        (5, 10 * MS - 1, False),
        (19, 10 * MS - 1, False),
        (20, 0, True),
        (500, 0, True),
    ],
)
def test_five_from_one_place_that_cost_something_or_twenty_are_one_for_each(calls, ns, is_one):
    assert findings.is_n_plus_one(calls, ns) is is_one


@pytest.mark.parametrize(
    ("sql", "rows", "is_one"),
    [
        ("SELECT a FROM t", 1_001, True),
        ("SELECT a FROM t", 1_000, False),
        ("SELECT a FROM t LIMIT ?", 5_000, False),
        ("SELECT a FROM t FETCH FIRST ? ROWS ONLY", 5_000, False),
        ("WITH x AS (SELECT ?) SELECT a FROM x", 2_000, True),
        ("UPDATE t SET a = ?", 5_000, False),
        ('SELECT "limited" FROM t', 2_000, True),
    ],
)
def test_a_result_is_unbounded_when_nobody_has_set_a_limit(sql, rows, is_one):
    assert findings.is_unbounded(sql, rows) is is_one


@pytest.mark.parametrize(
    ("held", "waiting", "is_one"),
    [(100, 100, True), (200, 100, True), (201, 100, False), (99, 99, False), (1_000, 600, True)],
)
def test_a_transaction_is_held_open_when_it_waits_for_long_and_for_half_of_its_time(held, waiting, is_one):
    assert findings.is_held_open(held * MS, waiting * MS) is is_one


@pytest.mark.parametrize(
    ("sql", "may"),
    [("SELECT ?", True), ("(SELECT ?) UNION (SELECT ?)", True), ("INSERT INTO t VALUES (?)", False), ("COMMIT", False)],
)
def test_only_questions_can_be_asked_twice(sql, may):
    assert findings.may_be_duplicate(sql) is may
