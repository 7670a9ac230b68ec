"""Hold one piece of advice."""

from __future__ import annotations

from dataclasses import dataclass, field

HIGH, MEDIUM, LOW = "high", "medium", "low"
SEVERITIES = (HIGH, MEDIUM, LOW)


@dataclass(frozen=True, slots=True)
class Advice:
    """Say what is wrong, by which figures, and what to do about it.

    `page` and `params` name the page that shows more; `cost_ms` is the time that it costs in the window, by which
    pieces of one severity are ordered.
    """

    severity: str
    rule: str
    evidence: str
    remedy: str
    page: str = ""
    params: dict[str, str] = field(default_factory=dict)
    cost_ms: float = 0.0


def in_order(pieces: list[Advice]) -> list[Advice]:
    """Return the most urgent first, of those the dearest."""
    return sorted(pieces, key=lambda one: (SEVERITIES.index(one.severity), -one.cost_ms))
