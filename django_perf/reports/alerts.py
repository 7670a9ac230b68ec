"""Report the alerts: each rule, and where it fires."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..conf import get_settings
from ..metrics.alert_rules import Rule
from ..metrics.limits import place_of
from ..store.models import AlertState
from ..store.reader import Snapshot
from .report import Column, Report, Value
from .window import Window, moment


@dataclass(frozen=True, slots=True)
class Alert:
    """Hold one rule at one place; without a state it is quiet."""

    rule: Rule
    endpoint: str
    state: AlertState | None = None

    def word(self) -> str:
        """Return how it is: firing, ending (its figure is back, but not for long yet), recovered, or ok."""
        if self.state is None:
            return "ok"
        if not self.state.is_firing:
            return "recovered"
        return "ending" if self.state.calm_since else "firing"

    def since(self) -> Value:
        """Return when that began."""
        return None if self.state is None else moment(self.state.since).isoformat(timespec="seconds")

    def value(self) -> Value:
        """Return the figure when it was last looked at, in the unit of its metric."""
        return None if self.state is None else self.state.value


def alerts(snapshot: Snapshot, window: Window) -> list[Alert]:
    """Return the alerts as they are now, whatever the window; those that fire first, the longest first."""
    found = [alert for rule in get_settings().alerts for alert in _of(rule, snapshot.alias)]
    return sorted(found, key=lambda alert: (alert.state is None, alert.state.since if alert.state else 0.0))


def _of(rule: Rule, alias: str) -> Iterator[Alert]:
    states = list(AlertState.objects.using(alias).filter(alert=rule.id))
    yield from (Alert(rule, state.endpoint, state) for state in states)
    if not states:
        yield Alert(rule, rule.limit.endpoint)


ALERTS = Report[Alert](
    name="alerts",
    title="Alerts",
    order="",
    rows=alerts,
    columns=(
        Column("state", "State", "text", Alert.word),
        Column("name", "Alert", "text", lambda row: row.rule.title),
        Column("endpoint", "Where", "text", lambda row: place_of(row.endpoint)),
        Column("value", "Value", "number", Alert.value),
        Column("limit", "Limit", "number", lambda row: row.rule.limit.bound),
        Column("side", "Side", "text", lambda row: row.rule.limit.side, is_detail=True),
        Column("unit", "Unit", "text", lambda row: row.rule.limit.metric.unit),
        Column("for", "For", "text", lambda row: row.rule.duration, is_detail=True),
        Column("since", "Since", "time", Alert.since),
    ),
)
