"""Tell from its text whether a statement changes the session it runs in."""

from __future__ import annotations

import re

# What outlives the transaction; SET LOCAL, SET TRANSACTION and SET CONSTRAINTS do not. A comment between two statements
# counts as a change: looking behind it is not worth the care.
_CHANGES = re.compile(
    r"""
    (?: \A (?> \s+ | --[^\n]*+\n | /\*(?>[^*]|\*(?!/))*+\*/ )*+ | ; \s*+ (?: -- | /\* )?+ )
    (?: SET \s (?! \s*+ (?: LOCAL | TRANSACTION | CONSTRAINTS ) \b )
      | CREATE \s++ (?: OR \s++ REPLACE \s++ )?+ (?: (?: LOCAL | GLOBAL ) \s++ )?+ TEMP
      | PREPARE \s (?! \s*+ TRANSACTION \b )
      | (?: RESET | LISTEN | LOAD | DO | CALL | DECLARE | DISCARD ) \b )
    | ; \s*+ (?: -- | /\* )
    | \b (?: set_config | setseed | pg_(?:try_)?advisory_lock | dblink_connect ) \w*+ \s*+ \(
    | \b pg_temp \b
    | \b INTO \s++ (?: (?: LOCAL | GLOBAL ) \s++ )?+ TEMP (?: ORARY )?+ \b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_LIMITS = re.compile(r"\A(?!\s*+SHOW\b).*statement_timeout", re.IGNORECASE | re.DOTALL)
_SEVERAL = re.compile(r";\s*+\S")
_MOST_KNOWN = 5_000

NOTHING, CHANGES, LIMITS, SEVERAL = 0, 1, 2, 4
_known: dict[int, int] = {}


def effects_of(sql: str) -> int:
    """Return CHANGES when `sql` changes the session for good, LIMITS when it speaks of statement_timeout, SEVERAL when
    it may be more than one statement (each has the server's whole timeout); added up.

    A function that is called may change the session unseen. The answer is remembered by the hash of the text.
    Thread-safe.
    """
    key = hash(sql)
    effects = _known.get(key)
    if effects is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = (CHANGES, _CHANGES), (LIMITS, _LIMITS), (SEVERAL, _SEVERAL)
        effects = sum(effect for effect, pattern in found if pattern.search(sql))
        _known[key] = effects
    return effects
