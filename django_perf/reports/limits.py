"""Read the figures that limits are for, and judge them: the same for `perfstats --fail-over` and for alerts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..metrics.limits import EACH, SITE, Limit, Verdict
from ..store.reader import Snapshot
from .requests import REQUESTS, Endpoint, endpoints, whole_site
from .window import Window


def verdicts(snapshot: Snapshot, window: Window, limit: Limit, least: int = 1) -> Iterator[Verdict]:
    """Yield what a limit finds: one verdict, or one for each endpoint; the value is None below `least` requests."""
    for name, endpoint in _subjects(snapshot, window, limit.endpoint):
        count = endpoint.sum.count
        yield Verdict(limit, name, _value(endpoint, limit) if count >= least else None, count)


def judged(snapshot: Snapshot, window: Window, limits: Iterable[Limit]) -> list[Verdict]:
    """Return the verdicts of several limits; one that finds no endpoint at all has a verdict without a value."""
    found: list[Verdict] = []
    for limit in limits:
        found += list(verdicts(snapshot, window, limit)) or [Verdict(limit, limit.endpoint, None)]
    return found


def _value(endpoint: Endpoint, limit: Limit) -> float | None:
    value = REQUESTS.column(limit.metric.name).value(endpoint)
    return None if value is None else float(value)


def _subjects(snapshot: Snapshot, window: Window, wanted: str) -> Iterator[tuple[str, Endpoint]]:
    if wanted == SITE:
        yield SITE, whole_site(snapshot, window)
        return
    known = {f"{one.method} {one.route}": one for one in snapshot.once(endpoints, window)}
    if wanted == EACH:
        yield from known.items()
    else:
        method, _, route = wanted.partition(" ")
        yield wanted, known.get(wanted, Endpoint(route, method, window.seconds))
