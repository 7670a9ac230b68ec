"""Report advice, and list all reports there are, this one included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..reports.answer import REPORTS as MEASURED
from ..reports.report import Column, Report
from ..reports.window import Window
from ..store.reader import Snapshot
from .advice import Advice, in_order
from .rules import LIVE, STORED, Rule


def advise(snapshot: Snapshot, window: Window, rules: Iterable[Rule] = STORED) -> list[Advice]:
    """Return what some rules say, the most urgent first."""
    return in_order([advice for rule in rules for advice in rule(snapshot, window)])


ADVICE = Report[Advice](
    name="advice",
    title="Advice",
    order="",
    is_live=True,
    rows=lambda snapshot, window: advise(snapshot, window, (*STORED, *LIVE)),
    columns=(
        Column("severity", "Severity", "text", lambda row: row.severity),
        Column("rule", "Rule", "text", lambda row: row.rule),
        Column("evidence", "Evidence", "prose", lambda row: row.evidence),
        Column("remedy", "What to do", "prose", lambda row: row.remedy),
        Column("cost_ms", "Time", "ms", lambda row: row.cost_ms or None),
    ),
)

REPORTS: dict[str, Report[Any]] = {**MEASURED, ADVICE.name: ADVICE}
