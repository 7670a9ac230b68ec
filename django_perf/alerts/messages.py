"""Write what is told of alerts: a line, a text, and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..metrics.alert_rules import Rule
from ..metrics.limits import Verdict, place_of
from ..metrics.names import clean
from .deciding import State

_MOST_LISTED = 100
_MOST_SUBJECT = 200

# The path of the page that shows an endpoint, "" where there is none.
PathOf = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one message: `subject` is one line, `body` a text, `data` the documented JSON (docs/alerts.md)."""

    subject: str
    body: str
    data: dict[str, Any]


def written(states: Sequence[State], rules: Mapping[str, Rule], path_of: PathOf) -> Message:
    """Return the message of one state, or of several together."""
    return _one(states[0], rules, path_of) if len(states) == 1 else _summary(states, rules, path_of)


def _one(state: State, rules: Mapping[str, Rule], path_of: PathOf) -> Message:
    rule, path = rules[state.alert], path_of(state.endpoint)
    subject = clean(f"{_word(state)}: {rule.title} ({place_of(state.endpoint)})", _MOST_SUBJECT)
    text = clean(_sentence(rule, state), 1_000)
    lines = [text, f"Rule: {rule.text()}", f"Firing since {_time(state.began)}"]
    if not state.is_firing:
        lines[-1] = f"Fired from {_time(state.began)} to {_time(state.since)}"
    if path:
        lines.append(f"Page: {path}")
    return Message(subject, "\n".join(lines), {**_data(rule, state), "text": f"{subject}: {text}", "path": path})


def _sentence(rule: Rule, state: State) -> str:
    verdict = Verdict(rule.limit, state.endpoint, state.value, state.count)
    if state.value is None:
        return f"{rule.limit.metric.short} of {place_of(state.endpoint)}: too few requests to say"
    return verdict.text()


def _data(rule: Rule, state: State) -> dict[str, Any]:
    limit = rule.limit
    return {
        "alert": rule.title,
        "state": "firing" if state.is_firing else "recovered",
        "metric": limit.metric.name,
        "unit": limit.metric.unit,
        "endpoint": clean(state.endpoint, 255),
        "value": state.value,
        limit.side: limit.bound,
        "for": rule.duration,
        "count": state.count,
        "began": _time(state.began),
        "since": _time(state.since),
    }


def _summary(states: Sequence[State], rules: Mapping[str, Rule], path_of: PathOf) -> Message:
    firing = sum(state.is_firing for state in states)
    subject = f"{len(states)} more alerts: {firing} firing, {len(states) - firing} recovered"
    listed = [_listed(rules[state.alert], state) for state in states[:_MOST_LISTED]]
    left = len(states) - len(listed)
    path = path_of("")
    lines = [*listed, *([f"and {left} more"] if left else []), *([f"Page: {path}"] if path else [])]
    data = {"state": "summary", "firing": firing, "recovered": len(states) - firing, "text": subject, "path": path}
    alerts = [_data(rules[state.alert], state) for state in states[:_MOST_LISTED]]
    return Message(subject, "\n".join(lines), {**data, "alerts": alerts})


def _listed(rule: Rule, state: State) -> str:
    return clean(f"{_word(state)}: {rule.title}: {_sentence(rule, state)}", 500)


def _word(state: State) -> str:
    return "FIRING" if state.is_firing else "Recovered"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
