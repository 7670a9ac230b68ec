"""Report what has changed: each endpoint beside itself in the time that the window is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from ..store.reader import Snapshot
from .report import Column, Report, Value
from .requests import Endpoint, endpoints
from .window import Window

# With fewer requests on either side a change is chance.
LEAST_REQUESTS = 20


@dataclass(frozen=True, slots=True)
class Change:
    """Hold one endpoint now and before."""

    now: Endpoint
    before: Endpoint

    def added_ms(self) -> float:
        """Return the time that the requests took more than they would have before; negative for less."""
        return (self.now.sum.mean - self.before.sum.mean) * self.now.sum.count / 1_000

    def share(self) -> Value:
        """Return by how much the mean has changed: 0.5 is half as much again."""
        return self.now.sum.mean / self.before.sum.mean - 1 if self.before.sum.mean else None


def changes(snapshot: Snapshot, window: Window) -> list[Change]:
    """Return every endpoint that had enough requests in both times."""
    before = {(one.route, one.method): one for one in snapshot.once(endpoints, window.before)}
    pairs = [
        Change(one, before[one.route, one.method])
        for one in snapshot.once(endpoints, window)
        if (one.route, one.method) in before
    ]
    return [pair for pair in pairs if min(pair.now.sum.count, pair.before.sum.count) >= LEAST_REQUESTS]


CHANGES = Report[Change](
    name="changes",
    title="Changes against the time before",
    order="added_ms",
    empty=f"No endpoint had {LEAST_REQUESTS} requests in both times.",
    rows=changes,
    columns=(
        Column("name", "Endpoint", "text", lambda row: row.now.route, link="endpoint"),
        Column("method", "Method", "text", lambda row: row.now.method),
        Column("added_ms", "Added time", "ms", Change.added_ms),
        Column("change", "Mean changed by", "ratio", Change.share),
        Column("mean_before_ms", "Mean before", "ms", lambda row: row.before.sum.mean / 1_000),
        Column("mean_ms", "Mean", "ms", lambda row: row.now.sum.mean / 1_000),
        Column("p95_before_ms", "p95 before", "ms", lambda row: row.before.quantile_ms(1)),
        Column("p95_ms", "p95", "ms", lambda row: row.now.quantile_ms(1)),
        Column("error_rate_before", "Errors before", "ratio", lambda row: row.before.error_rate()),
        Column("error_rate", "Errors", "ratio", lambda row: row.now.error_rate()),
        Column("queries_before", "Queries before", "number", lambda row: row.before.per_request("queries")),
        Column("queries", "Queries", "number", lambda row: row.now.per_request("queries")),
        Column(
            "rate_before_per_s",
            "Rate before",
            "per_s",
            lambda row: row.before.sum.count / row.before.seconds,
            is_detail=True,
        ),
        Column("rate_per_s", "Rate", "per_s", lambda row: row.now.sum.count / row.now.seconds, is_detail=True),
    ),
)
