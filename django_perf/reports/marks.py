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


def last_mark(alias: str, text: str = "") -> Mark | None:
    """Return the latest mark whose text contains `text`, None if there is none."""
    return Mark.objects.using(alias).filter(text__icontains=text).order_by("-at").first()


def since_mark(alias: str, asked: str) -> str:
    """Return the time of the mark that "mark" or "mark:TEXT" means; anything else as it is.

    Raises ValueError when there is no such mark.
    """
    word, _, text = asked.partition(":")
    if word.strip().lower() != "mark":
        return asked
    mark = last_mark(alias, text.strip())
    if mark is None:
        which = f" with {text.strip()!r} in it" if text.strip() else ""
        raise ValueError(f"there is no mark{which}; set one with `manage.py perfmark TEXT`")
    return moment(mark.at).isoformat()


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
