"""Judge the rules of alerts by what the store holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..metrics.alert_rules import Rule
from ..metrics.limits import Verdict
from ..metrics.names import clean
from ..reports.limits import verdicts
from ..reports.window import Window
from ..store.compactor import GRACE_S
from ..store.reader import Range, Snapshot
from .states import Key

# What a state can be stored under.
_MOST_ENDPOINT = 255


def judged(snapshot: Snapshot, rules: Iterable[Rule], now: float) -> dict[Key, Verdict]:
    """Return the verdict of each rule on each endpoint that it looks at.

    Over whole minutes that all workers have flushed: the minute that runs would make every rate too small.
    """
    closed = int(now - GRACE_S) // 60
    found = {}
    for rule in rules:
        for verdict in _verdicts(snapshot, rule, closed, now):
            found[rule.id, clean(verdict.endpoint, _MOST_ENDPOINT)] = verdict
    return found


def _verdicts(snapshot: Snapshot, rule: Rule, closed: int, now: float) -> list[Verdict]:
    start = closed - rule.minutes
    whole = _of(snapshot, rule, start, closed, now)
    if rule.minutes < 2 or rule.limit.metric.unit == "count" or not any(one.is_breach for one in whole.values()):
        return list(whole.values())
    # One bad minute can push a quantile of five over its limit: a breach that holds is one of either half too.
    middle = start + rule.minutes // 2
    halves = [_of(snapshot, rule, start, middle, now), _of(snapshot, rule, middle, closed, now)]
    return [
        replace(one, is_steady=not any(_is_calm(half.get(endpoint)) for half in halves))
        for endpoint, one in whole.items()
    ]


def _of(snapshot: Snapshot, rule: Rule, start: int, end: int, now: float) -> dict[str, Verdict]:
    found = verdicts(snapshot, Window(Range(start, end), now), rule.limit, rule.least)
    return {verdict.endpoint: verdict for verdict in found}


def _is_calm(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.value is not None and not verdict.is_breach


def unseen(rule: Rule, endpoint: str) -> Verdict:
    """Return the verdict on an endpoint that had no request: a rate of none is a rate, a quantile is not known."""
    return Verdict(rule.limit, endpoint, 0.0 if rule.limit.metric.is_sum else None)
