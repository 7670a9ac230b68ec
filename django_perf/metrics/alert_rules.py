"""Read the rules of alerts, DJANGO_PERF["ALERTS"]: a limit, and for how long it must be breached."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .limits import METRICS, Limit, endpoint_of, is_bound, metric_of
from .names import clean, nearest

KEYS = ("metric", "endpoint", "over", "under", "for", "name", "min_requests")
# With fewer requests a quantile or a share is chance.
MIN_REQUESTS = 10
_DEFAULT_FOR = "5m"
_MOST_MINUTES = 12 * 60
_MOST_NAME = 100
_MINUTES = {"m": 1, "h": 60}

# What is wrong, how to mend it, and whether it is an unknown name.
Fault = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """Hold one rule. `id` stands for what it watches, so that another name makes it no other rule."""

    limit: Limit
    minutes: int = 5
    name: str = ""
    min_requests: int = MIN_REQUESTS

    @property
    def id(self) -> str:
        """Return a stable name of 32 digits."""
        limit = self.limit
        parts = (limit.metric.name, limit.side, repr(float(limit.bound)), str(self.minutes), limit.endpoint)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]

    @property
    def least(self) -> int:
        """Return how many requests there must be for a verdict: of a number of requests none is a number too."""
        return 0 if self.limit.metric.is_sum else self.min_requests

    @property
    def duration(self) -> str:
        """Return for how long it must be breached: "5m"."""
        return f"{self.minutes}m"

    @property
    def title(self) -> str:
        """Return its name, or what it says."""
        return self.name or self.text()

    def text(self) -> str:
        """Return it in words."""
        return f"{self.limit.text()} for {self.duration}"


def problems(raw: object, name: str) -> Iterator[Fault]:
    """Yield every fault of the value `raw` of the setting `name`."""
    if not isinstance(raw, (list, tuple)):
        yield f"{name} is a {type(raw).__name__}, not a list", f"Write {name} = [{{...}}, ...].", False
        return
    faults = [list(_faults(one, f"{name}[{number}]")) for number, one in enumerate(raw)]
    for found in faults:
        yield from found
    if not any(faults):
        yield from _twins([rule_of(one) for one in raw], name)


def _twins(rules: Sequence[Rule], name: str) -> Iterator[Fault]:
    ids = [rule.id for rule in rules]
    for number, id_ in enumerate(ids):
        if id_ in ids[:number]:
            yield f"{name}[{number}] watches what {name}[{ids.index(id_)}] does", "Leave one of them out.", False


def _faults(raw: Any, name: str) -> Iterator[Fault]:
    if not isinstance(raw, dict):
        yield f"{name} is a {type(raw).__name__}, not a dict", f"It takes the keys {', '.join(KEYS)}.", False
        return
    for key in raw:
        if key not in KEYS:
            near = nearest(str(key), KEYS)
            hint = f"Did you mean {near!r}?" if near else f"Known are {', '.join(KEYS)}."
            yield f"{name} has no key {str(key)[:_MOST_NAME]!r}", hint, True
    for key, (is_valid, wants) in _VALUES.items():
        if key in raw and not is_valid(raw[key]):
            yield f"{name}[{key!r}] is {str(raw[key])[:_MOST_NAME]!r}", f"It takes {wants}.", False
    yield from _missing(raw, name)


def _missing(raw: dict[Any, Any], name: str) -> Iterator[Fault]:
    if "metric" not in raw:
        yield f"{name} has no 'metric'", f"It is one of {', '.join(METRICS)}.", False
    if ("over" in raw) == ("under" in raw):
        which = "both 'over' and 'under'" if "over" in raw else "neither 'over' nor 'under'"
        yield f"{name} has {which}", "Give it one of them.", False
    elif _is_metric(raw.get("metric")) and _is_beyond(raw):
        yield f"{name} waits for {raw['metric']} beyond 1", "Write 0.01 for one per cent.", False


def _is_beyond(raw: dict[Any, Any]) -> bool:
    bound: Any = raw.get("over", raw.get("under"))
    return metric_of(raw["metric"]).unit == "ratio" and is_bound(bound) and bound > 1


def _is_metric(value: object) -> bool:
    return isinstance(value, str) and _can(metric_of, value)


def _is_endpoint(value: object) -> bool:
    return isinstance(value, str) and _can(endpoint_of, value)


def _can(read: Callable[[str], object], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _is_duration(value: object) -> bool:
    return isinstance(value, str) and 1 <= _minutes_of(value) <= _MOST_MINUTES


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_NAME


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


_NUMBER = "a number from 0 on, in the unit of the metric"
_VALUES: dict[str, tuple[Callable[[object], bool], str]] = {
    "metric": (_is_metric, f"one of {', '.join(METRICS)}"),
    "endpoint": (_is_endpoint, "'GET products/<int:pk>', '*' for each endpoint, '' for the whole site"),
    "over": (is_bound, _NUMBER),
    "under": (is_bound, _NUMBER),
    "for": (_is_duration, "a length from 1m to 12h"),
    "name": (_is_name, f"a text of at most {_MOST_NAME} characters"),
    "min_requests": (_is_count, "a number of requests, 1 or more"),
}


def _minutes_of(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,4})([mh])", text, re.ASCII)
    return int(match[1]) * _MINUTES[match[2]] if match else 0


def rules(raw: Sequence[dict[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules of a setting that has no problems."""
    return tuple(rule_of(one) for one in raw)


def rule_of(raw: dict[str, Any]) -> Rule:
    """Return one rule."""
    is_over = "over" in raw
    bound = float(raw["over"] if is_over else raw["under"])
    return Rule(
        limit=Limit(metric_of(raw["metric"]), bound, is_over, endpoint_of(raw.get("endpoint", ""))),
        minutes=_minutes_of(raw.get("for", _DEFAULT_FOR)),
        name=clean(raw.get("name", ""), _MOST_NAME),
        min_requests=raw.get("min_requests", MIN_REQUESTS),
    )
