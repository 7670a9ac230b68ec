"""Report transactions: how long they are open, and how much of that they wait for something else."""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics.catalog import TRANSACTION
from ..store.reader import Snapshot, Sum
from .report import Column, Report
from .window import Window

QUANTILES = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Transactions:
    """Add up the transactions of one endpoint on one database."""

    route: str
    method: str
    alias: str
    sum: Sum

    def held_ms(self, index: int) -> float:
        """Return p50 or p95 of the time for which they were open."""
        return self.sum.quantiles(QUANTILES)[index] / 1_000

    def waiting_ms(self) -> float:
        """Return the time in which long ones did nothing in the database."""
        return self.sum.counter(TRANSACTION, "waiting_us") / 1_000

    def waiting_share(self) -> float | None:
        """Return the part of their time in which long ones did nothing in the database."""
        return self.waiting_ms() * 1_000 / self.sum.total if self.sum.total else None


def transactions(snapshot: Snapshot, window: Window) -> list[Transactions]:
    """Return one row for each endpoint and database of the window."""
    found = snapshot.sums(TRANSACTION, window.span)
    return [Transactions(route, method, alias, sum_) for (route, method, alias), sum_ in found.items()]


TRANSACTIONS = Report[Transactions](
    name="transactions",
    title="Transactions",
    order="total_ms",
    rows=transactions,
    keys=("name", "method", "alias"),
    columns=(
        Column("name", "Endpoint", "text", lambda row: row.route, link="endpoint"),
        Column("method", "Method", "text", lambda row: row.method),
        Column("alias", "Database", "text", lambda row: row.alias, is_detail=True),
        Column("total_ms", "Held open", "ms", lambda row: row.sum.total / 1_000),
        Column("count", "Count", "count", lambda row: row.sum.count),
        Column("rollbacks", "Rollbacks", "count", lambda row: row.sum.counter(TRANSACTION, "rollbacks")),
        Column("p50_ms", "p50", "ms", lambda row: row.held_ms(0), is_detail=True),
        Column("p95_ms", "p95", "ms", lambda row: row.held_ms(1)),
        Column("max_ms", "Max", "ms", lambda row: row.sum.max / 1_000),
        Column("waiting_ms", "Waiting", "ms", Transactions.waiting_ms),
        Column("waiting_share", "Of it waiting", "ratio", Transactions.waiting_share),
    ),
)
