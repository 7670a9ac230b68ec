"""Report requests by endpoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from ..metrics.catalog import REQUEST, SITE
from ..store.fresh import Labels
from ..store.reader import Snapshot, Sum
from .report import Column, Report, Value
from .window import Window

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(slots=True)
class Endpoint:
    """Add up one (route, method) over its status classes."""

    route: str
    method: str
    seconds: float
    sum: Sum = field(default_factory=Sum)

    def counter(self, name: str) -> int:
        """Return a counter of the kind by name."""
        return self.sum.counter(REQUEST, name)

    def per_request(self, name: str) -> float:
        """Return a counter per request."""
        return self.counter(name) / self.sum.count if self.sum.count else 0.0

    def quantile_ms(self, index: int) -> float:
        """Return p50, p95 or p99."""
        return self.sum.quantiles(QUANTILES)[index] / 1_000

    def cpu_ms(self) -> float | None:
        """Return the CPU time per request, None where it cannot be known (coroutines)."""
        known = self.counter("cpu_count")
        return self.counter("cpu_us") / known / 1_000 if known else None

    def cache_hit_ratio(self) -> float | None:
        """Return the part of the keys asked for that a cache had, None where none was asked for."""
        hits = self.counter("cache_hits")
        reads = hits + self.counter("cache_misses")
        return hits / reads if reads else None

    def error_rate(self) -> float:
        """Return errors per request."""
        return self.per_request("errors")


def endpoints(snapshot: Snapshot, window: Window) -> list[Endpoint]:
    """Return every endpoint with requests in the window."""
    found: dict[tuple[str, ...], Endpoint] = {}
    for (route, method, _), sum_ in snapshot.sums(REQUEST, window.span).items():
        endpoint = found.setdefault((route, method), Endpoint(route, method, window.seconds))
        endpoint.sum.merge(sum_)
    return list(found.values())


def endpoint_totals(snapshot: Snapshot, window: Window, scopes: Set[Labels]) -> dict[Labels, tuple[int, int]]:
    """Return the requests of endpoints, named by (route, method), and the microseconds that they took; 0, 0 if none."""
    found: dict[Labels, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for labels, sum_ in snapshot.sums(REQUEST, window.span, lambda labels: labels[:2] in scopes).items():
        count, total_us = found[labels[:2]]
        found[labels[:2]] = count + sum_.count, total_us + sum_.total
    return found


def whole_site(snapshot: Snapshot, window: Window) -> Endpoint:
    """Return all requests as if of one endpoint, from their own series: merging those of all would cost far more."""
    return Endpoint("", "", window.seconds, snapshot.sums(SITE, window.span).get((), Sum()))


def _totals(snapshot: Snapshot, window: Window, rows: Sequence[Endpoint]) -> Mapping[str, Value]:
    site = whole_site(snapshot, window)
    return {
        "count": site.sum.count,
        "errors": site.counter("errors"),
        "error_rate": site.error_rate(),
        "p95_ms": site.quantile_ms(1),
    }


REQUESTS = Report[Endpoint](
    name="requests",
    title="Requests",
    order="total_ms",
    rows=endpoints,
    totals=_totals,
    keys=("name", "method"),
    columns=(
        Column("name", "Endpoint", "text", lambda row: row.route, link="endpoint"),
        Column("method", "Method", "text", lambda row: row.method),
        Column("total_ms", "Total time", "ms", lambda row: row.sum.total / 1_000),
        Column("count", "Count", "count", lambda row: row.sum.count),
        Column("errors", "Errors", "count", lambda row: row.counter("errors"), is_detail=True),
        Column("error_rate", "Error rate", "ratio", Endpoint.error_rate),
        Column("mean_ms", "Mean", "ms", lambda row: row.sum.mean / 1_000, is_detail=True),
        Column("p50_ms", "p50", "ms", lambda row: row.quantile_ms(0)),
        Column("p95_ms", "p95", "ms", lambda row: row.quantile_ms(1)),
        Column("p99_ms", "p99", "ms", lambda row: row.quantile_ms(2)),
        Column("max_ms", "Max", "ms", lambda row: row.sum.max / 1_000, is_detail=True),
        Column("rate_per_s", "Rate", "per_s", lambda row: row.sum.count / row.seconds),
        Column("queries_per_request", "Queries", "number", lambda row: row.per_request("queries")),
        Column("db_ms", "Database", "ms", lambda row: row.per_request("db_us") / 1_000),
        Column("cache_hit_ratio", "Cache hits", "ratio", Endpoint.cache_hit_ratio, is_detail=True),
        Column("cache_ms", "Cache", "ms", lambda row: row.per_request("cache_us") / 1_000, is_detail=True),
        Column("cpu_ms", "CPU", "ms", Endpoint.cpu_ms, is_detail=True),
        Column("bytes_out", "Sent", "bytes", lambda row: row.counter("bytes_out"), is_detail=True),
        Column("aborted", "Aborted", "count", lambda row: row.counter("aborted"), is_detail=True),
    ),
)
