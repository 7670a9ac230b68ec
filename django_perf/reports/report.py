"""Say what a report is: rows from the store, columns to show, an order."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..metrics.names import nearest
from ..store.reader import Snapshot
from .window import Window

Row = TypeVar("Row")
Value = str | int | float | None
_TEXTS = {"text", "prose"}


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
    """Hold the answer of one report: rows as dicts by column name, in order, the first of them at `offset`.

    `found` counts them before the limit. `before` has the rows of another time, None for one that was not there then;
    it is None itself where nothing is compared.
    """

    name: str
    title: str
    columns: list[dict[str, str]]
    details: set[str]
    rows: list[dict[str, Value]]
    totals: dict[str, Value]
    found: int
    links: dict[str, str] = field(default_factory=dict)
    offset: int = 0
    empty: str = ""
    before: list[dict[str, Value] | None] | None = None

    @property
    def end(self) -> int:
        """Return how many rows there are up to the last one here."""
        return self.offset + len(self.rows)


@dataclass(frozen=True)
class Report(Generic[Row]):
    """Declare a report. `order` is the column it is sorted by, largest first unless it is text; "" leaves them as read.

    `enrich` completes rows with what is too dear to read for those that the limit cuts off. Quantiles are worked out
    for the rows that are shown only, unless the order asks for them. `is_live` marks one that asks the monitored
    databases themselves: it is answered only where it is named. `empty` says what it means that there are no rows.
    `keys` are the columns that tell its rows apart, in whatever time they are read; without them a row cannot be
    compared.
    """

    name: str
    title: str
    order: str
    columns: tuple[Column[Row], ...]
    rows: Callable[[Snapshot, Window], list[Row]]
    enrich: Callable[[Snapshot, Window, list[Row]], None] | None = None
    is_live: bool = False
    empty: str = "Nothing was measured in this time."
    totals: Callable[[Snapshot, Window, list[Row]], Mapping[str, Value]] = lambda snapshot, window, rows: {}
    keys: tuple[str, ...] = ()

    def column(self, name: str) -> Column[Row]:
        """Return a column by name; raises KeyError that lists the names there are."""
        for column in self.columns:
            if column.name == name:
                return column
        known = [column.name for column in self.columns]
        meant = f"; did you mean {near!r}?" if (near := nearest(name, known)) else ""
        raise KeyError(f"report {self.name!r} has no column {name!r}; it has {', '.join(known)}{meant}")

    def table(
        self,
        snapshot: Snapshot,
        window: Window,
        sort: str | None = None,
        limit: int | None = None,
        *,
        text: str = "",
        offset: int = 0,
    ) -> Table:
        """Read, sort, cut and work out the columns.

        `sort` is the name of a column, with a leading "-" for the other direction. `text` leaves only rows that have it
        in one of their texts, and `offset` rows are passed by. Raises KeyError for a column that there is not.
        """
        by = self.column((sort or self.order).removeprefix("-")) if sort or self.order else None
        rows = self._matching(snapshot.once(self.rows, window), text)
        if by is not None and by.is_late:
            self._complete(snapshot, window, rows)
        if by is not None:
            _sort(rows, by, is_reversed=(sort or "").startswith("-"))
        shown = rows[offset:][:limit]
        if by is None or not by.is_late:
            self._complete(snapshot, window, shown)
        return Table(
            name=self.name,
            title=self.title,
            columns=[{"name": one.name, "label": one.label, "unit": one.unit} for one in self.columns],
            details={one.name for one in self.columns if one.is_detail},
            rows=self._worked_out(shown),
            totals=dict(self.totals(snapshot, window, rows)),
            found=len(rows),
            links={one.name: one.link for one in self.columns if one.link},
            offset=offset,
            empty=self.empty,
        )

    def rows_of(
        self, snapshot: Snapshot, window: Window, wanted: Container[tuple[Value, ...]]
    ) -> list[dict[str, Value]]:
        """Return the rows with the `wanted` values of the keys."""
        keys = [self.column(name) for name in self.keys]
        rows = [row for row in snapshot.once(self.rows, window) if tuple(one.value(row) for one in keys) in wanted]
        self._complete(snapshot, window, rows)
        return self._worked_out(rows)

    def _worked_out(self, rows: list[Row]) -> list[dict[str, Value]]:
        return [{one.name: one.value(row) for one in self.columns} for row in rows]

    def _matching(self, rows: list[Row], text: str) -> list[Row]:
        if not text:
            return rows.copy()
        columns = [one for one in self.columns if one.unit in _TEXTS and not one.is_late]
        return [row for row in rows if any(text.lower() in str(one.value(row)).lower() for one in columns)]

    def _complete(self, snapshot: Snapshot, window: Window, rows: list[Row]) -> None:
        if self.enrich is not None and rows:
            self.enrich(snapshot, window, rows)


def _sort(rows: list[Row], by: Column[Row], is_reversed: bool) -> None:
    """Sort numbers downwards and text upwards, or the other way, and what is unknown last; in place."""
    values: dict[int, Any] = {id(row): by.value(row) for row in rows}
    is_text = any(isinstance(value, str) for value in values.values())
    known: list[Any] = [row for row in rows if values[id(row)] is not None]
    unknown = [row for row in rows if values[id(row)] is None]
    known.sort(key=lambda row: values[id(row)], reverse=is_text is is_reversed)
    rows[:] = known + unknown
