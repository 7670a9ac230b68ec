"""The page of django_perf itself: what it lost, what it costs, what it keeps."""

from __future__ import annotations

from django.utils.translation import gettext

from ...metrics.catalog import OTHER, REQUEST
from ...reports.health import health
from ...reports.own import LOSSES, OWN_COSTS, STORE, costs, stored
from ...reports.sentence import figure
from ...reports.text import text_of
from ...store.reader import Snapshot
from ..page import Asked, Card, Page, notes


def own(snapshot: Snapshot, asked: Asked) -> Page:
    """Return the page of django_perf itself."""
    window = asked.window
    state = health(snapshot, window)
    known = costs(snapshot, window)
    faults = sum(state.errors.values())
    size = sum(one.bytes or 0 for one in snapshot.once(stored))
    work = [
        Card(label, text_of(known[gauge].us(known[gauge].sum.mean), "us") if gauge in known else "–", text, "calm")
        for gauge, label, text in (
            ("fold_us", "After a request", "on average"),
            ("flush_ms", "A flush", "in a thread of its own"),
            ("housekeeping_ms", "Housekeeping", "once a minute"),
        )
    ]
    cards = [
        Card("Dropped", text_of(state.dropped, "count"), "measurements", "bad" if state.dropped else "calm"),
        Card("Faults", text_of(faults, "count"), "of django_perf itself", "bad" if faults else "calm"),
        *work,
        Card("Store", text_of(size, "bytes"), "on all tiers", "calm"),
    ]
    tables = asked.tables(snapshot, {LOSSES: 50, OWN_COSTS: 50, STORE: 50})
    return Page(window, state, cards, tables=tables, notes=notes(_overflow(snapshot, asked)), targets=[""])


def _overflow(snapshot: Snapshot, asked: Asked) -> list[str]:
    """Say when there were more names than are kept."""
    spilled = snapshot.sums(REQUEST, asked.window.span, lambda labels: labels[0] == OTHER)
    count = sum(sum_.count for sum_ in spilled.values())
    text = gettext(
        "%(requests)s requests went to endpoints beyond the 500 that are told apart: they are counted as %(other)s."
    )
    return [text % {"requests": figure(count), "other": OTHER}] if count else []
