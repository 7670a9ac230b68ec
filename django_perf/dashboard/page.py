"""Hold what a page shows, and build the parts that pages have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.utils.translation import gettext, pgettext

from ..advisor.advice import HIGH, Advice
from ..metrics.catalog import Kind
from ..metrics.limits import place_of
from ..reports.alerts import Alert, alerts
from ..reports.health import Health
from ..reports.report import Report, Table
from ..reports.requests import QUANTILES
from ..reports.text import text_of
from ..reports.window import PRESETS, Window, last
from ..store.models import Mark
from ..store.reader import Range, Snapshot, Sum, Wanted
from .charts import Chart, Line, sparkline

ROWS = 50
FEW_ROWS = 10
FEW_NOTES = 5
# Five points make no line: a short range is charted with the hour around it.
_LEAST_CHART_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold what the address of a page asks for.

    `range` is the window as it stands in addresses, where it is not the default: since, until, against. `sort` is
    "report.column" or "report.-column". `main` names the table that `text` filters and `number` turns the pages of;
    `csv` the one that is wanted whole.
    """

    window: Window = field(default_factory=lambda: last(PRESETS[0]))
    range: Mapping[str, str] = field(default_factory=dict)
    main: str = ""
    sort: str = ""
    text: str = ""
    number: int = 1
    csv: str = ""
    route: str = ""
    method: str = ""
    id: str = ""

    def sort_of(self, report: str) -> str:
        """Return the column that a report is to be sorted by, "" for its own order."""
        name, _, column = self.sort.rpartition(".")
        return column if (name or self.main) == report else ""

    def table(self, report: Report[Any], snapshot: Snapshot, limit: int = ROWS) -> Table:
        """Return a report as it is asked for. Raises KeyError for a column that there is not."""
        is_main, is_whole = report.name == self.main, report.name == self.csv
        return report.table(
            snapshot,
            self.window,
            self.sort_of(report.name) or None,
            None if is_whole else limit,
            text=self.text if is_main else "",
            offset=(self.number - 1) * limit if is_main and not is_whole else 0,
        )

    def tables(self, snapshot: Snapshot, reports: Mapping[Any, int]) -> list[Table]:
        """Return several reports, each with its limit."""
        return [self.table(report, snapshot, limit) for report, limit in reports.items()]


@dataclass(frozen=True, slots=True)
class Card:
    """Hold one headline figure and its change against the time before; `tone` is good, bad or calm.

    The template translates `label` and `change`, except a `change` with figures, which is translated already. `spark`
    is the path of a small chart of it.
    """

    label: str
    value: str
    change: str
    tone: str
    spark: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Hold a sentence that says what stands out, one that says what to do, and the page that shows more.

    `tone` is calm, or how severe it is: low, medium or high.
    """

    text: str
    remedy: str = ""
    tone: str = "calm"
    page: str = ""
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """Hold all that a template shows; `own` is what only the template of this page knows.

    `marks` are (seconds since 1970, text) of the time of the charts, `latest_mark` the last there is. `targets` are
    what the actions of the page, if it has any, can be done to.
    """

    window: Window
    health: Health
    cards: list[Card] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: Sequence[Note] = ()
    own: dict[str, Any] = field(default_factory=dict)
    marks: Sequence[tuple[float, str]] = ()
    latest_mark: Mark | None = None
    targets: list[str] = field(default_factory=list)


def notes(texts: Sequence[str]) -> list[Note]:
    """Return sentences as notes without a link."""
    return [Note(text) for text in texts]


def advised(pieces: Sequence[Advice]) -> list[Note]:
    """Return advice as notes."""
    return [Note(one.evidence, one.remedy, one.severity, one.page, one.params) for one in pieces]


def breached(snapshot: Snapshot, window: Window) -> list[Note]:
    """Return the alerts that fire as notes, each with a link to where it is."""
    return [_breach(one) for one in alerts(snapshot, window) if one.word() in ("firing", "ending")]


def _breach(alert: Alert) -> Note:
    limit, value = alert.rule.limit, alert.value()
    figure = f"{'–' if value is None else f'{value:g}'} {limit.metric.unit}".strip()
    since = str(alert.since())[:16].replace("T", " ")
    where = f"{alert.rule.title}: {place_of(alert.endpoint)}"
    facts = {"where": where, "figure": figure, "limit": f"{limit.bound:g}", "since": f"{since} UTC"}
    over = gettext("%(where)s is at %(figure)s, over %(limit)s, since %(since)s")
    under = gettext("%(where)s is at %(figure)s, under %(limit)s, since %(since)s")
    text = (over if limit.side == "over" else under) % facts
    method, _, route = alert.endpoint.partition(" ")
    page, params = ("endpoint", {"route": route, "method": method}) if route else ("requests", {})
    return Note(text, "", HIGH, page, params)


def total(snapshot: Snapshot, kind: Kind, window: Window, wanted: Wanted | None) -> Sum:
    """Return the sum over some series of a kind."""
    sums = list(snapshot.sums(kind, window.span, wanted).values())
    if len(sums) == 1:  # the site: a table may have asked for its quantiles already
        return sums[0]
    found = Sum()
    for sum_ in sums:
        found.merge(sum_)
    return found


def card(
    label: str,
    unit: str,
    index: int,
    figures: Sequence[Sequence[float | None]],
    is_bad_when_up: bool = True,
    over_time: Sequence[float | None] = (),
) -> Card:
    """Return one of the figures of a period as a card, beside that of the period before."""
    now, before = figures[0][index], figures[1][index]
    share = (now - before) / before if now is not None and before else None
    tone = "calm"
    if is_bad_when_up and share is not None and abs(share) >= 0.1:
        tone = "bad" if share > 0 else "good"
    return Card(label, text_of(now, unit), _change(share), tone, sparkline(over_time))


def _change(share: float | None) -> str:
    if share is None:
        return "no comparison"
    if abs(share) < 0.005:
        return "as before"
    text = (
        pgettext("django_perf", "%(share)s more than before")
        if share > 0
        else pgettext("django_perf", "%(share)s less than before")
    )
    return text % {"share": f"{abs(share):.0%}"}


def over_time(points: Sequence[tuple[int, Sum]], counter: Callable[[Sum], float], window: Window) -> list[float | None]:
    """Return a figure of each step of a chart per second."""
    seconds = seconds_of(times_of(points), window)
    return [counter(sum_) / each for (_, sum_), each in zip(points, seconds, strict=True)]


def charted(window: Window) -> Window:
    """Return the window of the charts: a short one has the time before it around."""
    start = window.span.end - _LEAST_CHART_MINUTES
    return window if window.span.start <= start else replace(window, span=Range(start, window.span.end))


def settled(points: list[tuple[int, Sum]], now: float) -> list[tuple[int, Sum]]:
    """Leave out a last point younger than a minute: the workers have not flushed it yet, so it would look like a fall.

    Unless it is all there is.
    """
    is_young = now - points[-1][0] * 60 < 60
    return points[:-1] if is_young and any(sum_.count for _, sum_ in points[:-1]) else points


def seconds_of(times: Sequence[int], window: Window) -> list[float]:
    """Return how long each step of a chart is: the last one may not be over."""
    return [max(1.0, min(window.step * 60, window.now - time)) for time in times]


def quantile_lines(points: Sequence[tuple[int, Sum]], per_ms: float = 1_000) -> list[Line]:
    """Return p50, p95 and p99 as lines in milliseconds; gaps where nothing happened."""
    found = [
        [value / per_ms for value in sum_.quantiles(QUANTILES)] if sum_.count else [None] * 3 for _, sum_ in points
    ]
    return [Line(f"p{q * 100:g}", str(n + 1), [one[n] for one in found]) for n, q in enumerate(QUANTILES)]


def times_of(points: Sequence[tuple[int, Sum]]) -> list[int]:
    """Return the times of the points of a chart, in seconds since 1970."""
    return [minute * 60 for minute, _ in points]
