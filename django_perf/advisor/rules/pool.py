"""Judge connection pools: too small, too large, and connections held while something else is waited for."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext, pgettext

from ...metrics.catalog import DATABASE, PROCESS
from ...pool.sizing import LEAK, LONG_WAIT_MS, OVER_SERVER, OVERSIZED, STARVED
from ...reports.pool import Fleet, fleets
from ...reports.sentence import figure
from ...reports.window import Window
from ...store.reader import Snapshot, Sum
from ..advice import HIGH, LOW, MEDIUM, Advice

HELD = "pool_held"
NAMES = (OVER_SERVER, STARVED, HELD, LEAK, OVERSIZED)

# Fewer checkouts, or levels, say nothing; five of 100 that wait make the p95.
_FEW = 100
# One timeout in a night is a server that was restarted.
_FEW_FAILURES = 5
# A wait that a visitor feels.
_FELT_WAIT_MS = 100.0
# Of the most that the server takes: below, a pool that is too large is in nobody's way.
_NEAR = 0.5
# Of the size of one pool: the most that was ever seen in use must leave so much free.
_FREE = 0.5
_LONG_S = 3_600 * 0.9
# A view that holds a connection for 20 ms beyond its query lets two connections serve 28 % of what eight threads can;
# with the connection given back it is 97 %.
_HELD_MS = 20.0
# Of the time for which connections are held, the database works in less than this.
_WORKS = 0.2
# Of the connections that there may be, so many are held on average: the next burst finds none.
_SCARCE = 0.5


def pool_size(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find pools whose size is wrong, by what the report says of it."""
    for row in snapshot.once(fleets, window):
        found = row.judged()
        if found is None:
            continue
        if found.rule == OVERSIZED:
            yield from _oversized(snapshot, window, row, found.remedy)
        elif found.rule != STARVED or _waits(row):
            yield Advice(
                _severity(found.rule, row), found.rule, _evidence(row), found.remedy, "pool", {}, _waited_ms(row)
            )


def pool_held(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find connections that are held while the request waits for something else, where others need them."""
    for row in snapshot.once(fleets, window):
        works_us = snapshot.sums(DATABASE, window.span).get((row.alias,), Sum()).total
        is_long = row.hold.count >= _FEW and row.hold_ms(1) >= _HELD_MS
        if is_long and 0 < works_us <= _WORKS * row.hold.total and (_waits(row) or _is_scarce(row)):
            remedy = gettext("wait for other things inside of released(), or before the first query of the request")
            severity, evidence = HIGH if _waits(row) else MEDIUM, _held(row, works_us)
            yield Advice(severity, HELD, evidence, remedy, "pool", {}, _waited_ms(row))


def _held(row: Fleet, works_us: float) -> str:
    text = gettext(
        "Pool %(pool)s: connections are held for %(mean)s ms on average (p95 %(p95)s ms), and the database works in "
        "%(share)s of it"
    )
    return text % {
        "pool": row.alias,
        "mean": figure(row.hold.mean / 1_000, ",.0f"),
        "p95": figure(row.hold_ms(1), ",.0f"),
        "share": f"{works_us / row.hold.total:.0%}",
    }


def _oversized(snapshot: Snapshot, window: Window, row: Fleet, remedy: str) -> Iterator[Advice]:
    """Yield advice where it is surely too large, and another service may need the connections."""
    name = f"pool.{row.alias}.in_use"
    seen = Sum()
    for sum_ in snapshot.sums(PROCESS, window.span, lambda labels: labels[0] == name).values():
        seen.merge(sum_)
    peak, each = seen.max / 100, row.level("max_size") / max(1, len(row.pools))
    is_near = row.level("max_size") >= _NEAR * (row.server_max() or float("inf"))
    is_sure = window.seconds >= _LONG_S and len(row.pools) > 1 and seen.count >= _FEW and row.wait.count >= _FEW
    if is_near and is_sure and peak <= _FREE * each:
        text = gettext("%(evidence)s; the most that one process was seen to use is %(peak)s of %(each)s")
        evidence = text % {"evidence": _evidence(row), "peak": f"{peak:.0f}", "each": f"{each:.0f}"}
        yield Advice(LOW, OVERSIZED, evidence, remedy, "pool")


def _severity(rule: str, row: Fleet) -> str:
    if rule == STARVED:
        return HIGH if _failures(row) >= _FEW_FAILURES or row.wait_ms(1) >= _FELT_WAIT_MS else MEDIUM
    return HIGH if rule == OVER_SERVER else MEDIUM


def _waits(row: Fleet) -> bool:
    """Tell whether requests wait for connections, or get none, more often than by chance."""
    return _failures(row) >= _FEW_FAILURES or (row.wait.count >= _FEW and row.wait_ms(1) > LONG_WAIT_MS)


def _is_scarce(row: Fleet) -> bool:
    return bool(row.pools) and row.in_use() >= _SCARCE * row.level("max_size")


def _failures(row: Fleet) -> int:
    return row.counted("timeouts", "refused")


def _waited_ms(row: Fleet) -> float:
    return row.wait.total / 1_000


def _evidence(row: Fleet) -> str:
    most = row.server_max()
    size = gettext("Pool %(pool)s: %(processes)s processes with %(count)s connections")
    size %= {"pool": row.alias, "processes": len(row.pools), "count": figure(row.level("max_size"))}
    use = gettext("%(mean)s in use on average, %(checkouts)s checkouts")
    use %= {"mean": figure(row.in_use(), ",.1f"), "checkouts": figure(row.wait.count)}
    takes, waits, failures, leaks = (
        pgettext("django_perf", "(the server takes %(count)s)"),
        pgettext("django_perf", "p95 of the waits %(ms)s ms"),
        pgettext("django_perf", "%(count)s timed out or were refused"),
        pgettext("django_perf", "%(count)s held for too long"),
    )
    parts = [
        f"{size} {takes % {'count': figure(most)}}" if most else size,
        use,
        waits % {"ms": figure(row.wait_ms(1), ",.0f")} if row.wait.count else "",
        failures % {"count": figure(_failures(row))} if _failures(row) else "",
        leaks % {"count": figure(row.counted("leaks"))} if row.counted("leaks") else "",
    ]
    return ", ".join(part for part in parts if part)
