"""The rules by themselves: when something is worth a look, and when somebody has to act."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_perf.db.health.checks import vitals
from django_perf.db.health.facts import Facts, ForeignKey, Index, Sequence, Server, Session, Table

SERVER = Server("18.1", "app", 0.999, 10**6, 10, 97, 0, 0, 10**9, 30.0, 0.01, True)
TABLE = Table("t", 50_000.0, 10**8, 5, 1.0, 10_000, 0, 0.5, 0.5)
INDEX = Index("t", "t_a", ("a",), 10**7, 100, False, True, 50_000.0, None, 'public."t_a"')
SESSION = Session(7, "app", "gunicorn", "active", 1.0, 1.0, "", (), "SELECT ?")


def told(server=SERVER, **lists):
    """Return {check: (state, what)} of what is not simply well."""
    found = vitals(Facts("default", server, has_statements=True, **lists), {})
    return {vital.check: (vital.state, vital.what) for vital in found if vital.state != "ok"}


def test_nothing_is_told_where_all_is_well():
    assert told(tables=[TABLE], indexes=[INDEX], sessions=[SESSION]) == {}


@pytest.mark.parametrize(
    ("changes", "check", "state"),
    [
        ({"hit_ratio": 0.9}, "cache", "look"),
        ({"connections": 75}, "connections", "look"),
        ({"connections": 90}, "connections", "act"),
        ({"wraparound": 0.6}, "wraparound", "look"),
        ({"wraparound": 0.9}, "wraparound", "act"),
        ({"can_see_all": False}, "permissions", "look"),
    ],
)
def test_the_server(changes, check, state):
    assert told(replace(SERVER, **changes)) == {check: (state, "")}


def test_a_cold_cache_says_nothing_yet():
    assert told(replace(SERVER, hit_ratio=0.5, blocks_read=1_000)) == {}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"seq_scans": 5_000, "rows_per_scan": 50_000.0}, "scanned table"),
        ({"dead_rows": 20_000}, "dead rows"),
        ({"analyze_days": None}, "no statistics"),
    ],
)
def test_tables(changes, check):
    assert told(tables=[replace(TABLE, **changes)]) == {check: ("look", "t")}


@pytest.mark.parametrize(
    "changes",
    [
        {"seq_scans": 50, "rows_per_scan": 50_000.0},
        {"seq_scans": 500, "rows_per_scan": 50_000.0, "index_scans": 10**6},
        {"seq_scans": 5_000, "rows_per_scan": 20.0},
        {"dead_rows": 9_000},
        {"dead_rows": 20_000, "rows": 10**6},
        {"analyze_days": None, "rows": 100.0},
    ],
)
def test_tables_that_are_well_enough(changes):
    assert told(tables=[replace(TABLE, **changes)]) == {}


@pytest.mark.parametrize(
    ("changes", "check", "state"),
    [
        ({"scans": 0}, "unused index", "look"),
        ({"is_valid": False}, "invalid index", "act"),
    ],
)
def test_indexes(changes, check, state):
    assert told(indexes=[replace(INDEX, **changes)]) == {check: (state, "t_a")}


@pytest.mark.parametrize("changes", [{"scans": 0, "is_unique": True}, {"scans": 0, "bytes": 8_192}])
def test_indexes_that_are_kept_for_a_reason(changes):
    assert told(indexes=[replace(INDEX, **changes)]) == {}


def test_statistics_of_three_days_do_not_condemn_an_index():
    assert told(replace(SERVER, stats_days=3.0), indexes=[replace(INDEX, scans=0)]) == {}


def test_a_longer_index_makes_a_large_short_one_needless_and_a_small_one_is_left_alone():
    longer = replace(INDEX, name="t_ab", columns=("a", "b"))
    for size, expected in ((10**7, {"duplicate index": ("look", "t_a")}), (8_192, {})):
        assert told(indexes=[longer, replace(INDEX, bytes=size, twin="t_ab")]) == expected


@pytest.mark.parametrize(
    ("changes", "check", "state"),
    [
        ({"transaction_s": 61.0}, "long transaction", "look"),
        ({"state": "idle in transaction", "state_s": 31.0}, "idle transaction", "act"),
        ({"state": "idle in transaction (aborted)", "state_s": 31.0}, "idle transaction", "act"),
        ({"blocked_by": (9,)}, "blocked session", "act"),
    ],
)
def test_sessions(changes, check, state):
    assert told(sessions=[replace(SESSION, **changes)]) == {check: (state, "pid 7 gunicorn: SELECT ?")}


def test_a_small_table_needs_no_index_on_its_foreign_key():
    key = ForeignKey("t", ("a_id",), "a", 999.0)
    assert told(foreign_keys=[key]) == {}
    assert told(foreign_keys=[replace(key, rows=1_000.0)]) == {"missing index": ("act", "t (a_id)")}


@pytest.mark.parametrize(("used", "expected"), [(0.4, {}), (0.6, {"sequence": ("look", "s")})])
def test_sequences(used, expected):
    assert told(sequences=[Sequence("s", 1, used)]) == expected


def test_the_urgent_comes_first():
    found = vitals(
        Facts(
            "default",
            replace(SERVER, can_see_all=False, connections=95),
            unanswered={"tables": "57014"},
            has_statements=True,
        ),
        {},
    )
    assert [vital.state for vital in found] == ["act", "look", "unknown", "ok"]
