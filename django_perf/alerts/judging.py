"""Judge the rules of alerts by what the store holds."""

from __future__ import annotations

from collections.abc import Iterable

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
        window = Window(Range(closed - rule.minutes, closed), now)
        for verdict in verdicts(snapshot, window, rule.limit, rule.least):
            found[rule.id, clean(verdict.endpoint, _MOST_ENDPOINT)] = verdict
    return found


def unseen(rule: Rule, endpoint: str) -> Verdict:
    """Return the verdict on an endpoint that had no request: a rate of none is a rate, a quantile is not known."""
    return Verdict(rule.limit, endpoint, 0.0 if rule.limit.metric.is_sum else None)
