"""Report blocks of code measured with timed()."""

from __future__ import annotations

from dataclasses import dataclass

from ..metrics.catalog import BLOCK
from ..store.reader import Snapshot, Sum
from .report import Column, Report
from .window import Window


@dataclass(frozen=True, slots=True)
class Block:
    """Add up the runs of one name."""

    name: str
    sum: Sum

    def p95_ms(self) -> float:
        """Return the 95th percentile."""
        return self.sum.quantiles((0.95,))[0] / 1_000


def _blocks(snapshot: Snapshot, window: Window) -> list[Block]:
    return [Block(name, sum_) for (name,), sum_ in snapshot.sums(BLOCK, window.span).items()]


BLOCKS = Report[Block](
    name="blocks",
    title="Blocks",
    order="total_ms",
    rows=_blocks,
    keys=("name",),
    columns=(
        Column("name", "Block", "text", lambda row: row.name),
        Column("count", "Count", "count", lambda row: row.sum.count),
        Column("errors", "Errors", "count", lambda row: row.sum.counter(BLOCK, "errors")),
        Column("mean_ms", "Mean", "ms", lambda row: row.sum.mean / 1_000),
        Column("p95_ms", "p95", "ms", Block.p95_ms),
        Column("max_ms", "Max", "ms", lambda row: row.sum.max / 1_000),
        Column("total_ms", "Total time", "ms", lambda row: row.sum.total / 1_000),
    ),
)
