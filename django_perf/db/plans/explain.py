"""Explain a recorded statement: by its shape, never by a text that somebody sends."""

from __future__ import annotations

from django.db import Error as DatabaseError
from django.db import connections

from ...exceptions import Unexplainable
from ..errors import code_of, meaning_of
from . import postgresql, sqlite
from .plan import Plan
from .preparing import check, count_parameters

_PLANNERS = {"postgresql": postgresql.explain, "sqlite": sqlite.explain}


def explain(alias: str, shape: str) -> Plan:
    """Return the plan of a shape on the database `alias`; nothing is executed unless EXPLAIN_ANALYZE is on.

    Raises Unexplainable with the reason: what may not or cannot be explained, or the code with which the database
    refused. Its text is never kept: it may hold values of the data.
    """
    check(shape)
    if alias not in connections.settings:
        raise Unexplainable(f"there is no database {alias!r} here")
    vendor = connections[alias].vendor
    planner = _PLANNERS.get(vendor)
    if planner is None:
        why = (
            "a statement with parameters cannot be planned without them" if count_parameters(shape) else "not supported"
        )
        raise Unexplainable(f"{vendor}: {why}")
    try:
        return planner(alias, shape)
    except DatabaseError as error:
        code = code_of(error)
        reason = f"the database refuses: {code}" + (f" ({meaning})" if (meaning := meaning_of(code)) else "")
        raise Unexplainable(reason, code) from None
