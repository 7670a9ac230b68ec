"""The table level on real PostgreSQL and SQLite: what is stored, for how long, and who wins."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from threading import Barrier

import pytest
from django.db import Error, OperationalError, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_perf.cache.database import DatabaseLevel, Row, successor
from django_perf.cache.dialects import BURIED_MS
from tests.store import children

TABLE = "cache_of_tests"
MINUTE_MS = 60_000
HOSTILE_KEYS = [
    "ключ 🔑",
    " spaces  in\tit ",
    'it\'s "quoted" `here`',
    "50% %s %(a)s %%",
    "back\\slash\\x00",
    "a\0b",
    "?:1",
]
ANY_BYTES = bytes(range(256)) * 2

only_postgresql = pytest.mark.parametrize("alias", ["default"], ids=["postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def _database(django_db_setup, django_db_blocker):
    """Let tests commit: the level does so whatever the test's transaction."""
    with django_db_blocker.unblock():
        yield
        connections["default"].close()


@pytest.fixture(scope="module", params=["default", "sqlite"], ids=["postgresql", "sqlite"])
def alias(request, django_db_setup, django_db_blocker):
    """The alias of a database that has the table."""
    with django_db_blocker.unblock():
        with open_level(request.param) as level:
            level.create_table()
        yield request.param
        with connections[request.param].cursor() as cursor:
            cursor.execute(f"DROP TABLE {TABLE}")
        connections[request.param].close()


@contextmanager
def open_level(alias, table=TABLE, timeout=5.0):
    """Give a level with a connection of its own; a slow machine is no failure of the code."""
    level = DatabaseLevel(alias, table, timeout)
    try:
        yield level
    finally:
        level.close()


@pytest.fixture
def level(alias):
    """A level on an empty table."""
    with open_level(alias) as level:
        yield level
    execute(alias, f"DELETE FROM {TABLE}")


def execute(alias, sql, parameters=()):
    """Execute a statement on the test's own connection; return its rows or their number."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def age(alias, ms):
    """Let all rows have been written `ms` earlier, as far as their expiry goes."""
    execute(alias, f"UPDATE {TABLE} SET expires_ms = expires_ms - %s", [ms])


def rows(alias):
    """Return the number of rows, dead ones included."""
    return execute(alias, f"SELECT count(*) FROM {TABLE}")[0][0]


def value_of(level, key="k"):
    """Return a live value or None."""
    row = level.get_many([key]).get(key)
    return row.value if row else None


# --- values and their life ------------------------------------------------------------------------------------------


def test_value_comes_back_with_what_is_left_of_its_life(level):
    level.set_many([("k", b"value", MINUTE_MS), ("for ever", b"2", None)])

    found = level.get_many(["k", "for ever", "absent"])

    assert found.keys() == {"k", "for ever"}
    assert found["k"].value == b"value"
    assert MINUTE_MS - 30_000 < found["k"].ttl_ms <= MINUTE_MS
    assert found["for ever"] == Row(b"2", None)


def test_value_ends_when_its_time_is_over(level):
    level.set_many([("k", b"value", 300)])
    assert value_of(level) == b"value"

    deadline = time.monotonic() + 30
    while value_of(level) is not None and time.monotonic() < deadline:
        time.sleep(0.01)

    assert value_of(level) is None


def test_life_is_counted_by_the_clock_of_the_database_not_by_that_of_the_process(level, alias, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    level.set_many([("k", b"value", MINUTE_MS)])

    now = {"default": "extract(epoch FROM now()) * 1000", "sqlite": "strftime('%%s', 'now') * 1000"}[alias]
    ((left_ms,),) = execute(alias, f"SELECT expires_ms - {now} FROM {TABLE}")

    assert 30_000 < left_ms <= MINUTE_MS + 1_000


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_any_key_and_any_bytes_survive_every_operation(level, key):
    assert level.add(key, ANY_BYTES, None)
    assert level.get_many([key, key]) == {key: Row(ANY_BYTES, None)}
    assert level.change(key, lambda old: old + b"\0") == ANY_BYTES + b"\0"
    assert level.touch(key, MINUTE_MS)
    level.set_many([(key, b"\0\xff", None)], stamp=5)
    assert value_of(level, key) == b"\0\xff"
    assert level.delete_prefix(key, lambda found: found == key) == 1
    assert value_of(level, key) is None


def test_key_has_512_bytes_at_most(level):
    longest = "é" * 256
    level.set_many([(longest, b"value", None)])

    assert value_of(level, longest) == b"value"
    for call in (level.set_many, lambda rows: level.add(*rows[0]), lambda rows: level.get_many([rows[0][0]])):
        with pytest.raises(ValueError, match="513 bytes, more than 512"):
            call([(longest + "e", b"value", None)])


def test_last_of_two_values_for_one_key_is_stored(level):
    level.set_many([("k", b"first", None), ("other", b"", None), ("k", b"last", None)])

    assert level.get_many(["k"]) == {"k": Row(b"last", None)}


@pytest.mark.parametrize("table", ['odd "name"', "100%s", "x" * 60])
def test_table_may_have_any_name(alias, table):
    with open_level(alias, table) as level:
        level.create_table()
        level.create_table()
        level.set_many([("k", b"value", -1), ("l", b"value", None)], stamp=1)
        assert (level.sweep(), level.size()[0], level.delete_many(["l"], stamp=2)) == (0, 2, 1)
        quoted = '"' + table.replace('"', '""') + '"'
        execute(alias, f"DROP TABLE {quoted.replace('%', '%%')}")


def test_second_create_table_keeps_the_rows(level):
    level.set_many([("k", b"value", None)])
    level.create_table()

    assert value_of(level) == b"value"


@only_postgresql
def test_table_costs_no_write_ahead_log(level):
    assert execute("default", "SELECT relpersistence FROM pg_class WHERE relname = %s", [TABLE]) == [("u",)]


def test_many_rows_go_in_statements_of_bounded_size(level, monkeypatch):
    written, store = [], level._dialect.set
    monkeypatch.setattr(
        level._dialect, "set", lambda cursor, chunk, stamp: written.append(chunk) or store(cursor, chunk, stamp)
    )
    many = [(f"{number:04}", b"%d" % number, None) for number in range(1_201)]
    large = [(f"large {number}", bytes([number]) * 600_000, None) for number in range(3)]
    level.get_many(["k"])
    if level.alias == "sqlite":  # what the oldest supported one takes
        level._connection._wrapper.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)

    level.set_many(many + large)

    at_once = level._dialect.rows_at_once
    assert [len(chunk) for chunk in written] == [at_once] * (1_201 // at_once) + [1_201 % at_once + 1, 1, 1]
    assert level.get_many([key for key, _, _ in many + large]) == {
        key: Row(value, None) for key, value, _ in many + large
    }
    assert level.delete_many([key for key, _, _ in many], stamp=1) == 1_201


def test_nothing_asked_is_nothing_done():
    level = DatabaseLevel("no such alias")

    assert (level.get_many([]), level.set_many([]), level.delete_many([]), level.delete_many([], 1)) == ({}, None, 0, 0)


def test_size_tells_rows_and_bytes(level, alias):
    level.set_many([(str(number), bytes(100), None) for number in range(200)])
    if alias == "default":
        execute(alias, f"ANALYZE {TABLE}")

    count, size_bytes = level.size()

    assert count == 200
    assert size_bytes > 20_000


# --- add, touch, change, delete -------------------------------------------------------------------------------------


def test_add_stores_where_nothing_is_alive_and_only_there(level):
    level.set_many([("live", b"old", None), ("expired", b"old", -1)])
    level.delete_many(["dead"], stamp=1)

    added = {key: level.add(key, b"new", MINUTE_MS) for key in ("absent", "expired", "dead", "live")}

    assert added == {"absent": True, "expired": True, "dead": True, "live": False}
    assert {key: row.value for key, row in level.get_many(added).items()} == dict.fromkeys(added, b"new") | {
        "live": b"old"
    }


def at_once(count, work):
    """Call `work` with 0 to `count` - 1 in threads that start together; return what it returns."""
    gate = Barrier(count)

    def start(number):
        gate.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_of_eight_connections_that_add_at_once_one_succeeds(alias, level):
    def add(number):
        with open_level(alias) as own:
            return own.add("k", b"%d" % number, None)

    won = at_once(8, add)

    assert won.count(True) == 1
    assert value_of(level) == b"%d" % won.index(True)


def test_change_keeps_the_expiry_and_needs_a_live_row(level):
    level.set_many([("k", b"41", MINUTE_MS), ("expired", b"1", -1)])

    assert level.change("k", lambda old: b"%d" % (int(old) + 1)) == b"42"

    row = level.get_many(["k"])["k"]
    assert row.value == b"42"
    assert 30_000 < row.ttl_ms <= MINUTE_MS
    assert level.change("expired", lambda old: b"2") is None
    assert level.change("absent", lambda old: b"2") is None


def test_exception_of_change_propagates_and_leaves_the_row_and_the_connection_as_they_were(level):
    level.set_many([("k", b"word", None)])
    before = level._connection._wrapper

    with pytest.raises(ValueError, match="invalid literal"):
        level.change("k", int)

    assert level._connection._wrapper is before
    assert level.change("k", lambda old: old + b"s") == b"words"


def test_no_increment_is_lost_among_threads_and_processes(alias, level):
    level.set_many([("k", b"0", None)])
    arguments = alias, str(connections[alias].settings_dict["NAME"]), TABLE
    code = f"from tests.cache.table_workers import increment; increment{(*arguments, 2, 60)!r}"

    with children.python(code) as one, children.python(code) as other:
        assert [process.stdout.readline() for process in (one, other)] == ["ready\n"] * 2
        for process in (one, other):
            process.stdin.write("go\n")
        outputs = [process.communicate(timeout=60) for process in (one, other)]

    assert outputs == [("", "")] * 2
    assert value_of(level) == b"240"


def test_four_threads_of_one_level_lose_no_increment(level):
    level.set_many([("k", b"0", None)])

    def increment(number):
        for _ in range(60):
            level.change("k", lambda old: b"%d" % (int(old) + 1))

    at_once(4, increment)
    assert value_of(level) == b"240"


def test_touch_gives_a_live_row_another_life(level):
    level.set_many([("k", b"value", MINUTE_MS), ("expired", b"value", -1)])

    assert [level.touch(key, None) for key in ("k", "expired", "absent")] == [True, False, False]
    assert level.get_many(["k", "expired"]) == {"k": Row(b"value", None)}
    assert level.touch("k", 0)
    assert value_of(level) is None


@pytest.mark.parametrize("stamp", [None, 7])
def test_delete_counts_the_rows_that_were_alive(level, alias, stamp):
    level.set_many([("a", b"value", None), ("b", b"value", MINUTE_MS), ("expired", b"value", -1)])

    assert level.delete_many(["a", "b", "expired", "absent"], stamp) == 2
    assert level.get_many(["a", "b"]) == {}
    assert level.delete_many(["a", "b"], stamp) == 0
    assert rows(alias) == (4 if stamp else 0)


def test_writers_and_deleters_of_the_same_rows_in_any_order_do_not_deadlock(alias, level):
    keys = [str(number) for number in range(50)]

    def work(number):
        shuffled = keys[:: 1 if number % 2 else -1]
        with open_level(alias) as own:
            for turn in range(15):
                own.set_many([(key, b"value", None) for key in shuffled], stamp=turn + 1 if number > 1 else None)
                own.delete_many(shuffled[:25], stamp=None if number % 2 else turn + 1)

    at_once(4, work)


# --- prefixes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "end"),
    [
        (b"a", b"b"),
        (b"a\xff", b"b"),
        (b"a\xff\xff", b"b"),
        (b"\xfe\xff", b"\xff"),
        (b"\xff", None),
        (b"", None),
        (b"a\0", b"a\1"),
    ],
)
def test_successor_is_the_first_key_behind_all_with_a_prefix(prefix, end):
    assert successor(prefix) == end


def test_delete_prefix_takes_what_matches_below_the_prefix_page_by_page(level):
    # The one that stays is the last of a page.
    inside = [f"p:{number:02}" for number in range(23)] + ["p:\U0010ffff", "p:"]
    outside = ["p", "p;", "o:\U0010ffff", "q:", "P:01"]
    level.set_many([(key, b"value", None) for key in inside + outside])
    seen = []

    def matches(key):
        seen.append(key)
        return key != "p:08"

    assert level.delete_prefix("p:", matches, limit=5) == 24
    assert sorted(seen) == sorted(inside)
    assert level.get_many(inside + outside).keys() == {"p:08", *outside}


def test_delete_prefix_reaches_keys_with_bytes_that_no_text_has(level, alias):
    for key in (b"p\xff\x01", b"p\xff\xff", b"q", b"\xff\xff"):
        execute(alias, f"INSERT INTO {TABLE} (key, value) VALUES (%s, %s)", [key, b"value"])

    assert level.delete_prefix("p", lambda key: True, limit=1) == 2
    assert level.delete_prefix("", lambda key: True, limit=1) == 2


# --- stamps ---------------------------------------------------------------------------------------------------------

SET, DELETE = "set", "delete"


@pytest.mark.parametrize(
    ("there", "comes", "readable"),
    [
        ((SET, None), (SET, 1), b"comes"),
        ((SET, 1), (SET, 2), b"comes"),
        ((SET, 2), (SET, 2), None),
        ((SET, 2), (SET, 1), None),
        ((SET, 2), (SET, None), b"comes"),
        ((SET, 1), (DELETE, 2), None),
        ((SET, 2), (DELETE, 1), None),
        ((DELETE, 2), (SET, 1), None),
        ((DELETE, 2), (SET, 2), None),
        ((DELETE, 2), (SET, 3), b"comes"),
        ((DELETE, 2), (SET, None), b"comes"),
        (None, (SET, 1), b"comes"),
    ],
)
def test_write_takes_the_place_of_an_older_one_and_buries_any_other(level, there, comes, readable):
    for value, write in ((b"there", there), (b"comes", comes)):
        if write is not None:
            perform(level, "k", value, *write)

    assert value_of(level) == readable


def perform(level, key, value, kind, stamp, ttl_ms=MINUTE_MS):
    if kind == SET:
        level.set_many([(key, value, ttl_ms)], stamp)
    else:
        level.delete_many([key], stamp)


@pytest.mark.parametrize("kind", ["set", "add", "change", "touch"])
def test_write_without_a_stamp_does_not_let_a_late_one_in(level, kind):
    perform(level, "k", b"newest", DELETE if kind == "add" else SET, 5)
    {
        "set": lambda: level.set_many([("k", b"plain", None)]),
        "add": lambda: level.add("k", b"plain", None),
        "change": lambda: level.change("k", lambda old: b"plain"),
        "touch": lambda: level.touch("k", None),
    }[kind]()

    perform(level, "k", b"late", SET, 4)

    assert value_of(level) is None


_keys = (f"any order {number}" for number in count())
_writes = st.lists(
    st.tuples(st.sampled_from([SET, SET, DELETE]), st.sampled_from([MINUTE_MS, None, -1])), min_size=1, max_size=6
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(writes=_writes, data=st.data())
def test_in_any_order_of_arrival_only_the_value_of_the_highest_stamp_is_ever_read(level, writes, data):
    key = next(_keys)
    stamped = [(kind, stamp, ttl_ms) for stamp, (kind, ttl_ms) in enumerate(writes, start=1)]
    # Some arrive twice: a statement is repeated when the connection was lost.
    arrivals = data.draw(st.permutations(stamped + data.draw(st.lists(st.sampled_from(stamped), max_size=2))))
    in_order = arrivals == stamped

    for position, (kind, stamp, ttl_ms) in enumerate(arrivals):
        perform(level, key, b"%d" % stamp, kind, stamp, ttl_ms)
        level.sweep()
        newest = max(arrivals[: position + 1], key=lambda write: write[1])
        expected = b"%d" % newest[1] if newest[0] == SET and newest[2] != -1 else None
        assert value_of(level, key) in ({expected} if in_order else {expected, None})


def test_stamped_set_of_many_decides_for_each_row_alone(level):
    level.set_many([("newer", b"there", None), ("older", b"there", None)], stamp=5)
    level.set_many([("newer", b"there", None)], stamp=9)

    level.set_many([(key, b"comes", None) for key in ("absent", "newer", "older")], stamp=7)

    assert {key: row.value for key, row in level.get_many(["absent", "newer", "older"]).items()} == {
        "absent": b"comes",
        "older": b"comes",
    }


# --- sweeping -------------------------------------------------------------------------------------------------------


def test_sweep_deletes_what_has_expired_in_batches_and_nothing_else(level, alias):
    level.set_many([(f"expired {number}", b"value", -1) for number in range(25)])
    level.set_many([("live", b"value", MINUTE_MS), ("for ever", b"value", None)])

    assert [level.sweep(10) for _ in range(4)] == [10, 10, 5, 0]
    assert level.get_many(["live", "for ever"]).keys() == {"live", "for ever"}
    assert rows(alias) == 2


@pytest.mark.parametrize("kind", ["buried", "doubtful", "expired"])
def test_stamp_stops_late_writers_for_a_minute_and_is_then_swept(level, alias, kind):
    level.set_many([("k", b"value", 0)], stamp=5)
    if kind == "buried":
        level.delete_many(["k"], stamp=6)
    elif kind == "doubtful":
        level.set_many([("k", b"value", None)], stamp=5)

    age(alias, BURIED_MS - 30_000)
    assert level.sweep() == 0
    age(alias, 30_001)
    assert level.sweep() == 1
    assert rows(alias) == 0


@only_postgresql
def test_sweep_passes_by_rows_that_others_hold(level):
    level.set_many([("held", b"value", -1), ("free", b"value", -1)])

    with transaction.atomic():
        execute("default", f"SELECT 1 FROM {TABLE} WHERE key = %s FOR UPDATE", [b"held"])
        assert level.sweep() == 1

    assert level.sweep() == 1


@only_postgresql
def test_sweep_finds_its_rows_by_the_index(level):
    with transaction.atomic():
        execute("default", "SET LOCAL enable_seqscan = off")
        plan = execute("default", f"EXPLAIN {level._dialect._sweep()}", [10])

    assert any("Index Cond: (expires_ms <=" in line for (line,) in plan), plan


# --- other people's transactions ------------------------------------------------------------------------------------


@pytest.fixture
def own_file(tmp_path):
    """Return a function that makes an alias with a SQLite file of its own, in a journal mode."""

    def configure(journal_mode):
        given = connections["sqlite"].settings_dict
        options = {"init_command": f"PRAGMA journal_mode = {journal_mode}"}
        connections.settings["own_file"] = {**given, "NAME": tmp_path / "file.sqlite3", "OPTIONS": options}
        return "own_file"

    yield configure
    connections["own_file"].close()
    del connections["own_file"], connections.settings["own_file"]


@contextmanager
def rolled_back(alias):
    """Roll the test's own transaction back at the end."""
    with suppress(ZeroDivisionError), transaction.atomic(using=alias):
        yield
        raise ZeroDivisionError


@only_postgresql
def test_value_survives_the_rollback_of_a_transaction_that_has_written(level):
    with rolled_back("default"):
        execute("default", f"INSERT INTO {TABLE} (key, value) VALUES (%s, %s)", [b"other", b"value"])
        level.set_many([("k", b"value", None)])
        assert level.get_many(["k", "other"]).keys() == {"k"}

    assert level.get_many(["k", "other"]).keys() == {"k"}


@pytest.mark.parametrize("journal_mode", ["WAL", "MEMORY"])
def test_on_sqlite_a_value_survives_the_rollback_of_a_transaction_that_has_done_nothing_yet(own_file, journal_mode):
    with open_level(own_file(journal_mode)) as level:
        level.create_table()
        with rolled_back("own_file"):
            level.set_many([("k", b"value", None)])
        assert value_of(level) == b"value"


def test_on_sqlite_with_wal_a_transaction_that_has_read_is_in_nobodys_way(own_file):
    with open_level(own_file("WAL")) as level:
        level.create_table()
        with rolled_back("own_file"):
            assert rows("own_file") == 0
            level.set_many([("k", b"value", None)])
        assert value_of(level) == b"value"


def test_on_sqlite_a_write_beside_a_transaction_that_has_written_fails_in_time_and_the_next_one_works(own_file):
    with open_level(own_file("WAL"), timeout=0.05) as level:
        level.create_table()
        with transaction.atomic(using="own_file"):
            execute("own_file", f"DELETE FROM {TABLE}")
            assert level.get_many(["k"]) == {}
            with pytest.raises(OperationalError, match="locked"):
                level.set_many([("k", b"value", None)])
        level.set_many([("k", b"value", None)])
        assert value_of(level) == b"value"


def test_missing_table_is_an_error_of_the_database_and_no_lasting_one(alias):
    with open_level(alias, "made_later") as level:
        with pytest.raises(Error, match="made_later"):
            level.get_many(["k"])
        level.create_table()
        assert level.get_many(["k"]) == {}
        execute(alias, "DROP TABLE made_later")
