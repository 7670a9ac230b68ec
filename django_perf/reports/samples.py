"""List real examples of slow requests, slow queries, loops over queries, and exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from ..store.models import Sample
from ..store.reader import Snapshot
from .report import Column, Report
from .window import Window, moment

# More than anybody looks through.
_MOST = 200


@dataclass(frozen=True, slots=True)
class Example:
    """Hold one example."""

    id: int
    at: float
    doc: dict[str, Any]

    def fact(self, name: str) -> Any:
        """Return what the request was: route, method, status, duration_us, exception."""
        return self.doc.get(name)

    def what(self) -> str:
        """Return what it is an example of, in a word or two."""
        exception = self.doc.get("exception")
        return f"{self.doc.get('reason', '')}: {exception}" if exception else str(self.doc.get("reason", ""))


def examples(rows: QuerySet[Sample], window: Window) -> list[Example]:
    """Return the latest of `rows` in the window."""
    inside = rows.filter(at__gte=window.span.start * 60, at__lt=window.span.end * 60).order_by("-at")[:_MOST]
    return [Example(row.pk, row.at, row.doc) for row in inside]


def _all(snapshot: Snapshot, window: Window) -> list[Example]:
    return examples(Sample.objects.using(snapshot.alias).all(), window)


SAMPLES = Report[Example](
    name="samples",
    title="Examples",
    order="duration_ms",
    rows=_all,
    columns=(
        Column("at", "At", "time", lambda row: moment(row.at).isoformat(timespec="seconds"), link="sample"),
        Column("what", "Of", "text", Example.what),
        Column("name", "Endpoint", "text", lambda row: str(row.fact("route") or "")),
        Column("method", "Method", "text", lambda row: str(row.fact("method") or "")),
        Column("status", "Status", "id", lambda row: row.fact("status")),
        Column("duration_ms", "Duration", "ms", lambda row: (row.fact("duration_us") or 0) / 1_000),
        Column("queries", "Queries", "count", lambda row: row.fact("queries")),
        Column("db_ms", "Database", "ms", lambda row: (row.fact("db_us") or 0) / 1_000),
        Column("id", "Example", "id", lambda row: row.id, is_detail=True),
        Column("request_id", "Request id", "text", lambda row: str(row.fact("request_id") or ""), is_detail=True),
    ),
)
