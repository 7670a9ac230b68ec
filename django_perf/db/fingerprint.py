"""Reduce SQL to its shape: what is left when everything personal is gone.

A linear scan with one alternation, in which no repeat ever gives back what it took: a statement of 4,000 characters
takes some 200 us, one of 300 kB less than a millisecond, on first sight only.
"""

from __future__ import annotations

import re

from ..metrics.aggregate import hash_of
from ..metrics.catalog import QUERY
from ..metrics.names import clean

# Version of the rules: a change of them makes other shapes, and both live side by side in the store until they expire.
VERSION = 2
# Of a statement so many characters are normalised, when its lists of numbers and parameters are gone: those are looked
# for in a larger part, for they are what makes statements long.
MAX_SQL = 4_000
_MAX_READ = 64_000
# Left free in what was cut, for the mark.
_ROOM = 10
_ID_LENGTH = 12

_FLAT_COMMENT = r"/\*.*?(?:\*/|\Z)"
# PostgreSQL's comments nest. One that is deeper than this is taken for one that never ends: too much is lost then.
_NESTED_COMMENT = r"/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/"
for _ in range(2):
    _NESTED_COMMENT = rf"/\*(?:[^*/]|\*(?!/)|/(?!\*)|{_NESTED_COMMENT})*+\*/"
_NESTED_COMMENT += r" | /\*.*+"
_DASHES = r"--[^\n]*+"
_DOLLAR_TEXT = r"\$(?P<tag>[A-Za-z_]\w*+|)\$.*?(?:\$(?P=tag)\$|\Z)"
_ESCAPED_TEXT = r"'(?:[^'\\]|''|\\.)*+(?:'|\\?\Z)"
# A text goes on behind a line break, and with it what a backslash means.
_GOES_ON = rf"(?:[ \t\r\f]*+\n\s*+{_ESCAPED_TEXT})*+"
_PLAIN_TEXT = r"'(?:[^']|'')*+(?:'|\Z)"
_NAME = r'"[\w$ ]*+" | `[\w$ ]*+`'
_BRACKETED = r"\[[\w$ ]*+\]"
# A word is a prefix where a literal follows, as in E'...' and U&'...'; of what may begin a comment, a parameter or a
# cast, the rest decides. Without brackets, which are names in some dialects.
_PLAIN = r"[^\W\d][\w$]*+(?!&?') | [,()<>=*+;\s|!~^@{}&] | \.(?!\d) | :: | -(?![-.\d]) | /(?!\*)"
_REST = r"""
    | (?P<parameter> %s | %\([^)]*+\)s | \? | \$\d++ | (?<![:\w]):[A-Za-z_]\w*+ )
    | (?P<word> [^\W\d][\w$]*+ )
    | (?P<number> (?: (?: (?<=[(,=<>]) | (?<=[(,=<>]\s) ) - )? (?:\d[\w.]*+|\.\d[\w.]*+) (?:(?<=[eE])[+-]\d++)? )
"""


def _dialect(kept: str, comment: str, text: str, odd_name: str) -> re.Pattern[str]:
    return re.compile(
        rf"""
          (?P<kept> (?: {_PLAIN} | {kept} )++ )
        | (?P<comment> {comment} )
        | (?P<text> {text} )
        | (?P<odd_name> {odd_name} )
        {_REST}""",
        re.VERBOSE | re.DOTALL,
    )


_QUOTED = r'"[^"]*+(?:"|\Z) | `[^`]*+(?:`|\Z)'
_IN_BRACKETS = r"\[[^\]]*+(?:\]|\Z)"
# Oracle's q'[...]', whose end is told by its beginning.
_ENDS = [(r"\[", r"\]"), (r"\{", r"\}"), (r"\(", r"\)"), ("<", ">"), (r"(?P<by>[^\s\[{(<])", r"(?P=by)")]
_Q_TEXT = r"\b[nN]?[qQ]'(?:" + "|".join(rf"{start}.*?(?:{end}'|\Z)" for start, end in _ENDS) + ")"
# A backslash escapes a quote in MySQL and in PostgreSQL's E'', and nowhere else; double quotes hold text in MySQL and a
# name elsewhere; two dashes are no comment in MySQL unless a space follows. Reading one dialect by the other's rules
# would leave parts of a literal standing as words.
_COMMENT, _TEXT = f"{_DASHES} | {_FLAT_COMMENT}", rf"(?:\b[nNxXbB])?{_PLAIN_TEXT}"
# Of a database that nobody knows here, a double-quoted word may be a text.
_UNKNOWN = _dialect(r"[\[\]]", _COMMENT, _TEXT, _QUOTED)
_SQLITE = _dialect(f"{_NAME} | {_BRACKETED}", _COMMENT, _TEXT, rf"{_QUOTED} | {_IN_BRACKETS}")
_STANDARD = _dialect(rf"{_NAME} | [\[\]]", _COMMENT, f"{_Q_TEXT} | {_TEXT}", _QUOTED)
_POSTGRESQL = _dialect(
    rf"{_NAME} | [\[\]]",
    f"{_DASHES} | {_NESTED_COMMENT}",
    rf"\b[eE]{_ESCAPED_TEXT}{_GOES_ON} | (?:\b[nNxXbB]|\b[uU]&)?{_PLAIN_TEXT} | {_DOLLAR_TEXT}",
    _QUOTED,
)
_MYSQL = _dialect(
    r"`[\w$ ]*+` | [\[\]]",
    rf"--(?=[\s\x00-\x1f]|\Z)[^\n]*+ | \#[^\n]*+ | {_FLAT_COMMENT}",
    rf'(?:\b[nNxXbB])?{_ESCAPED_TEXT} | "(?:[^"\\]|""|\\.)*+(?:"|\\?\Z)',
    r"`[^`]*+(?:`|\Z)",
)
_DIALECTS = {
    "": _POSTGRESQL,
    "postgresql": _POSTGRESQL,
    "mysql": _MYSQL,
    "sqlite": _SQLITE,
    "oracle": _STANDARD,
    "standard": _STANDARD,
    "microsoft": _SQLITE,  # mssql-django's, whose names stand in brackets too
}
DIALECTS = frozenset(_DIALECTS) - {""}
_KEPT = {"kept", "word"}

# Numbers and parameters in parentheses, before anything else is known: inside of a text they change nothing either.
_NUMBER = r"(?:%s|-?+\d++(?:\.\d++)?+)"
_NUMBERS = re.compile(rf"\(\s*+(?:{_NUMBER}\s*+,\s*+)++(?:{_NUMBER}\s*+\)|(?:%s|[-%\d.]*+)\Z)")
_LIST = re.compile(r"\( ?\?(?: ?, ?\?)+ ?\)")
_OPEN_LIST = re.compile(r"\( ?\?(?: ?, ?\??)*+\Z")
_OPEN_ROW = re.compile(r"…, ?(?:\(.*)?\Z")
_ROWS = re.compile(r"(\((?:[^()]|\(\?\))*\))(?: ?, ?\((?:[^()]|\(\?\))*\))+")
_VALUES = re.compile(r"(\bVALUES ?)(.*)", re.IGNORECASE)
# Django names savepoints after the thread and a counter.
_SAVEPOINT = re.compile(r"(\bSAVEPOINT )\S+", re.IGNORECASE)
_SELECT = re.compile(r"\(*(?:SELECT|WITH)\b", re.IGNORECASE)


def normalise(sql: str, vendor: str = "") -> str:
    """Return the shape of `sql`: literals and parameters as ?, lists collapsed, no comments, one space for any.

    `vendor` is one of DIALECTS; of any other, everything in double quotes becomes ?. So do quoted names with anything
    but letters, digits, _, $ and spaces in them: SQLite takes an unknown "name" for a text.
    """
    text = _NUMBERS.sub(_one_parameter, sql[:_MAX_READ])
    is_cut = len(text) > MAX_SQL or len(sql) > _MAX_READ
    tokens = _DIALECTS.get(vendor, _UNKNOWN)
    shape = " ".join(tokens.sub(_replacement, text[: MAX_SQL - _ROOM] if is_cut else text).split())
    shape = _collapse_rows(_SAVEPOINT.sub(r"\1?", _LIST.sub("(?)", shape)))
    return clean(_marked(shape) if is_cut else shape, MAX_SQL)


def _marked(shape: str) -> str:
    """Mark what was cut: at the same place, wherever in a list or a row that was."""
    shape = _OPEN_ROW.sub("…", _OPEN_LIST.sub("(?", shape))
    return shape if shape.endswith("…") else f"{shape} …"


def _one_parameter(match: re.Match[str]) -> str:
    return "(%s)" if match[0].endswith(")") else "(%s"


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup
    if kind in _KEPT:
        return match[0]
    return " " if kind == "comment" else "?"


def _collapse_rows(shape: str) -> str:
    """Keep one row of a VALUES list, however many there are."""
    found = _VALUES.search(shape)
    return shape[: found.end(1)] + _ROWS.sub(r"\1, …", found[2], count=1) if found else shape


def shape_id(alias: str, shape: str) -> str:
    """Return the stable name of a shape: the same on every machine and after every restart."""
    return hash_of((QUERY.name, alias, shape))[:_ID_LENGTH]


def is_cut(shape: str) -> bool:
    """Tell whether the end of the statement is missing."""
    return shape.endswith("…")


def is_select(shape: str) -> bool:
    """Tell whether a statement only asks."""
    return _SELECT.match(shape) is not None
