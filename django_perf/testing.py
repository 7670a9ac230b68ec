"""Test helpers: fail where a block of code sends too many queries, and name the lines to fix.

For any test runner; pytest finds them as fixtures of the same names. They see the statements of this thread, also those
of requests that Django's test client makes, whether or not anything is measured. Time decides nothing here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from django.db import connections

from .db.findings import may_repeat
from .db.remedy import remedy_of, template_site
from .db.shapes import dialect_of, shapes_of
from .metrics.callsite import place_of
from .metrics.trace import current

_MOST_SHOWN = 20


@contextmanager
def assert_max_queries(most: int, *, using: str | None = None) -> Iterator[None]:
    """Fail if the block sends more than `most` statements, with the lines of code that send them.

    `using` is the alias to look at; without it, all of them together. Savepoints count, BEGIN and COMMIT do not.
    """
    __tracebackhide__ = True
    with _recorded(using) as sent:
        yield
    count = sum(line.count for line in sent)
    if count > most:
        raise AssertionError(f"{count} queries were sent, and {most} are the most allowed:\n{_listed(sent)}")


@contextmanager
def assert_no_n_plus_one(*, repeats: int = 3, using: str | None = None) -> Iterator[None]:
    """Fail if one line sends the same statement `repeats` times in one request, with that line and a remedy.

    Without a request (or without the middleware) the whole block counts as one. The values do not matter: in a test,
    all rows often have the same parent. So the test needs at least `repeats` rows, or there is nothing to find.
    """
    __tracebackhide__ = True
    with _recorded(using) as sent:
        yield
    often = [line for line in sent if line.count >= repeats and may_repeat(line.sql)]
    if often:
        raise AssertionError(f"one query is sent for each of something:\n{_listed(often)}")


@dataclass(slots=True)
class _Line:
    """Count one statement that one line sends in one request."""

    request: object
    place: str
    sql: str
    remedy: str
    count: int = 0


class _Lines:
    """Keep what was sent, as an execute wrapper (Django's "Database instrumentation") of this thread's connections."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, str, str, str], _Line] = {}

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        self._add(context["connection"], sql, sys._getframe(1))
        return execute(sql, params, many, context)

    def __iter__(self) -> Iterator[_Line]:
        return iter(self._by_key.values())

    def _add(self, connection: Any, sql: Any, frame: FrameType) -> None:
        text = shapes_of(connection.alias, dialect_of(connection)).find(sql).sql
        place, request = place_of(template_site(frame)) or "(outside of the project)", current.get()
        key = id(request), connection.alias, text, place
        if key not in self._by_key:  # the line keeps the request, so that no other one can get its id
            self._by_key[key] = _Line(request, place, text, _remedy(frame))
        self._by_key[key].count += 1


def _remedy(frame: FrameType) -> str:
    """Return what would be better, if that can be told: it is found in Django's own frames, which may be others."""
    try:
        return remedy_of(frame)
    except Exception:
        return "one statement for all, instead of one for each"


@contextmanager
def _recorded(using: str | None) -> Iterator[_Lines]:
    lines = _Lines()
    with ExitStack() as stack:
        for connection in connections.all() if using is None else [connections[using]]:
            stack.enter_context(connection.execute_wrapper(lines))
        yield lines


def _listed(sent: _Lines | list[_Line]) -> str:
    lines = sorted(sent, key=lambda line: -line.count)
    shown = [_described(line) for line in lines[:_MOST_SHOWN]]
    left = len(lines) - len(shown)
    return "\n".join([*shown, f"  and {left} more"] if left else shown)


def _described(line: _Line) -> str:
    remedy = f"\n        better: {line.remedy}" if line.count > 1 else ""
    return f"  {line.count} x {line.place}\n        {line.sql}{remedy}"
