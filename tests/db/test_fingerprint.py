"""Shapes: what does not matter goes, what matters stays, and nothing personal ever does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from hypothesis import assume, given
from hypothesis import strategies as st

from django_perf.db import fingerprint
from django_perf.db.fingerprint import MAX_SQL, is_cut, is_select, normalise, shape_id
from django_perf.db.shapes import dialect_of

VENDORS = ("postgresql", "mysql", "sqlite", "oracle", "microsoft", "unknown", "")
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
    ('where "d" ? %s and "d" ?| %s and "d" ?& %s', 'where "d" ? ? and "d" ?| ? and "d" ?& ?'),
    ("where d @> %s and d #>> %s = 'x' and d -> 'a' ->> 0 = ''", "where d @> ? and d #>> ? = ? and d -> ? ->> ? = ?"),
    ("select a[1:2], x %% 2, x::numeric(10, 2), %(name)s", "select a[?:?], x %% ?, x::numeric(?), ?"),
    ("select a /* one /* two /* three */ */ secret */ from t", "select a from t"),
    ("select a /* /* /* /* too deep */ */ */ */ from t", "select a"),
    ("select {fn now()}, a.b.c, `odd``name`", "select {fn now()}, a.b.c, ``"),
    ("", ""),
]


@pytest.mark.parametrize(("sql", "shape"), [case for case in CASES if "odd``" not in case[0]])
def test_literals_go_and_the_shape_stays(sql, shape):
    assert normalise(sql) == shape


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ('select * from `t` where n = "bob"', "select * from `t` where n = ?"),
        ("select 'a\\'secret' # secret", "select ?"),
        ('select "a\\"secret"', "select ?"),
        ("select 5--3, _utf8'secret', b'01'", "select ?--?, _utf8?, ?"),
        ("select a -- secret\nfrom t --\t secret", "select a from t"),
        ("select /* /* secret */ a", "select a"),
        ("select 'it''s', `plain name`, `odd-name`", "select ?, `plain name`, ?"),
    ],
)
def test_mysql_has_rules_of_its_own(sql, shape):
    assert normalise(sql, "mysql") == shape


@pytest.mark.parametrize(
    ("dialect", "sql", "shape"),
    [
        ("postgresql", "select E'a'\n  'it\\'s secret', b", "select ?, b"),
        ("oracle", "select q'[it's secret]', nq'{a's}', Q'(a's)', q'<a's>', q'!a's!', b", f"select {'?, ' * 5}b"),
        ("oracle", "select q'[it's secret", "select ?"),
        ("sqlite", "select [plain name], [it's], x'00' from t where x = 'secret' and y = 'z'", ""),
        ("microsoft", "select [plain name], [it's], N'00' from t where x = 'secret' and y = 'z'", ""),
        ("unknown", """select "secret", 'secret' from t""", "select ?, ? from t"),
    ],
)
def test_other_dialects_have_texts_and_names_of_their_own(dialect, sql, shape):
    assert normalise(sql, dialect) == (shape or "select [plain name], ?, ? from t where x = ? and y = ?")


class Made(DatabaseWrapper):
    """A backend that is made from PostgreSQL's and says that it is another."""

    vendor = "cockroachdb"


class Unheard:
    """A backend that nobody knows here."""

    vendor = "unheard of"

    def __init__(self, quote):
        self.ops = SimpleNamespace(quote_name=lambda name: f"{quote}{name}")


def test_a_backend_speaks_like_the_one_that_it_is_made_from():
    assert dialect_of(Made({})) == "postgresql"
    assert dialect_of(connections["sqlite"]) == "sqlite"


@pytest.mark.parametrize(("quote", "dialect"), [('"', "standard"), ("`", "mysql"), ("[", "microsoft"), ("", "unknown")])
def test_what_names_are_quoted_with_tells_what_texts_are_not(quote, dialect):
    assert dialect_of(Unheard(quote)) == dialect


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ("select 'a\\' , secret_column", "select ? , secret_column"),
        ("select /* /* not nested */ a", "select a"),
        ('select x\'ff\', "plain name", "bob@example.org"', 'select ?, "plain name", ?'),
        ("BEGIN IMMEDIATE", "BEGIN IMMEDIATE"),
    ],
)
def test_sqlite_has_rules_of_its_own(sql, shape):
    assert normalise(sql, "sqlite") == shape


secret = st.text(st.sampled_from("abcdefghij@.'\"\\$-/*#;()%? \n"), min_size=0, max_size=25).map(
    lambda text: "SECRET" + text
)


@given(secret, st.sampled_from(["postgresql", "sqlite", "oracle", ""]))
def test_a_quoted_text_never_survives_where_quotes_are_doubled(text, vendor):
    quoted = text.replace("'", "''")
    assert "SECRET" not in normalise(f"select a from t where x = '{quoted}' and y = '{quoted}' limit 5", vendor)


@given(secret)
def test_a_quoted_text_never_survives_in_mysql(text):
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    assert "SECRET" not in normalise(f"select a from t where x = '{quoted}' and y = '{quoted}' limit 5", "mysql")


@given(secret)
def test_an_escaped_and_a_dollar_quoted_text_never_survive_in_postgresql(text):
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    assume("$q$" not in text + "$")
    assert "SECRET" not in normalise(f"select E'{escaped}', $q$ {text} $q$, 1 from t")


@given(st.text(max_size=4_000), st.sampled_from(VENDORS))
def test_any_text_gives_one_bounded_line(sql, vendor):
    shape = normalise(sql, vendor)
    assert len(shape) <= MAX_SQL
    assert "\n" not in shape


@given(st.sampled_from([sql for sql, _ in CASES]), st.integers(1, 5))
def test_normalising_a_shape_again_changes_nothing(sql, times):
    shape = normalise(sql)
    for _ in range(times):
        assert normalise(shape) == shape


# A statement as a list of tokens; None stands for a literal, and a number for a list of so many.
words = st.sampled_from(
    ["SELECT", "a", "b1", '"t"."x"', "FROM", "WHERE", "AND", "=", "<>", "(", ")", ",", "->>", "@>", "||", "::int", "*"]
)
literals = st.sampled_from(
    ["%s", "42", "-7", "1.5e10", "'x'", "'it''s'", "$1", "%(n)s", "'--'", "'/*'", "X'00'", "N'é'"]
)
gaps = st.sampled_from([" ", "\n", "\t  ", " /* a comment with 'quotes' */ ", " -- to the end\n"])
statements = st.lists(st.one_of(words, st.none(), st.integers(1, 40)), min_size=1, max_size=30)


@st.composite
def written(draw, tokens):
    """Write a statement down in one of its many ways."""
    parts = []
    for token in tokens:
        if token is None:
            parts.append(draw(literals))
        elif isinstance(token, int):
            length = draw(st.integers(1, 40))
            parts.append(f"IN ({', '.join(draw(st.lists(literals, min_size=length, max_size=length)))})")
        else:
            parts.append(token)
    return "".join(part + draw(gaps) for part in parts)


@given(st.data(), statements, st.sampled_from(["postgresql", "sqlite", "oracle"]))
def test_white_space_comments_literals_and_the_length_of_lists_do_not_matter(data, tokens, vendor):
    assume("-7" not in tokens)
    one, other = (normalise(data.draw(written(tokens)).replace("-7", "7"), vendor) for _ in range(2))
    assert one == other
    assert normalise(one, vendor) == one


@given(st.data(), statements, statements)
def test_different_statements_have_different_shapes(data, tokens, others):
    def plain(tokens):
        return " ".join("?" if token is None else "IN (?)" if isinstance(token, int) else token for token in tokens)

    assume(plain(tokens) != plain(others))
    one, other = (normalise(" ".join(plain(own).split())) for own in (tokens, others))
    # Two literals in parentheses are a list, whoever wrote them.
    assume("( ?" not in one + other)
    assert one != other


def test_ten_thousand_literals_have_one_shape():
    assert len({normalise(f"select a from t where id = {number} and n = 'x{number}'") for number in range(10_000)}) == 1


@pytest.mark.parametrize("item", ["%s", "123456", "'text'"])
def test_lists_of_any_length_have_one_shape_as_long_as_the_statement_is_read_whole(item):
    shapes = {
        normalise(f"select a from t where id in ({', '.join([item] * count)}) limit 5") for count in (1, 2, 9, 300)
    }
    assert shapes == {"select a from t where id in (?) limit ?"}


@pytest.mark.parametrize("item", ["%s", "123456", "'text'", "-5", "1.5"])
def test_lists_that_are_longer_than_what_is_read_have_one_shape_too(item):
    shapes = {
        normalise(f"select a from t where id in ({', '.join([item] * count)})") for count in range(40_000, 40_007)
    }
    assert shapes == {"select a from t where id in (? …"}


@pytest.mark.parametrize("padding", range(4))
def test_a_list_is_taken_as_one_wherever_in_a_parameter_the_reading_ends(padding):
    sql = f"select {'a' * (padding + 1)} from t where id in ({', '.join(['%s'] * 40_000)})"[: fingerprint._MAX_READ]
    assert len(fingerprint._NUMBERS.sub(fingerprint._one_parameter, sql)) < 100


def test_nine_thousand_parameters_are_read_whole():
    sql = f"select a from t where id in ({', '.join(['%s'] * 9_000)}) order by b"
    assert normalise(sql) == "select a from t where id in (?) order by b"


def test_rows_that_are_longer_than_what_is_read_have_one_shape():
    shapes = {normalise(f"insert into t (a, b) values {', '.join(['(%s, %s)'] * count)}") for count in (20, 300, 7_000)}
    assert shapes == {"insert into t (a, b) values (?), …"}


def test_a_text_over_the_limit_is_marked_as_cut():
    shape = normalise("select a from t where x = " + "a + " * 2_000)
    assert is_cut(shape)
    assert normalise(shape) == shape
    assert not is_cut(normalise("select a"))


def test_a_statement_with_a_hundred_columns_is_kept_whole():
    columns = ", ".join(f'"shop_product"."column_{number}"' for number in range(100))
    assert not is_cut(normalise(f'SELECT {columns} FROM "shop_product" WHERE "shop_product"."id" = %s'))


@pytest.mark.parametrize(
    ("sql", "is_one"),
    [
        ("SELECT ?", True),
        ("(select ?)", True),
        ("WITH a AS (SELECT ?) SELECT a", True),
        ("INSERT INTO t", False),
        ("SELECTED", False),
    ],
)
def test_a_question_is_told_by_its_first_word(sql, is_one):
    assert is_select(sql) is is_one


def test_the_name_of_a_shape_never_changes():
    assert shape_id("default", "SELECT 1") == "43689df3d1c7"
