from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.db.fingerprint import MAX_SQL, normalise

CASES = [
    ("SELECT 1", "SELECT ?"),
    ("select  a ,\n b from t", "select a , b from t"),
    ('SELECT "t"."id" FROM "t" WHERE "t"."x" = %s LIMIT 21', 'SELECT "t"."id" FROM "t" WHERE "t"."x" = ? LIMIT ?'),
    ("select 'it''s me' -- bob\nfrom t", "select ? from t"),
    ("select 1 /* bob@example.org */ + 2", "select ? + ?"),
    ("select E'a\\'b', N'x', U&'y', X'ff'", "select ?, ?, ?, ?"),
    ("select $$secret$$, $tag$ secret $tag$", "select ?, ?"),
    ("select 'a\\' and x = 'secret'", "select ? and x = ?"),
    ("select -1.5e-3, .5, 0xFF, 1_000", "select -?, ?, ?, ?"),
    ("where t1.c2 = $1 and x = :name and y::int = ?", "where t1.c2 = ? and x = ? and y::int = ?"),
    ("where a in (1, 2,3) and b in (%s, %s)", "where a in (?) and b in (?)"),
    ("insert into t (a, b) values (1, 'x'), (2, 'y'), (%s, lower(%s))", "insert into t (a, b) values (?), …"),
    ('where n = "bob@example.org"', "where n = ?"),
    ('SAVEPOINT "s140001_x7"', "SAVEPOINT ?"),
    ('RELEASE SAVEPOINT "s140001_x7"', "RELEASE SAVEPOINT ?"),
    ("select 'never closed secret", "select ?"),
    ("select 5 /* never closed secret", "select ?"),
    ("", ""),
]


@pytest.mark.parametrize(("sql", "shape"), CASES)
def test_literals_go_and_the_shape_stays(sql, shape):
    assert normalise(sql) == shape


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ('select * from `t` where n = "bob"', "select * from `t` where n = ?"),
        ("select 'a\\'secret' # secret", "select ?"),
        ('select "a\\"secret"', "select ?"),
    ],
)
def test_mysql_has_rules_of_its_own(sql, shape):
    assert normalise(sql, "mysql") == shape


secret = st.text(st.sampled_from("abcdefghij@.'\"\\$-/*#;()%? \n"), min_size=0, max_size=25).map(
    lambda text: "SECRET" + text
)


@given(secret)
def test_a_quoted_text_never_survives_in_postgresql_and_sqlite(text):
    quoted = text.replace("'", "''")
    assert "SECRET" not in normalise(f"select a from t where x = '{quoted}' and y = '{quoted}' limit 5")


@given(secret)
def test_a_quoted_text_never_survives_in_mysql(text):
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    assert "SECRET" not in normalise(f"select a from t where x = '{quoted}' and y = '{quoted}' limit 5", "mysql")


@given(st.text(max_size=4_000))
def test_any_text_gives_one_bounded_line(sql):
    shape = normalise(sql)
    assert len(shape) <= MAX_SQL
    assert "\n" not in shape


@given(st.sampled_from([sql for sql, _ in CASES]), st.integers(1, 5))
def test_normalising_a_shape_again_changes_nothing(sql, times):
    shape = normalise(sql)
    for _ in range(times):
        assert normalise(shape) == shape


def test_ten_thousand_literals_have_one_shape():
    assert len({normalise(f"select a from t where id = {number} and n = 'x{number}'") for number in range(10_000)}) == 1


def test_lists_of_any_length_have_one_shape():
    shapes = {normalise(f"select a from t where id in ({', '.join(['%s'] * count)})") for count in range(1, 200)}
    assert shapes == {"select a from t where id in (?)"}


def test_a_text_over_the_limit_is_marked_as_cut():
    assert normalise("select a from t where x = " + "a + " * 2_000).endswith("…")
