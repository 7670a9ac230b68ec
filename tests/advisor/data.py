"""Ask rules about what was put into the store by hand."""

from __future__ import annotations

from django_perf.advisor.report import advise
from django_perf.advisor.rules import NAMES, STORED
from django_perf.dashboard.pages import BY_NAME as PAGES
from django_perf.reports.window import Window
from django_perf.store.reader import Range, consistent
from tests.reports.data import HERE
from tests.store.data import MIDNIGHT


def advised(*rules, window=HERE):
    """Return what some rules say, or all that need no database, the most urgent first."""
    found = consistent("default", lambda snapshot: advise(snapshot, window, rules or STORED))
    assert {one.rule for one in found} <= set(NAMES)
    assert {one.page for one in found} <= set(PAGES)
    return found


def severities(*rules, window=HERE):
    """Return (rule, severity) of what they say."""
    return [(one.rule, one.severity) for one in advised(*rules, window=window)]


def minutes(count):
    """Return the window of so many minutes from midnight on, all of them passed."""
    return Window(Range(MIDNIGHT, MIDNIGHT + count), (MIDNIGHT + count) * 60.0)
