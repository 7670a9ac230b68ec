"""What a statement does to the session, told from its text."""

from __future__ import annotations

import time

import pytest

from django_perf.pool.session import CHANGES, LIMITS, NOTHING, SEVERAL, effects_of


@pytest.mark.parametrize(
    "sql",
    [
        "SET work_mem = '1GB'",
        "set session work_mem = '1GB'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET ROLE other",
        "  \n-- a comment\n/* another ; */ SET x.y = 1",
        "SELECT 1; SET x.y = 1",
        "SELECT 1; /* hidden */ SET x.y = 1",
        "RESET ALL",
        "LISTEN channel",
        "CREATE TEMP TABLE t (id int)",
        "CREATE LOCAL TEMPORARY TABLE t (id int)",
        "SELECT * INTO TEMP t FROM u",
        "SELECT pg_advisory_lock(1)",
        "SELECT PG_TRY_ADVISORY_LOCK_SHARED (1)",
        "SELECT set_config('a.b', 'c', false)",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "DO $$ BEGIN END $$",
        "CALL something()",
        "LOAD 'auto_explain'",
        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_changes_are_noticed(sql):
    assert effects_of(sql) & CHANGES


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        'UPDATE "t" SET "set" = 1',
        "SET LOCAL work_mem = '1GB'",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "PREPARE TRANSACTION 'x'",
        "INSERT INTO template VALUES (1)",
        "SELECT * FROM settings",
        "SELECT pg_advisory_xact_lock(1)",
        "DELETE FROM do",
        'SELECT "call" FROM "listen"',
        "SELECT 1;",
        "SHOW statement_timeout",
    ],
)
def test_what_ends_with_the_transaction_is_left_alone(sql):
    assert effects_of(sql) == NOTHING


def test_a_word_about_the_statement_timeout_lifts_the_pools_limit():
    assert effects_of("SET LOCAL statement_timeout = '10min'") == LIMITS
    assert effects_of("SELECT set_config('STATEMENT_TIMEOUT', '1h', true)") == LIMITS | CHANGES


@pytest.mark.parametrize("piece", ["/*", "/**/", "/* */ ", "; /*", "--\n", " ", ";", "; -", "SET", "/*x*/--\n"])
def test_hostile_text_is_read_in_linear_time(piece):
    began = time.process_time()
    effects_of(piece * (200_000 // len(piece)))
    assert time.process_time() - began < 2


def test_memory_is_bounded():
    from django_perf.pool import session

    for number in range(session._MOST_KNOWN + 100):
        effects_of(f"SELECT {number}")
    assert len(session._known) <= session._MOST_KNOWN


def test_several_statements_in_one_text_have_a_timeout_each():
    assert effects_of("SELECT 1; SELECT 2") == SEVERAL
