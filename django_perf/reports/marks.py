"""Report marks: moments at which something happened to the site, a deploy as a rule."""

from __future__ import annotations

import time

from ..metrics.names import clean
from ..store.models import Mark
from ..store.reader import Snapshot
from .report import Column, Report
from .window import Window, moment

# More lines than that make a chart unreadable.
_MOST = 50
_MOST_TEXT = 100


def set_mark(alias: str, text: str, at: float | None = None) -> Mark:
    """Remember that something happened at `at` (seconds since 1970), or now; raises ValueError without a text."""
    cleaned = clean(text.strip(), _MOST_TEXT)
    if not cleaned:
        raise ValueError("a mark needs a text, for instance the version that is deployed")
    return Mark.objects.using(alias).create(at=time.time() if at is None else at, text=cleaned)


def last_mark(alias: str) -> Mark | None:
    """Return the latest mark, None if there is none."""
    return Mark.objects.using(alias).order_by("-at").first()


def marks(snapshot: Snapshot, window: Window) -> list[Mark]:
    """Return the latest marks in a window, the last one first."""
    rows = Mark.objects.using(snapshot.alias)
    return list(rows.filter(at__gte=window.span.start * 60, at__lt=window.span.end * 60).order_by("-at")[:_MOST])


MARKS = Report[Mark](
    name="marks",
    title="Marks",
    order="",
    rows=marks,
    columns=(
        Column("at", "At", "time", lambda row: moment(row.at).isoformat(timespec="seconds")),
        Column("text", "What happened", "text", lambda row: row.text),
    ),
)
