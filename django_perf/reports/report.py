"""Say what a report is: rows from the store, columns to show, an order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..store.reader import Snapshot
from .window import Window

Row = TypeVar("Row")
Value = str | int | float | None


@dataclass(frozen=True)
class Column(Generic[Row]):
    """Describe one column. `unit` is us, ms, bytes, ratio, per_s, percent, s, count, number, id, text, prose or time.

    It decides the formatting; a time is an ISO text in UTC, prose is text that may take several lines. `link` names the
    page that shows more of what the value names: endpoint, query or sample.

    `is_late` marks a value that needs the report's `enrich` step; `is_detail` one that a narrow page leaves out.
    """

    name: str
    label: str
    unit: str
    value: Callable[[Row], Value]
    is_late: bool = False
    is_detail: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Hold the answer of one report: rows as dicts by column name, in order; `found` counts them before the limit."""

    name: str
    title: str
    columns: list[dict[str, str]]
    details: set[str]
    rows: list[dict[str, Value]]
    totals: dict[str, Value]
    found: int
    links: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report(Generic[Row]):
    """Declare a report. `order` is the column it is sorted by, largest first unless it is text; "" leaves them as read.

    `enrich` completes rows with what is too dear to read for those that the limit cuts off. Quantiles are worked out
    for the rows that are shown only, unless the order asks for them. `is_live` marks one that asks the monitored
    databases themselves: it is answered only where it is named.
    """

    name: str
    title: str
    order: str
    columns: tuple[Column[Row], ...]
    rows: Callable[[Snapshot, Window], list[Row]]
    enrich: Callable[[Snapshot, Window, list[Row]], None] | None = None
    is_live: bool = False
    totals: Callable[[Snapshot, Window, list[Row]], Mapping[str, Value]] = lambda snapshot, window, rows: {}

    def column(self, name: str) -> Column[Row]:
        """Return a column by name; raises KeyError that lists the names there are."""
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns)
        raise KeyError(f"report {self.name!r} has no column {name!r}; it has {known}")

    def table(self, snapshot: Snapshot, window: Window, sort: str | None = None, limit: int | None = None) -> Table:
        """Read, sort, cut and work out the columns."""
        rows = self.rows(snapshot, window)
        by = self.column(sort or self.order) if sort or self.order else None
        if by is not None and by.is_late:
            self._complete(snapshot, window, rows)
        if by is not None:
            rows.sort(key=lambda row: _sort_key(by.value(row)))
        shown = rows[:limit]
        if by is None or not by.is_late:
            self._complete(snapshot, window, shown)
        return Table(
            name=self.name,
            title=self.title,
            columns=[{"name": one.name, "label": one.label, "unit": one.unit} for one in self.columns],
            details={one.name for one in self.columns if one.is_detail},
            rows=[{one.name: one.value(row) for one in self.columns} for row in shown],
            totals=dict(self.totals(snapshot, window, rows)),
            found=len(rows),
            links={one.name: one.link for one in self.columns if one.link},
        )

    def _complete(self, snapshot: Snapshot, window: Window, rows: list[Row]) -> None:
        if self.enrich is not None and rows:
            self.enrich(snapshot, window, rows)


def _sort_key(value: Value) -> tuple[int, Any]:
    """Sort numbers downwards, text upwards, and what is unknown last."""
    if value is None:
        return 2, 0
    return (1, value) if isinstance(value, str) else (0, -value)
