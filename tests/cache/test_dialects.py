"""The SQL for MySQL and MariaDB, which no test here can execute; that of the others runs in test_database.py."""

from __future__ import annotations

import pytest

from django_perf.cache.dialects import MySQL

NOW = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)"
ALIVE = "length(value) > 0 AND (expires_ms IS NULL OR expires_ms > NOW)"
INTO = "INTO `t` (`key`, value, expires_ms, stamp) VALUES"
ROW = "(_binary %s, _binary %s, NOW + %s, %s)"
NEWER = "VALUES(stamp) > coalesce(`t`.stamp, 0)"
STAMP = f"stamp = CASE WHEN {NEWER} THEN VALUES(stamp) ELSE `t`.stamp END"
ITEM = (b"k", b"v", 5)


class Cursor:
    """Remember what is executed; answer that one row was found or changed, or `rowcount` of them."""

    def __init__(self, rowcount=1):
        self.rowcount = rowcount
        self.executed = []

    def execute(self, sql, parameters=()):
        text = sql.replace(NOW, "NOW")
        assert text.replace("%%", "").count("%s") == len(parameters)
        self.executed.append((text, *parameters))

    def fetchone(self):
        return (3,)

    def fetchall(self):
        return []


@pytest.mark.parametrize(
    ("operation", "arguments", "executed"),
    [
        (
            "get",
            ([b"a", b"b"],),
            [
                (
                    "SELECT `key`, value, expires_ms - NOW FROM `t` "
                    f"WHERE `key` IN (_binary %s, _binary %s) AND {ALIVE}",
                    b"a",
                    b"b",
                )
            ],
        ),
        (
            "page",
            (b"a", b"b", 9),
            [
                (
                    "SELECT `key` FROM `t` WHERE `key` >= _binary %s AND `key` < _binary %s ORDER BY `key` LIMIT %s",
                    b"a",
                    b"b",
                    9,
                )
            ],
        ),
        (
            "set",
            ([ITEM, (b"l", b"w", None)], None),
            [
                (
                    f"INSERT {INTO} {ROW}, {ROW} ON DUPLICATE KEY UPDATE "
                    "value = VALUES(value), expires_ms = VALUES(expires_ms)",
                    *(b"k", b"v", 5, None),
                    *(b"l", b"w", None, None),
                )
            ],
        ),
        (
            "set",
            ([ITEM], 7),
            [
                (
                    f"INSERT {INTO} {ROW} ON DUPLICATE KEY UPDATE "
                    f"value = CASE WHEN {NEWER} THEN VALUES(value) ELSE x'' END, "
                    f"expires_ms = CASE WHEN {NEWER} THEN VALUES(expires_ms) ELSE NOW + 60000 END, {STAMP}",
                    *(b"k", b"v", 5, 7),
                )
            ],
        ),
        (
            "touch",
            (b"k", 5),
            [(f"UPDATE `t` SET expires_ms = NOW + %s WHERE `key` IN (_binary %s) AND {ALIVE}", 5, b"k")],
        ),
        (
            "lock_value",
            (b"k",),
            [
                ("START TRANSACTION",),
                (f"SELECT value FROM `t` WHERE `key` IN (_binary %s) AND {ALIVE} FOR UPDATE", b"k"),
            ],
        ),
        ("put_value", (b"k", b"v"), [("UPDATE `t` SET value = _binary %s WHERE `key` IN (_binary %s)", b"v", b"k")]),
        (
            "delete",
            ([b"k"],),
            [
                ("START TRANSACTION",),
                (f"SELECT count(*) FROM `t` WHERE `key` IN (_binary %s) AND {ALIVE} FOR UPDATE", b"k"),
                ("DELETE FROM `t` WHERE `key` IN (_binary %s)", b"k"),
                ("COMMIT",),
            ],
        ),
        (
            "bury",
            ([b"k"], 7),
            [
                (f"SELECT count(*) FROM `t` WHERE `key` IN (_binary %s) AND {ALIVE}", b"k"),
                (
                    f"INSERT {INTO} {ROW} ON DUPLICATE KEY UPDATE "
                    f"value = VALUES(value), expires_ms = VALUES(expires_ms), {STAMP}",
                    *(b"k", b"", 60_000, 7),
                ),
            ],
        ),
        (
            "sweep",
            (9,),
            [
                (
                    "DELETE FROM `t` WHERE expires_ms <= NOW AND (coalesce(stamp, 0) = 0 OR length(value) = 0 "
                    "OR expires_ms <= NOW - 60000) ORDER BY expires_ms LIMIT %s",
                    9,
                )
            ],
        ),
        (
            "create_table",
            (),
            [
                (
                    "CREATE TABLE IF NOT EXISTS `t` (`key` VARBINARY(512) NOT NULL PRIMARY KEY, "
                    "value LONGBLOB NOT NULL, expires_ms BIGINT NULL, stamp BIGINT NULL, "
                    "INDEX `t_expires` (expires_ms)) ENGINE=InnoDB",
                )
            ],
        ),
    ],
)
def test_mysql_is_asked_in_its_own_words(operation, arguments, executed):
    cursor, dialect = Cursor(), MySQL("t")
    if operation == "lock_value":
        cursor.fetchone = lambda: (b"v",)

    getattr(dialect, operation)(cursor, *arguments)

    assert cursor.executed == executed


@pytest.mark.parametrize(("rowcount", "statements"), [(1, 1), (0, 2)])
def test_mysql_adds_by_reviving_a_dead_row_and_inserts_only_where_there_is_none(rowcount, statements):
    cursor = Cursor(rowcount)

    assert MySQL("t").add(cursor, ITEM) == bool(rowcount)

    assert (
        cursor.executed
        == [
            (
                "UPDATE `t` SET value = _binary %s, expires_ms = NOW + %s "
                "WHERE `key` IN (_binary %s) AND (length(value) = 0 OR expires_ms <= NOW)",
                *(b"v", 5, b"k"),
            ),
            (f"INSERT IGNORE {INTO} {ROW}", *(b"k", b"v", 5, None)),
        ][:statements]
    )


def test_mysql_is_asked_for_the_size_of_the_table_by_its_plain_name():
    cursor = Cursor()
    cursor.fetchone = lambda: (3, None)

    assert MySQL("a `b` 100%").size(cursor) == (3, 0)
    assert cursor.executed[0][1] == "a `b` 100%"


def test_name_of_the_table_is_quoted_and_holds_no_placeholder():
    cursor = Cursor()

    MySQL("a `b` %s").put_value(cursor, b"k", b"v")

    assert cursor.executed[0][0].startswith("UPDATE `a ``b`` %%s` SET ")
