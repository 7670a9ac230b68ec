"""Judge what a request did with its statements: pure rules, no clock, no Django.

The thresholds of "N+1" are those of Scout (five times) and Sentry (time together), with a floor that needs no time: of
twenty statements from one line no one can be sure that they are cheap elsewhere too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..metrics.statement import NS, ROWS, Run, Runs, calls, column
from .fingerprint import is_select

N_PLUS_ONE, DUPLICATE, UNBOUNDED, TEMPLATE = "n_plus_one", "duplicate", "unbounded", "template"
OPEN_TRANSACTION = "open_transaction"

LEAST_REPEATS = 5
MOST_REPEATS = 20
LEAST_NS = 10_000_000
MOST_ROWS = 1_000
# A transaction that waits so long for something else, and for half of its time, keeps locks from others.
LONG_WAIT_NS = 100_000_000

# Each atomic() inside of another is a savepoint.
_REPEATING = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "(")
_QUOTED = re.compile(r'"[^"]*"|`[^`]*`')
_BOUND = re.compile(r"\b(?:LIMIT|FETCH FIRST|FETCH NEXT|TOP|ROWNUM)\b", re.IGNORECASE)


@dataclass(slots=True)
class Tally:
    """Add up executions of one statement."""

    calls: int = 0
    ns: int = 0
    rows: int = 0

    def add(self, run: Run) -> None:
        """Add one."""
        self.calls += 1
        self.ns += run.ns
        self.rows += run.rows

    @classmethod
    def of(cls, runs: Runs) -> Tally:
        """Return the tally of several."""
        return cls(calls(runs), sum(column(runs, NS)), sum(column(runs, ROWS)))

    def merge(self, other: Tally) -> None:
        """Add another tally."""
        self.calls, self.ns, self.rows = self.calls + other.calls, self.ns + other.ns, self.rows + other.rows


def is_n_plus_one(calls: int, ns: int) -> bool:
    """Tell whether so many executions from one place in one request are one query for each of something."""
    return calls >= LEAST_REPEATS and (ns >= LEAST_NS or calls >= MOST_REPEATS)


def may_repeat(sql: str) -> bool:
    """Tell whether it means anything that a statement repeats: not of savepoints, nor where only its type is known."""
    return not sql.startswith(_REPEATING)


def may_be_duplicate(sql: str) -> bool:
    """Tell whether asking twice is a waste: a question is, an INSERT and a savepoint are not."""
    return is_select(sql)


def is_unbounded(sql: str, rows: int) -> bool:
    """Tell whether a statement returned more rows than anybody looks at, because nobody has set a limit."""
    return rows > MOST_ROWS and is_select(sql) and not _BOUND.search(_QUOTED.sub("", sql))


def is_held_open(held_ns: int, waiting_ns: int) -> bool:
    """Tell whether a transaction was kept open for something else than the database."""
    return waiting_ns >= LONG_WAIT_NS and waiting_ns * 2 >= held_ns
