"""Name a database error by its code: what its text says may name a person."""

from __future__ import annotations

from ..metrics.names import clean

_MAX_CODE = 60


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
