"""Report on django_perf itself: what it lost, what it costs, and what its store holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Count, Max, Min, Model, Sum
from django.db.models.functions import Length

from ..metrics.catalog import LOSS, PROCESS
from ..store.models import Delta, Rollup, Sample, Series, Total
from ..store.reader import Snapshot
from ..store.reader import Sum as Sums
from ..store.tiers import DAY, HOUR, TIERS
from .report import Column, Report, Value
from .window import Window, moment

# Gauge: what it says, and the microseconds of its unit.
COSTS = {
    "fold_us": ("Folding one request into the histograms", 1.0),
    "flush_ms": ("Sending what has gathered to the store", 1_000.0),
    "housekeeping_ms": ("Merging and deleting, once a minute in the whole cluster", 1_000.0),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """Count one sort of loss."""

    what: str
    detail: str
    count: int


def _losses(snapshot: Snapshot, window: Window) -> list[Loss]:
    found = snapshot.sums(LOSS, window.span)
    return [Loss(what, detail, sum_.total) for (what, detail), sum_ in found.items()]


LOSSES = Report[Loss](
    name="losses",
    title="Losses",
    order="count",
    empty="Nothing was lost.",
    rows=_losses,
    keys=("what", "detail"),
    columns=(
        Column("detail", "What was lost, or what failed", "text", lambda row: row.detail),
        Column("what", "Sort", "text", lambda row: row.what),
        Column("count", "Count", "count", lambda row: row.count),
    ),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold what one piece of work costs, all hosts together."""

    what: str
    unit_us: float
    sum: Sums

    def us(self, stored: float) -> float:
        """Return a stored level, which is in hundredths, in microseconds."""
        return stored / 100 * self.unit_us


def costs(snapshot: Snapshot, window: Window) -> dict[str, Cost]:
    """Return what was measured of each piece of work, by gauge."""
    found: dict[str, Cost] = {}
    for (gauge, _), sum_ in snapshot.sums(PROCESS, window.span, lambda labels: labels[0] in COSTS).items():
        text, unit_us = COSTS[gauge]
        found.setdefault(gauge, Cost(text, unit_us, Sums())).sum.merge(sum_)
    return found


OWN_COSTS = Report[Cost](
    name="own_costs",
    title="What django_perf costs",
    order="",
    keys=("what",),
    rows=lambda snapshot, window: list(costs(snapshot, window).values()),
    columns=(
        Column("what", "Work", "text", lambda row: row.what),
        Column("samples", "Samples", "count", lambda row: row.sum.count),
        Column("mean_us", "Mean", "us", lambda row: row.us(row.sum.mean)),
        Column("p95_us", "p95", "us", lambda row: row.us(row.sum.quantiles((0.95,))[0])),
        Column("max_us", "Max", "us", lambda row: row.us(row.sum.max)),
    ),
)


@dataclass(frozen=True, slots=True)
class Stored:
    """Hold how much of one sort the store has; `oldest` and `newest` are in seconds since 1970."""

    what: str
    rows: int
    bytes: int | None = None
    oldest: float | None = None
    newest: float | None = None


def stored(snapshot: Snapshot) -> list[Stored]:
    """Return how much the store holds, the tiers first."""
    return [*_tiers(snapshot.alias), *_others(snapshot.alias)]


def _tiers(alias: str) -> Iterator[Stored]:
    rows = Rollup.objects.using(alias).values("tier").order_by("tier")
    sums = rows.annotate(count=Count("*"), bytes=Sum(Length("data")), oldest=Min("bucket"), newest=Max("bucket"))
    for row in sums.values_list("tier", "count", "bytes", "oldest", "newest"):
        tier, count, bytes_, oldest, newest = row
        yield Stored(_named(TIERS[tier].size, TIERS[tier].keep), count, bytes_, oldest * 60.0, newest * 60.0)


def _named(size: int, keep: int) -> str:
    length = {1: "a minute", 10: "10 minutes", HOUR: "an hour", DAY: "a day"}[size]
    return f"Figures by {length}, kept for {keep // DAY} days"


def _others(alias: str) -> Iterator[Stored]:
    waiting = Delta.objects.using(alias).filter(state=Delta.State.WAITING)
    found = waiting.aggregate(count=Count("*"), bytes=Sum(Length("payload")), oldest=Min("taken"), newest=Max("taken"))
    yield Stored("Flushes that wait to be merged", found["count"], found["bytes"], found["oldest"], found["newest"])
    found = Sample.objects.using(alias).aggregate(
        count=Count("*"), bytes_=Sum("bytes"), oldest=Min("at"), newest=Max("at")
    )
    yield Stored("Examples", found["count"], found["bytes_"], found["oldest"], found["newest"])
    yield Stored("Totals of all time", _count(alias, Total))
    yield Stored("Names", _count(alias, Series))


def _count(alias: str, model: type[Model]) -> int:
    return model._base_manager.using(alias).count()


def _time(seconds: float | None) -> Value:
    return None if seconds is None else moment(seconds).isoformat(timespec="seconds")


STORE = Report[Stored](
    name="store",
    title="The store",
    order="",
    is_live=True,
    rows=lambda snapshot, window: snapshot.once(stored),
    columns=(
        Column("what", "What", "text", lambda row: row.what),
        Column("rows", "Rows", "count", lambda row: row.rows),
        Column("bytes", "Size", "bytes", lambda row: row.bytes),
        Column("oldest", "Oldest", "time", lambda row: _time(row.oldest)),
        Column("newest", "Newest", "time", lambda row: _time(row.newest)),
    ),
)
