"""Make a statement that can be prepared out of a shape, or say why that is not possible; pure.

What is sent to the server is made of words, plain quoted names, operators and numbered parameters: a shape holds no
literal and no comment. So what a server could take for a second statement can be seen here, as a semicolon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...exceptions import Unexplainable
from ..fingerprint import is_cut

_TOKEN = re.compile(
    r"""
      (?P<name> "[^"]*" | `[^`]*` )
    | (?P<operator> \?[|&](?![|&]) )
    | (?P<mark> \? )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<close> [)\]] )
    | (?P<space> \s+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words after which a value comes. Behind any other word, which is then the name of a column, a ? is JSON's operator.
_BEFORE_VALUES = _words(
    """ALL AND ANY ARRAY AS AT BETWEEN BY CASE DATE DISTINCT ELSE ESCAPE EXCEPT FETCH FIRST FROM HAVING ILIKE IN
    INTERSECT INTERVAL IS LIKE LIMIT NEXT NOT OFFSET ON OR SELECT SIMILAR SOME THEN TIME TIMESTAMP TO UNION USING VALUES
    WHEN WHERE"""
)
# A SELECT with one of these changes something, or is none. FOR UPDATE is asked for below.
_FORBIDDEN = _words(
    """ALTER ANALYZE CALL COMMIT COPY CREATE DELETE DO DROP EXECUTE EXPLAIN GRANT INSERT INTO LISTEN LOCK MERGE NOTIFY
    PREPARE REASSIGN REFRESH REINDEX RESET REVOKE ROLLBACK SET TRUNCATE UPDATE VACUUM"""
)
_LOCKING = re.compile(r"\bFOR (?:NO KEY )?UPDATE\b", re.IGNORECASE)


def check(shape: str) -> None:
    """Raise Unexplainable, with the reason, unless `shape` is one whole SELECT."""
    if is_cut(shape):
        raise Unexplainable("the statement is longer than what is kept of it")
    if ";" in shape:
        raise Unexplainable("there is more than one statement, or the end of one")
    if "--" in shape or "/*" in shape:
        # Two signs of MySQL, where a blank makes a comment of them, are one at another server.
        raise Unexplainable("there is what may be a comment")
    words = [match[0].upper() for match in _TOKEN.finditer(_LOCKING.sub("", shape)) if match.lastgroup == "word"]
    if not words or words[0] not in ("SELECT", "WITH"):
        raise Unexplainable("only a SELECT is explained")
    if changing := sorted(_FORBIDDEN.intersection(words)):
        raise Unexplainable(f"a statement with {changing[0]} is not explained: only a SELECT that changes nothing is")


def numbered(shape: str) -> tuple[str, int]:
    """Return a shape with $1, $2, ... for its parameters, and how many they are: what PostgreSQL prepares."""
    parts = list(_numbered(shape))
    return "".join(text for text, _ in parts).replace("%%", "%"), sum(is_parameter for _, is_parameter in parts)


def count_parameters(shape: str) -> int:
    """Return the number of parameters where ? is never an operator."""
    return sum(match.lastgroup == "mark" for match in _TOKEN.finditer(shape.replace("?|", "? |").replace("?&", "? &")))


def _numbered(shape: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a shape, and whether each is a parameter."""
    number, is_value_next = 0, True
    for match in _TOKEN.finditer(shape):
        kind, text = match.lastgroup, match[0]
        if kind == "mark" or (kind == "operator" and is_value_next):
            if is_value_next:
                number += 1
                yield f"${number}", True
                yield text[1:], False
                is_value_next = len(text) > 1
            else:
                yield text, False
                is_value_next = True
            continue
        yield text, False
        if kind != "space":
            is_value_next = _precedes_value(kind, text)


def _precedes_value(kind: str | None, text: str) -> bool:
    """Tell whether a value comes behind a token, not an operator."""
    if kind == "word":
        return text.upper() in _BEFORE_VALUES
    return kind not in ("name", "close")
