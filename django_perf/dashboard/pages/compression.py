"""The page of compression."""

from __future__ import annotations

from django.utils.translation import gettext

from ...metrics.catalog import COMPRESSION
from ...reports.compression import COMPRESSION_OUTCOMES, COMPRESSIONS, outcomes
from ...reports.health import health
from ...reports.window import Window
from ...store.reader import Snapshot
from ..charts import Chart, Line
from ..page import FEW_NOTES, Asked, Page, card, charted, notes, seconds_of, settled, times_of


def compression(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of compression: what it saves, what it costs, and what is left alone."""
    window = asked.window
    tables = [asked.table(report, snapshot) for report in (COMPRESSIONS, COMPRESSION_OUTCOMES)]
    endpoints, _ = tables
    endpoints.columns.pop()
    texts = [f"{row['method']} {row['route']}: {row['advice']}." for row in endpoints.rows if row["advice"]]
    figures = [_compression_figures(snapshot, one) for one in (window, window.before)]
    labels = ("Saved", "bytes"), ("Share sent", "ratio"), ("Compressed", "ratio"), ("CPU for 1 MB", "ms")
    cards = [card(*label, index, figures, index in (1, 3)) for index, label in enumerate(labels)]
    cards += [card("By dictionary", "ratio", 4, figures, False), card("Not smaller", "ratio", 5, figures)]
    charts = _compression_charts(snapshot, charted(window))
    said = notes(texts[:FEW_NOTES] if endpoints.rows else [_no_compression()])
    return Page(window, health(snapshot, window), cards, charts, tables, said)


def _no_compression() -> str:
    return gettext(
        "Nothing passed CompressionMiddleware in this time: put it into MIDDLEWARE (django_perf.middleware)."
    )


def _compression_figures(snapshot: Snapshot, window: Window) -> list[float | None]:
    """Return bytes saved, the parts of bytes and of responses, ms per megabyte, the parts of dcz and of waste."""
    found = outcomes(snapshot, window)
    packed = [one for one in found if one.is_compressed()]
    count, before = (sum(one.sum.count for one in found), sum(one.bytes("in") for one in packed))
    if not before:
        return [0.0, None, 0.0 if count else None, None, None, None]
    after, responses = sum(one.bytes("out") for one in packed), sum(one.sum.count for one in packed)
    milliseconds = sum(one.sum.total for one in packed) / 1_000 / (before / 1e6)
    by_dictionary = sum(one.sum.count for one in packed if one.name == "dcz") / responses
    wasted = sum(one.sum.count for one in found if one.name == "not_smaller") / count
    return [float(before - after), after / before, responses / count, milliseconds, by_dictionary, wasted]


def _compression_charts(snapshot: Snapshot, window: Window) -> list[Chart]:
    points = settled(snapshot.points(COMPRESSION, window.span, window.step), window.now)
    times = times_of(points)
    seconds = seconds_of(times, window)
    sides = ("before", "2", "bytes_in"), ("sent", "1", "bytes_out")
    sent = [
        Line(
            name,
            style,
            [sum_.counter(COMPRESSION, side) / each for (_, sum_), each in zip(points, seconds, strict=True)],
        )
        for name, style, side in sides
    ]
    cpu = [sum_.total / 1_000 / each for (_, sum_), each in zip(points, seconds, strict=True)]
    return [
        Chart("sent", "Bytes of responses per second", "bytes_per_s", times, sent),
        Chart("cpu", "CPU for compression, milliseconds per second", "ms", times, [Line("CPU", "1", cpu)]),
    ]
