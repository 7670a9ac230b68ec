"""Judge endpoints against what they were: errors that came up, and time that was added since the last mark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

from django.utils.translation import gettext, pgettext

from ...metrics.catalog import EXCEPTION, REQUEST, SITE
from ...metrics.names import clean
from ...reports.requests import Endpoint, endpoints
from ...reports.sentence import figure
from ...reports.window import Window
from ...store.fresh import Labels
from ...store.models import Mark
from ...store.reader import Range, Snapshot, Sum
from ...store.tiers import ceiling, floor, resolution
from ..advice import HIGH, LOW, MEDIUM, Advice
from ..statistics import deviations, doubt
from .reading import by_scope

ERROR_SPIKE, FAILING_ENDPOINT, REGRESSION = "error_spike", "failing_endpoint", "regression"
NAMES = (ERROR_SPIKE, FAILING_ENDPOINT, REGRESSION)

# Fewer requests, or errors, say nothing.
_FEW, _FEW_ERRORS = 100, 10
# Chance gives four standard deviations to one endpoint of 30,000, so a site of 500 has one false alarm in 60 looks.
_SURE = 4.0
# Times as many as before: a thousandth more of a million requests is no chance, but no news either.
_SPIKE = 2.0
# Of the requests: one in twenty fails.
_FAILS = 0.05
# As many minutes after a mark every worker is cold, and as many behind them are needed to judge.
_COLD_MINUTES, _SETTLED_MINUTES = 2, 8
_OLDEST_MARK_MINUTES = 7 * 24 * 60
# Times as slow, and by so much for each request.
_SLOWER, _LEAST_ADDED_US = 1.25, 1_000
# Of the time of the whole site: what is less cannot add much, and is not worth a look.
_LEAST_SHARE = 0.01
# Of the same, added: see the rules of SQL.
_MUCH, _MOST = 0.1, 0.3
_QUANTILES = (0.5, 0.95)


def error_spike(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find endpoints that fail far more often than in the period before."""
    for row, was in _failing(snapshot, window):
        if was is not None and _has_risen(row, was):
            text = gettext("%(now)s; before, it failed %(errors)s of %(requests)s (%(share)s)")
            evidence = text % {"now": _fails(snapshot, window, row), **_errors(was)}
            remedy = gettext("see its exceptions and examples, and what was deployed")
            yield _of(row, HIGH, ERROR_SPIKE, evidence, remedy)


def failing_endpoint(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find endpoints that fail often and did so before, or were not asked before."""
    for row, was in _failing(snapshot, window):
        if row.error_rate() >= _FAILS and (was is None or not _has_risen(row, was)):
            remedy = gettext("see its exceptions and examples")
            yield _of(row, HIGH, FAILING_ENDPOINT, _fails(snapshot, window, row), remedy)


def _failing(snapshot: Snapshot, window: Window) -> Iterator[tuple[Endpoint, Endpoint | None]]:
    """Yield endpoints that fail more than a few times, as they are and as they were; what was is read only for them."""
    for row in snapshot.once(endpoints, window):
        if row.counter("errors") >= _FEW_ERRORS:
            yield row, snapshot.once(by_scope, window.before).get((row.route, row.method))


def regression(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find endpoints that are slower since the last mark than for the same time before it."""
    mark = _last_mark(snapshot, window)
    periods = around(mark.at, window) if mark is not None else None
    if mark is None or periods is None:
        return
    after, before = periods
    for row, was in _slower(snapshot, after, before):
        added_us = (row.sum.mean - was.sum.mean) * row.sum.count
        share = added_us / _time_us(snapshot, after)
        severity = HIGH if share >= _MOST else MEDIUM if share >= _MUCH else LOW
        evidence = _slower_by(row, was, mark, share)
        params = {"route": row.route, "method": row.method}
        cost_ms = added_us / 1_000 * min(1.0, window.seconds / after.seconds)
        remedy = gettext("compare its queries and lines with those before, and look at what the mark stands for")
        yield Advice(severity, REGRESSION, evidence, remedy, "endpoint", params, cost_ms)


def _slower_by(row: Endpoint, was: Endpoint, mark: Mark, share: float) -> str:
    text = gettext(
        "%(endpoint)s is slower since the mark %(mark)r: mean %(mean_before)s to %(mean)s, p95 %(p95_before)s to "
        "%(p95)s; that is %(share)s of the time of the site"
    )
    return text % {
        "endpoint": f"{row.method} {row.route}",
        "mark": clean(mark.text),
        "mean_before": _ms(was.sum.mean),
        "mean": _ms(row.sum.mean),
        "p95_before": _ms(was.sum.quantiles(_QUANTILES)[1]),
        "p95": _ms(row.sum.quantiles(_QUANTILES)[1]),
        "share": f"{share:.0%}",
    }


def around(at: float, window: Window) -> tuple[Window, Window] | None:
    """Return the time from a moment to the end of a window, and as long before it; None when it is too short.

    The buckets that hold the moment, and the minutes in which all is cold, belong to neither.
    """
    minute, end = int(at) // 60, window.span.end
    size = resolution(2 * (end - minute))
    start, stop = ceiling(minute + 1 + _COLD_MINUTES, size), floor(minute, size)
    if end - start < _SETTLED_MINUTES:
        return None
    begin = floor(stop - (end - start), size)
    return Window(Range(start, end), window.now), Window(Range(begin, stop), stop * 60.0)


def _last_mark(snapshot: Snapshot, window: Window) -> Mark | None:
    oldest = (window.span.end - _OLDEST_MARK_MINUTES) * 60
    marks = Mark.objects.using(snapshot.alias).filter(at__gte=oldest, at__lte=window.now)
    return marks.order_by("-at").first()


def _slower(snapshot: Snapshot, after: Window, before: Window) -> Iterator[tuple[Endpoint, Endpoint]]:
    """Yield endpoints that are surely slower, as they are and as they were."""
    least_us = _LEAST_SHARE * _time_us(snapshot, after)
    rows = [row for row in snapshot.once(endpoints, after) if row.sum.total >= least_us and row.sum.count >= _FEW]
    old = _as_they_were(snapshot, before, {(row.route, row.method) for row in rows})
    for row in rows:
        was = old.get((row.route, row.method))
        if was is None or was.sum.count < _FEW:
            continue
        # The means first: they are read at once, and quantiles are not.
        if row.sum.mean - was.sum.mean >= _LEAST_ADDED_US and _is_slower(row.sum, was.sum):
            yield row, was


def _as_they_were(snapshot: Snapshot, before: Window, scopes: Set[Labels]) -> dict[Labels, Endpoint]:
    found: dict[Labels, Endpoint] = {}
    for (route, method, _), sum_ in snapshot.sums(REQUEST, before.span, lambda labels: labels[:2] in scopes).items():
        found.setdefault((route, method), Endpoint(route, method, before.seconds)).sum.merge(sum_)
    return found


def _time_us(snapshot: Snapshot, window: Window) -> int:
    """Return the time of all requests of the site."""
    return snapshot.sums(SITE, window.span).get((), Sum()).total


def _is_slower(now: Sum, before: Sum) -> bool:
    """Tell whether the median or the p95 has risen, at the least that it can be against the most that it was."""
    least = now.quantiles([part - doubt(part, now.count) for part in _QUANTILES])
    most = before.quantiles([min(1.0, part + doubt(part, before.count)) for part in _QUANTILES])
    return any(one >= _SLOWER * other for one, other in zip(least, most, strict=True))


def _has_risen(row: Endpoint, was: Endpoint) -> bool:
    errors, errors_before = row.counter("errors"), was.counter("errors")
    if was.sum.count < _FEW or row.error_rate() < _SPIKE * was.error_rate():
        return False
    return deviations(errors, row.sum.count, errors_before, was.sum.count) >= _SURE


def _fails(snapshot: Snapshot, window: Window, row: Endpoint) -> str:
    kinds: Counter[str] = Counter()
    for (route, method, name), sum_ in snapshot.sums(EXCEPTION, window.span).items():
        if (route, method) == (row.route, row.method):
            kinds[name] += sum_.count
    text = gettext("%(endpoint)s fails %(errors)s of %(requests)s requests (%(share)s)")
    found = text % {"endpoint": f"{row.method} {row.route}", **_errors(row)}
    mostly = pgettext("django_perf", "mostly %(exception)s")
    return f"{found}, {mostly % {'exception': kinds.most_common(1)[0][0]}}" if kinds else found


def _errors(row: Endpoint) -> dict[str, str]:
    return {
        "errors": figure(row.counter("errors")),
        "requests": figure(row.sum.count),
        "share": f"{row.error_rate():.1%}",
    }


def _of(row: Endpoint, severity: str, rule: str, evidence: str, remedy: str) -> Advice:
    params = {"route": row.route, "method": row.method}
    return Advice(severity, rule, evidence, remedy, "endpoint", params, row.counter("errors") * row.sum.mean / 1_000)


def _ms(us: float) -> str:
    return f"{figure(us / 1_000, ',.1f')} ms"
