"""Answer several reports from one consistent state of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..metrics.limits import Limit, Verdict
from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from .alerts import ALERTS
from .blocks import BLOCKS
from .cache import CACHE_KEYS, CACHE_PROCESSES, CACHES
from .changes import CHANGES
from .comparing import compared
from .compression import COMPRESSION_OUTCOMES, COMPRESSIONS
from .database import DATABASE, DATABASE_INDEXES, DATABASE_SESSIONS, DATABASE_STATEMENTS, DATABASE_TABLES
from .exceptions import EXCEPTIONS
from .findings import FINDINGS
from .health import Health, health
from .limits import judged
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
        ALERTS,
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
class Question:
    """Say what is asked. `sort` and `text` are those of Report.table(); `limits` are judged in the same moment."""

    names: Sequence[str]
    window: Window
    sort: str | None = None
    limit: int | None = None
    text: str = ""
    is_compared: bool = False
    limits: Sequence[Limit] = ()

    def reports(self, known: Mapping[str, Report[Any]]) -> list[tuple[Report[Any], str | None]]:
        """Return the reports that are asked for, each with its order: those without the column keep their own.

        Raises KeyError when none has it.
        """
        found = [known[name] for name in self.names]
        column = (self.sort or "").removeprefix("-")
        fitting = {one.name for one in found if column in {each.name for each in one.columns}}
        if column and found and not fitting:
            found[0].column(column)
        return [(one, self.sort if one.name in fitting else None) for one in found]


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold the tables of one moment, and what was found of the limits."""

    window: Window
    tables: dict[str, Table]
    health: Health
    is_compared: bool = False
    verdicts: Sequence[Verdict] = ()

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
            **self._comparison(),
            **self._limits(),
        }

    def _comparison(self) -> dict[str, Any]:
        if not self.is_compared:
            return {}
        before = self.window.before
        return {
            "compare": {
                "against": self.window.against,
                "since": before.since.isoformat(),
                "until": before.until.isoformat(),
                "reports": {name: table.before for name, table in self.tables.items() if table.before is not None},
            }
        }

    def _limits(self) -> dict[str, Any]:
        found = [_judged(verdict) for verdict in self.verdicts]
        return {"limits": found} if found else {}


def _judged(verdict: Verdict) -> dict[str, Any]:
    limit = verdict.limit
    return {
        "metric": limit.metric.name,
        "endpoint": verdict.endpoint,
        limit.side: limit.bound,
        "value": verdict.value,
        "count": verdict.count,
        "is_breach": verdict.is_breach,
    }


def answer(names: Iterable[str], window: Window, known: Mapping[str, Report[Any]] = REPORTS) -> Answer:
    """Read the named reports of those that are known, whole and in their own order."""
    return ask(Question(list(names), window), known)


def ask(question: Question, known: Mapping[str, Report[Any]] = REPORTS) -> Answer:
    """Read what is asked of the reports that are known.

    Raises KeyError for a column that none of them has.
    """
    reports = question.reports(known)

    def read(snapshot: Snapshot) -> Answer:
        tables = {one.name: _table(snapshot, one, sort, question) for one, sort in reports}
        verdicts = judged(snapshot, question.window, question.limits)
        return Answer(question.window, tables, health(snapshot, question.window), question.is_compared, verdicts)

    return consistent(store_alias(), read)


def _table(snapshot: Snapshot, report: Report[Any], sort: str | None, question: Question) -> Table:
    table = report.table(snapshot, question.window, sort, question.limit, text=question.text)
    return compared(report, table, snapshot, question.window) if question.is_compared else table
