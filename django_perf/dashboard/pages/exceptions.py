"""The page of unhandled exceptions."""

from __future__ import annotations

from dataclasses import replace

from ...metrics.catalog import EXCEPTION, SITE
from ...reports.exceptions import EXCEPTIONS
from ...reports.health import health
from ...reports.samples import SAMPLES
from ...reports.window import Window
from ...requests.remarkable import EXCEPTION as FAILED
from ...store.reader import Snapshot
from ..charts import Chart, Line
from ..page import FEW_ROWS, ROWS, Asked, Page, card, charted, over_time, settled, times_of, total


def exceptions(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of exceptions: which, where, since when, and requests that raised them."""
    window = asked.window
    examples = replace(SAMPLES, rows=lambda *args: [row for row in SAMPLES.rows(*args) if row.fact("reason") == FAILED])
    tables = asked.tables(snapshot, {EXCEPTIONS: ROWS, examples: FEW_ROWS})
    figures = [_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Exceptions", "count"), ("Classes", "count"), ("Error rate", "ratio"), ("Aborted by clients", "count")
    cards = [card(*label, index, figures) for index, label in enumerate(labels)]
    wide = charted(window)
    points = settled(snapshot.points(EXCEPTION, wide.span, wide.step), wide.now)
    lines = [Line("exceptions", "bad", over_time(points, lambda sum_: sum_.count, wide))]
    charts = [Chart("exceptions", "Exceptions per second", "per_s", times_of(points), lines)]
    return Page(
        window, health(snapshot, window), cards, charts, [table for table in tables if table.rows or table is tables[0]]
    )


def _figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    """Return exceptions, their classes, errors per request, and requests that the client broke off."""
    site, found = total(snapshot, SITE, window, None), snapshot.sums(EXCEPTION, window.span)
    rate = site.counter(SITE, "errors") / site.count if site.count else None
    classes = {labels[2] for labels in found}
    count = sum(sum_.count for sum_ in found.values())
    return [float(count), float(len(classes)), rate, float(site.counter(SITE, "aborted"))]
