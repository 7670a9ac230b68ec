"""Name a database error by its code: what its text says may name a person."""

from __future__ import annotations

from ..metrics.names import clean

_MAX_CODE = 60
# What the common SQLSTATEs mean; the names are PostgreSQL's (its manual, appendix A).
_MEANINGS = {
    "08000": "connection exception",
    "08003": "connection does not exist",
    "08006": "connection failure",
    "22001": "text too long for its column",
    "22003": "number out of range",
    "22012": "division by zero",
    "22P02": "text is no value of the type",
    "23502": "not null violation",
    "23503": "foreign key violation",
    "23505": "unique violation",
    "23514": "check violation",
    "25006": "write in a read-only transaction",
    "25P02": "transaction had failed before",
    "28P01": "wrong password",
    "40001": "serialization failure: try again",
    "40P01": "deadlock: try again",
    "42501": "permission denied",
    "42601": "syntax error",
    "42703": "no such column",
    "42883": "no such function",
    "42P01": "no such table",
    "53300": "too many connections",
    "55P03": "lock not available in time",
    "57014": "canceled: a time limit, or somebody",
    "57P01": "ended by an administrator",
}


def code_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error, or what its driver has instead: a name, a number, else its class."""
    cause = error.__cause__ or error  # Django's own error stands for the driver's
    for name in ("pgcode", "sqlstate", "sqlite_errorname"):
        code = getattr(cause, name, None)
        if isinstance(code, str) and code:
            return clean(code, _MAX_CODE)
    if cause.args and isinstance(cause.args[0], int):
        return str(cause.args[0])[:_MAX_CODE]
    return clean(type(cause).__name__, _MAX_CODE)


def meaning_of(code: str) -> str:
    """Return what a code says in words, "" for one that is rare or says it itself."""
    return _MEANINGS.get(code, "")
