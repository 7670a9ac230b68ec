"""The page of one example: the timeline of a real request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, pgettext

from ...db.fingerprint import shape_id
from ...exceptions import NotRecorded
from ...reports.findings import MEANINGS
from ...reports.health import health
from ...reports.report import Value
from ...reports.sentence import figure
from ...reports.text import short_sql, text_of
from ...reports.window import moment
from ...store.models import Sample
from ...store.reader import Snapshot
from ..page import Asked, Page

# The width of the timeline's drawing, in units of its own.
WIDTH = 1_000
_LEAST = 2
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bar:
    """Hold one row of the timeline; `x` and `width` are parts of WIDTH."""

    kind: str
    name: str
    place: str
    begins: str
    took: str
    detail: str
    x: int
    width: int
    query_id: str = ""


def sample(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of one example. Raises NotRecorded when there is none of that id any more."""
    row = _find(snapshot, asked.id)
    doc: dict[str, Any] = row.doc
    facts = {
        "at": moment(row.at),
        "doc": doc,
        "duration": text_of(doc.get("duration_us", 0) / 1_000, "ms"),
        "database": text_of(doc.get("db_us", 0) / 1_000, "ms"),
        "bars": [_bar(span, max(1, int(doc.get("duration_us", 0)))) for span in doc.get("spans", ())],
        "findings": [_finding(finding) for finding in doc.get("findings", ())],
        "width": WIDTH,
    }
    return Page(asked.window, health(snapshot, asked.window), own=facts)


def _find(snapshot: Snapshot, id_: str) -> Sample:
    is_number = id_.isascii() and id_.isdecimal() and len(id_) < 20 and int(id_) <= _LARGEST_ID
    row = Sample.objects.using(snapshot.alias).filter(pk=int(id_)).first() if is_number else None
    if row is None:
        raise NotRecorded(gettext("there is no such example: they are kept for a week"))
    return row


def _bar(span: dict[str, Any], whole_us: int) -> Bar:
    x = min(WIDTH - _LEAST, span["start_us"] * WIDTH // whole_us)
    is_query = span["kind"] == "database"
    return Bar(
        kind=span["kind"],
        name=short_sql(span["name"]) if is_query else span["name"],
        place=span.get("place", ""),
        begins=text_of(span["start_us"] / 1_000, "ms"),
        took=text_of(span.get("busy_us", span["us"]) / 1_000, "ms"),
        detail=_detail(span),
        x=x,
        width=max(_LEAST, min(WIDTH - x, span["us"] * WIDTH // whole_us)),
        query_id=shape_id(span.get("alias", ""), span["name"]) if is_query and "…" not in span["name"] else "",
    )


def _detail(span: dict[str, Any]) -> str:
    calls = [f"{figure(span['calls'])} ×"] if "calls" in span else []
    rows = [pgettext("django_perf", "rows: %(count)s") % {"count": figure(span["rows"])}] if "rows" in span else []
    return ", ".join(calls + rows)


def _finding(finding: dict[str, Any]) -> dict[str, Value]:
    meaning = MEANINGS.get(finding.get("finding", ""), "")
    return {**finding, "meaning": meaning, "took": text_of(finding.get("us", 0) / 1_000, "ms")}
