"""What may be explained, and what is sent for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.db.fingerprint import normalise
from django_perf.db.plans.preparing import check, count_parameters, numbered
from django_perf.exceptions import Unexplainable


@pytest.mark.parametrize(
    "shape",
    [
        "SELECT ?",
        'SELECT "a" FROM "t" WHERE "x" = ? FOR UPDATE',
        'SELECT "a" FROM "t" FOR NO KEY UPDATE SKIP LOCKED',
        'WITH x AS (SELECT ?) SELECT "update", "set" FROM x',
        "(SELECT ?) UNION (SELECT ?)",
    ],
)
def test_a_select_may_be_explained(shape):
    check(shape)


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ("SELECT ?; DROP TABLE t", "more than one statement"),
        ("SELECT ?;", "the end of one"),
        ("DELETE FROM t", "only a SELECT"),
        ("UPDATE t SET a = ?", "only a SELECT"),
        ("COMMIT", "only a SELECT"),
        ("(Composed)", "only a SELECT"),
        ("CALL f", "only a SELECT"),
        ("", "only a SELECT"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "DELETE"),
        ("WITH x AS (INSERT INTO t VALUES (?)) SELECT ?", "INSERT"),
        ("SELECT * INTO t FROM s", "INTO"),
        ("SELECT a FROM t WHERE b IN (? …", "longer than what is kept"),
    ],
)
def test_anything_else_is_refused_with_the_reason(shape, why):
    with pytest.raises(Unexplainable, match=why):
        check(shape)


@pytest.mark.parametrize(
    ("shape", "prepared", "count"),
    [
        ('SELECT "a" FROM "t" WHERE "x" = ? LIMIT ?', 'SELECT "a" FROM "t" WHERE "x" = $1 LIMIT $2', 2),
        ("SELECT a FROM t", "SELECT a FROM t", 0),
        ('SELECT "a?b" FROM "t" WHERE "x" IN (?)', 'SELECT "a?b" FROM "t" WHERE "x" IN ($1)', 1),
        ('WHERE "d" ? ? AND "d" ?| ? AND d ?& ?', 'WHERE "d" ? $1 AND "d" ?| $2 AND d ?& $3', 3),
        ("WHERE (d -> ?) ? ? AND d ? ?", "WHERE (d -> $1) ? $2 AND d ? $3", 3),
        ("SELECT ? || ? || x, x %% ?", "SELECT $1 || $2 || x, x % $3", 3),
        ("CASE WHEN ? THEN ? ELSE ? END = ?", "CASE WHEN $1 THEN $2 ELSE $3 END = $4", 4),
        ("SELECT interval ?, a[?:?], ?::date", "SELECT interval $1, a[$2:$3], $4::date", 4),
        ("BETWEEN ? AND ? OFFSET ?", "BETWEEN $1 AND $2 OFFSET $3", 3),
    ],
)
def test_parameters_are_numbered_and_operators_of_json_stay(shape, prepared, count):
    assert numbered(shape) == (prepared, count)


def test_where_a_question_mark_is_never_an_operator_all_are_counted():
    assert count_parameters('SELECT "a?b", ? || ? FROM t WHERE x IN (?) AND y = ?') == 4


@given(st.text(max_size=200), st.sampled_from(["postgresql", "sqlite", "mysql"]))
def test_whatever_was_recorded_what_passes_holds_no_literal_no_comment_and_one_statement(text, vendor):
    shape = normalise(f"SELECT {text}", vendor)
    try:
        check(shape)
    except Unexplainable:
        return
    prepared, _ = numbered(shape)
    assert ";" not in prepared
    assert "'" not in prepared
    assert "--" not in prepared.replace("?--", "")
    assert "/*" not in prepared
