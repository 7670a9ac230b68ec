"""Say which figures may have a limit, how people write one, and whether a figure breaches it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .names import nearest

# What a limit is for: the whole site, each endpoint by itself, or one endpoint, named "GET products/<int:pk>".
SITE, EACH = "", "*"
_EXPRESSION = re.compile(r"([A-Za-z0-9_]+)\s*([=><])\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|%|)(?:@(.*))?", re.DOTALL)
_BEYOND = 1e15
GRAMMAR = (
    "write NAME=LIMIT for what must not be over it, NAME<LIMIT for what must not be under it; for instance "
    "p95=500ms, error_rate=1%, 'cache_hit_ratio<80%', 'p95=500ms@GET products/<int:pk>', p95=1s@* for each endpoint"
)


@dataclass(frozen=True, slots=True)
class Metric:
    """Name one figure of the site or of an endpoint; `name` is that of its column in the report on requests.

    `is_sum` marks one that says something of no requests too: their number, and not a mean or a quantile of them.
    """

    name: str
    short: str
    unit: str
    is_sum: bool = False

    def text(self, value: float) -> str:
        """Return a value with its unit, as a person writes it."""
        shown = value * 100 if self.unit == "ratio" else value
        number = f"{shown:.0f}" if abs(shown) >= 100 else f"{shown:.3g}"
        return f"{number}{_SIGNS[self.unit]}"

    def scaled(self, number: float, unit: str) -> float:
        """Return a number that was written with `unit` in the metric's own; raises ValueError for a wrong unit."""
        if unit not in _SCALES[self.unit]:
            known = ", ".join(one or "nothing" for one in _SCALES[self.unit])
            raise ValueError(f"{self.name} is not measured in {unit!r}: behind the number stands {known}")
        scaled = number * _SCALES[self.unit][unit]
        if self.unit == "ratio" and scaled > 1:
            raise ValueError(f"{self.name} is never over 1: write {number:g}% or {number / 100:g}")
        return scaled


_SIGNS = {"ms": " ms", "ratio": " %", "per_s": "/s", "count": "", "number": ""}
_SCALES: dict[str, dict[str, float]] = {
    "ms": {"ms": 1.0, "s": 1_000.0, "": 1.0},
    "ratio": {"%": 0.01, "": 1.0},
    "per_s": {"": 1.0},
    "count": {"": 1.0},
    "number": {"": 1.0},
}
_ALL = (
    Metric("p50_ms", "p50", "ms"),
    Metric("p95_ms", "p95", "ms"),
    Metric("p99_ms", "p99", "ms"),
    Metric("mean_ms", "mean", "ms"),
    Metric("max_ms", "max", "ms"),
    Metric("error_rate", "error_rate", "ratio"),
    Metric("errors", "errors", "count", is_sum=True),
    Metric("rate_per_s", "rate", "per_s", is_sum=True),
    Metric("queries_per_request", "queries", "number"),
    Metric("db_ms", "db", "ms"),
    Metric("cache_hit_ratio", "cache_hit_ratio", "ratio"),
)
METRICS = {metric.name: metric for metric in _ALL}
_BY_ANY_NAME = METRICS | {metric.short: metric for metric in _ALL}


@dataclass(frozen=True, slots=True)
class Limit:
    """Bound one metric from above, or from below; `bound` is in the unit of the metric."""

    metric: Metric
    bound: float
    is_over: bool = True
    endpoint: str = SITE

    def is_breached_by(self, value: float) -> bool:
        """Tell whether a value lies beyond the bound; one that equals it does not."""
        return value > self.bound if self.is_over else value < self.bound

    @property
    def side(self) -> str:
        """Return the side of the bound that is wrong."""
        return "over" if self.is_over else "under"

    def text(self) -> str:
        """Return it in words: "p95 over 500 ms"."""
        return f"{self.metric.short} {self.side} {self.metric.text(self.bound)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what a limit finds of one endpoint, or of the site; `value` is None where too little was measured.

    `is_steady` is False where the figure of the whole time is beyond the limit, and that of a part of it is not.
    """

    limit: Limit
    endpoint: str
    value: float | None
    count: int = 0
    is_steady: bool = True

    @property
    def is_breach(self) -> bool:
        """Tell whether the value is known and breaches the limit, all the time."""
        return self.value is not None and self.is_steady and self.limit.is_breached_by(self.value)

    def text(self) -> str:
        """Return it as a sentence: what, where, and by how much."""
        limit = self.limit
        what = f"{limit.metric.short} of {place_of(self.endpoint)}"
        if self.value is None:
            return f"{what}: nothing was measured"
        by = f"{abs(self.value / limit.bound - 1):.0%} " if limit.bound else ""
        side = limit.side if self.is_breach else f"not {limit.side}"
        return f"{what} is {limit.metric.text(self.value)}, {by if self.is_breach else ''}{side} {self._bound()}"

    def _bound(self) -> str:
        return f"{self.limit.metric.text(self.limit.bound)} ({self.count} requests)"


def place_of(endpoint: str) -> str:
    """Return what a limit is for in words."""
    return {SITE: "the whole site", EACH: "each endpoint"}.get(endpoint, endpoint)


def metric_of(name: str) -> Metric:
    """Return a metric by either of its names; raises ValueError that lists them."""
    metric = _BY_ANY_NAME.get(name)
    if metric is None:
        hint = f"did you mean {near!r}?" if (near := nearest(name, _BY_ANY_NAME)) else ""
        known = ", ".join(one.short for one in _ALL)
        raise ValueError(" ".join(filter(None, (f"there is no metric {name!r};", hint, f"known are {known}"))))
    return metric


def limit_of(text: str) -> Limit:
    """Return the limit of an expression such as "p95=500ms@*"; raises ValueError that says what is understood."""
    match = _EXPRESSION.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no limit; {GRAMMAR}")
    name, sign, number, unit, endpoint = match.groups()
    metric = metric_of(name)
    bound = metric.scaled(float(number), unit)
    return Limit(metric, bound, sign != "<", endpoint_of(endpoint or SITE))


def endpoint_of(text: str) -> str:
    """Return an endpoint as it is named here; raises ValueError for what is none."""
    given = text.strip()
    method, _, route = given.partition(" ")
    if given in (SITE, EACH):
        return given
    if not (method.isalpha() and method.isupper() and route.strip()):
        raise ValueError(f"{text!r} is no endpoint; it is 'GET products/<int:pk>', '*' for each, '' for the whole site")
    return f"{method} {route.strip()}"


def is_bound(value: object) -> bool:
    """Tell whether a value can be a bound: a number from 0 on."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _BEYOND
