"""Reduce SQL to its shape: what is left when everything personal is gone.

A linear scan with one alternation and no nested repeats: 2,000 characters take some 200 us, on first sight only.
"""

from __future__ import annotations

import re

from ..metrics.names import clean

# Version of the rules: a change of them makes other shapes, and both live side by side in the store until they expire.
VERSION = 1
# Cut before normalising: a regex over a 300 kB IN list takes 72 ms.
MAX_SQL = 2_000

_COMMENT = r"--[^\n]* | /\*.*?(?:\*/|\Z)"
_DOLLAR_TEXT = r"\$(?P<tag>[A-Za-z_]\w*|)\$.*?(?:\$(?P=tag)\$|\Z)"
_ESCAPED_TEXT = r"'(?:[^'\\]|''|\\.)*(?:'|\\?\Z)"
_PLAIN_TEXT = r"(?:[^']|'')*"
_REST = r"""
    | (?P<parameter> %s | %\([^)]*\)s | \? | \$\d+ | (?<![:\w]):[A-Za-z_]\w* )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<number> (?:\d[\w.]*|\.\d[\w.]*) (?:(?<=[eE])[+-]\d+)? )
    | (?P<space> \s+ )
"""
_FLAGS = re.VERBOSE | re.DOTALL
# A backslash escapes a quote in MySQL and in PostgreSQL's E'', and nowhere else; double quotes hold text in MySQL and a
# name elsewhere. Reading one dialect by the other's rules would leave parts of a literal standing as words.
_STANDARD = re.compile(
    rf"""
      (?P<comment> {_COMMENT} )
    | (?P<text> \b[eE]{_ESCAPED_TEXT} | (?:\b[nNxXbB]|\b[uU]&)?'{_PLAIN_TEXT}(?:'|\Z) | {_DOLLAR_TEXT} )
    | (?P<name> "[\w$ ]*" | `[\w$ ]*` )
    | (?P<odd_name> "[^"]*(?:"|\Z) | `[^`]*(?:`|\Z) )
    {_REST}""",
    _FLAGS,
)
_MYSQL = re.compile(
    rf"""
      (?P<comment> {_COMMENT} | \#[^\n]* )
    | (?P<text> (?:\b[nNxXbB])?{_ESCAPED_TEXT} | "(?:[^"\\]|""|\\.)*(?:"|\\?\Z) )
    | (?P<name> `[\w$ ]*` )
    | (?P<odd_name> `[^`]*(?:`|\Z) )
    {_REST}""",
    _FLAGS,
)
_KEPT = {"name", "word"}
_BLANK = {"comment", "space"}

_LIST = re.compile(r"\( ?\?(?: ?, ?\?)+ ?\)")
_ROWS = re.compile(r"(\((?:[^()]|\(\?\))*\))(?: ?, ?\((?:[^()]|\(\?\))*\))+")
_VALUES = re.compile(r"(\bVALUES ?)(.*)", re.IGNORECASE)
# Django names savepoints after the thread and a counter.
_SAVEPOINT = re.compile(r"(\bSAVEPOINT )\S+", re.IGNORECASE)


def normalise(sql: str, vendor: str = "") -> str:
    """Return the shape of `sql`: literals and parameters as ?, lists collapsed, no comments, one space for any.

    `vendor` is Django's connection.vendor. Quoted names with anything but letters, digits, _, $ and spaces in them
    become ? too: SQLite takes an unknown "name" for a text.
    """
    tokens = _MYSQL if vendor == "mysql" else _STANDARD
    shape = " ".join(tokens.sub(_replacement, sql[:MAX_SQL]).split())
    shape = _SAVEPOINT.sub(r"\1?", _LIST.sub("(?)", shape))
    if len(sql) > MAX_SQL:
        shape += " …"
    return clean(_collapse_rows(shape), MAX_SQL)


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind in _KEPT:
        return match[0]
    return " " if kind in _BLANK else "?"


def _collapse_rows(shape: str) -> str:
    """Keep one row of a VALUES list, however many there are."""
    found = _VALUES.search(shape)
    return shape[: found.end(1)] + _ROWS.sub(r"\1, …", found[2], count=1) if found else shape
