"""The page of the databases, and that of all advice: both ask the databases themselves."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, pgettext

from ...advisor.report import ADVICE
from ...reports.alerts import ALERTS
from ...reports.database import (
    DATABASE,
    DATABASE_INDEXES,
    DATABASE_SESSIONS,
    DATABASE_STATEMENTS,
    DATABASE_TABLES,
    inspected,
)
from ...reports.health import health
from ...reports.text import text_of
from ...store.reader import Snapshot
from ..page import ROWS, Asked, Card, Page, advised, breached, notes

_SHOWN = 25


def database(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of the databases as they are now."""
    window = asked.window
    others = (DATABASE_SESSIONS, DATABASE_TABLES, DATABASE_INDEXES, DATABASE_STATEMENTS)
    tables = asked.tables(snapshot, {DATABASE: ROWS, **dict.fromkeys(others, _SHOWN)})
    shown = [table for number, table in enumerate(tables) if table.rows or number == 0]
    none = gettext("None of the databases is a PostgreSQL server, and only those are asked how they are.")
    said = notes([] if snapshot.once(inspected) else [none])
    return Page(window, health(snapshot, window), _cards(snapshot, tables[0].rows), [], shown, said)


def _cards(snapshot: Snapshot, vitals: list[dict[str, Any]]) -> list[Card]:
    servers = [one.server for one in snapshot.once(inspected) if one.server is not None]
    if not servers:
        return []
    waiting = sum(1 for one in snapshot.once(inspected) for session in one.sessions if session.blocked_by)
    hits = [server.hit_ratio for server in servers if server.hit_ratio is not None]
    used, most = sum(server.connections for server in servers), sum(server.max_connections for server in servers)
    act = sum(row["state"] == "act" for row in vitals)
    return [
        Card("To be done", text_of(act, "count"), "now" if act else "nothing", "bad" if act else "calm"),
        Card(
            "Connections",
            pgettext("django_perf", "%(part)s of %(whole)s") % {"part": used, "whole": most},
            "in use",
            "calm",
        ),
        Card("From memory", text_of(min(hits, default=None), "ratio"), "of all blocks", "calm"),
        Card("Sessions waiting", text_of(waiting, "count"), "for a lock of another", "bad" if waiting else "calm"),
        Card("Size", text_of(sum(server.bytes for server in servers), "bytes"), "on disk", "calm"),
        Card("Version", servers[0].version.split()[0], "PostgreSQL", "calm"),
    ]


def advice(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of all advice."""
    window = asked.window
    pieces = [*breached(snapshot, window), *advised(ADVICE.rows(snapshot, window)[:ROWS])]
    tables = [table for table in [asked.table(ALERTS, snapshot)] if table.rows]
    said = pieces or notes([gettext("Nothing stands out in this time.")])
    return Page(window, health(snapshot, window), tables=tables, notes=said)
