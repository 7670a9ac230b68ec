"""Answer several reports from one consistent state of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from .blocks import BLOCKS
from .cache import CACHE_KEYS, CACHE_PROCESSES, CACHES
from .changes import CHANGES
from .compression import COMPRESSION_OUTCOMES, COMPRESSIONS
from .database import DATABASE, DATABASE_INDEXES, DATABASE_SESSIONS, DATABASE_STATEMENTS, DATABASE_TABLES
from .exceptions import EXCEPTIONS
from .findings import FINDINGS
from .health import Health, health
from .lines import LINES
from .marks import MARKS
from .own import LOSSES, OWN_COSTS, STORE
from .pool import POOL_PROCESSES, POOLS
from .process import PROCESSES
from .queries import QUERIES
from .query_errors import QUERY_ERRORS
from .report import Report, Table
from .requests import REQUESTS
from .samples import SAMPLES
from .transactions import TRANSACTIONS
from .window import Window, moment

REPORTS: dict[str, Report[Any]] = {
    report.name: report
    for report in (
        REQUESTS,
        CHANGES,
        QUERIES,
        QUERY_ERRORS,
        FINDINGS,
        LINES,
        TRANSACTIONS,
        EXCEPTIONS,
        SAMPLES,
        BLOCKS,
        PROCESSES,
        POOLS,
        POOL_PROCESSES,
        CACHES,
        CACHE_KEYS,
        CACHE_PROCESSES,
        COMPRESSIONS,
        COMPRESSION_OUTCOMES,
        MARKS,
        LOSSES,
        OWN_COSTS,
        STORE,
        DATABASE,
        DATABASE_TABLES,
        DATABASE_INDEXES,
        DATABASE_SESSIONS,
        DATABASE_STATEMENTS,
    )
}


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold the tables of one moment."""

    window: Window
    tables: dict[str, Table]
    health: Health

    def as_dict(self) -> dict[str, Any]:
        """Return the documented JSON form (docs/reports.md)."""
        return {
            "generated_at": moment(self.window.now).isoformat(timespec="seconds"),
            "since": self.window.since.isoformat(),
            "until": self.window.until.isoformat(),
            "reports": {
                name: {"columns": table.columns, "rows": table.rows, "totals": table.totals}
                for name, table in self.tables.items()
            },
            "health": asdict(self.health),
        }


def answer(
    names: Iterable[str],
    window: Window,
    sort: str | None = None,
    limit: int | None = None,
    known: Mapping[str, Report[Any]] = REPORTS,
) -> Answer:
    """Read the named reports of those that are known; `sort` applies to those that have such a column.

    The others keep their own order. Raises KeyError when none has it.
    """
    reports = [known[name] for name in names]
    fitting = [one.name for one in reports if sort in {column.name for column in one.columns}]
    if sort is not None and not fitting:
        reports[0].column(sort)

    def read(snapshot: Snapshot) -> Answer:
        tables = {
            one.name: one.table(snapshot, window, sort if one.name in fitting else None, limit) for one in reports
        }
        return Answer(window, tables, health(snapshot, window))

    return consistent(store_alias(), read)
