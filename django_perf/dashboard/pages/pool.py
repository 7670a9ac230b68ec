"""The page of the connection pools."""

from __future__ import annotations

from django.utils.translation import pgettext

from ...metrics.catalog import POOL, POOL_HOLD
from ...reports.health import health
from ...reports.pool import POOL_PROCESSES, POOLS
from ...reports.requests import QUANTILES
from ...reports.text import text_of
from ...reports.window import Window
from ...store.reader import Snapshot
from ..charts import Chart
from ..page import Asked, Card, Page, card, charted, notes, quantile_lines, settled, times_of, total


def pool(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of the connection pools: the fleet against the server, waits and holds over time."""
    window = asked.window
    fleet, processes = (asked.table(report, snapshot) for report in (POOLS, POOL_PROCESSES))
    # The advice is a sentence: it stands above the table instead of at its far end.
    fleet.columns.pop()
    texts = [f"{row['alias']}: {row['advice']}." for row in fleet.rows if row["advice"]]
    figures = [_pool_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Checkouts", "per_s"), ("Wait p95", "ms"), ("Hold p95", "ms"), ("Refused or timed out", "count")
    cards = [card(*label, index, figures, index > 0) for index, label in enumerate(labels)]
    cards.append(_now({name: text_of(fleet.totals[name], "count") for name in ("in_use", "max_size", "waiting")}))
    charts = _pool_charts(snapshot, charted(window))
    targets = [str(row["alias"]) for row in fleet.rows]
    return Page(window, health(snapshot, window), cards, charts, [fleet, processes], notes(texts), targets=targets)


def _now(levels: dict[str, str]) -> Card:
    part = pgettext("django_perf", "%(part)s of %(whole)s") % {"part": levels["in_use"], "whole": levels["max_size"]}
    return Card("In use now", part, pgettext("django_perf", "%(count)s waiting") % {"count": levels["waiting"]}, "calm")


def _pool_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    wait, hold = (total(snapshot, kind, window, None) for kind in (POOL, POOL_HOLD))
    refused = wait.counter(POOL, "timeouts") + wait.counter(POOL, "refused")
    if not wait.count:
        return [0.0, None, None, float(refused)]
    p95 = [sum_.quantiles(QUANTILES)[1] / 1_000 for sum_ in (wait, hold)]
    return [wait.count / window.seconds, *p95, float(refused)]


def _pool_charts(snapshot: Snapshot, window: Window) -> list[Chart]:
    waits, holds = (
        settled(snapshot.points(kind, window.span, window.step, None), window.now) for kind in (POOL, POOL_HOLD)
    )
    return [
        Chart("wait", "Wait for a connection", "ms", times_of(waits), quantile_lines(waits)),
        Chart("hold", "Connection held", "ms", times_of(holds), quantile_lines(holds)),
    ]
