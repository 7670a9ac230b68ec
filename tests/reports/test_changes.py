"""What has changed since the time before, marks, and what django_perf says of itself."""

from __future__ import annotations

import io
import time

import pytest
from django.core.management import CommandError, call_command

from django_perf.metrics.catalog import DATABASE, ENDPOINT_QUERY, LOSS, PROCESS, REQUEST
from django_perf.metrics.recorder import Recorder
from django_perf.reports.marks import last_mark, set_mark
from django_perf.reports.own import costs, stored
from django_perf.reports.window import Window
from django_perf.store import housekeeping
from django_perf.store.housekeeping import Housekeeper
from django_perf.store.models import Mark
from django_perf.store.reader import Range, consistent
from tests.store.data import MIDNIGHT, compact_at

from .data import HERE, series, store, table_of

pytestmark = pytest.mark.django_db


def at(minute, route, us, count=20, **counters):
    store(series(REQUEST, (route, "GET", "2xx"), [us] * count, **counters), minute=MIDNIGHT + minute)


def test_each_endpoint_stands_beside_itself_the_one_that_has_become_slower_first():
    at(-3, "/slower", 1_000, queries=20), at(1, "/slower", 3_000, count=40, queries=400, errors=4)
    at(-3, "/faster", 4_000), at(1, "/faster", 1_000)
    at(1, "/new", 1_000), at(-3, "/gone", 1_000), at(-3, "/rare", 1_000, count=19), at(1, "/rare", 9_000)
    first, second = table_of("changes").rows
    names = ("name", "added_ms", "change", "mean_before_ms", "mean_ms", "queries_before", "queries", "error_rate")
    assert [first[name] for name in names] == ["/slower", 80, 2, 1, 3, 1, 10, 0.1]
    assert [second[name] for name in names[:3]] == ["/faster", -60, -0.75]


def test_the_time_that_it_is_compared_with_is_the_one_that_was_asked_for():
    at(-1_440 + 1, "/list", 1_000), at(1, "/list", 3_000)
    window = Window(HERE.span, HERE.now, "yesterday")
    assert [row["change"] for row in table_of("changes", window).rows] == [2]
    assert table_of("changes").rows == []


def test_marks_of_the_window_are_listed_the_last_first():
    for minute, text in ((-1, "before"), (1, "v1"), (3, "v2"), (9, "later")):
        set_mark("default", text, (MIDNIGHT + minute) * 60.0)
    assert [row["text"] for row in table_of("marks").rows] == ["v2", "v1"]
    assert last_mark("default").text == "later"


def test_perfmark_marks_now_or_a_time_and_bounds_what_it_is_told():
    out = io.StringIO()
    call_command("perfmark", "v2.3\x1b[2J", "--at", "2026-11-29T14:05+01:00", stdout=out)
    assert out.getvalue() == "2026-11-29 13:05:00 UTC: v2.3\\x1b[2J\n"
    call_command("perfmark", "x" * 200, stdout=out)
    mark = last_mark("default")
    assert (len(mark.text), mark.at) == (100, pytest.approx(time.time(), abs=10))
    for arguments, why in ((["  "], "a mark needs a text"), (["v", "--at", "noon"], "'noon' is no time")):
        with pytest.raises(CommandError, match=why):
            call_command("perfmark", *arguments)
    assert Mark.objects.count() == 2


def test_losses_are_listed_by_what_was_lost():
    store(series(LOSS, ("error", "query: ValueError"), [2, 3]), series(LOSS, ("dropped", "memory"), [9]))
    rows = [(row["detail"], row["what"], row["count"]) for row in table_of("losses").rows]
    assert rows == [("memory", "dropped", 9), ("query: ValueError", "error", 5)]


def test_what_django_perf_costs_is_told_in_one_unit():
    store(
        series(PROCESS, ("fold_us", "web"), [1_200, 800]),
        series(PROCESS, ("flush_ms", "web"), [300]),
        series(PROCESS, ("flush_ms", "other"), [500]),
        series(PROCESS, ("rss_bytes", "web"), [500]),
    )
    found = consistent("default", lambda snapshot: costs(snapshot, HERE))
    assert {name: cost.us(cost.sum.mean) for name, cost in found.items()} == {"fold_us": 10, "flush_ms": 4_000}
    assert [row["mean_us"] for row in table_of("own_costs").rows] == [10, 4_000]


def test_the_store_tells_what_it_holds():
    at(1, "/list", 1_000)
    (waiting, *_) = consistent("default", stored)
    assert (waiting.what, waiting.rows) == ("Flushes that wait to be merged", 1)
    assert waiting.bytes > 10
    compact_at("default", MIDNIGHT + 2)
    rows = {row["what"]: row for row in table_of("store").rows}
    minutes = rows["Figures by a minute, kept for 1 days"]
    assert (minutes["rows"], minutes["oldest"]) == (2, "2024-10-04T00:01:00+00:00")
    assert minutes["bytes"] > 20
    assert (rows["Names"]["rows"], rows["Totals of all time"]["rows"]) == (2, 1)


def test_all_statements_of_a_database_are_one_series():
    store(*(series(ENDPOINT_QUERY, (route, "GET", "default", sql), [80], rows=2) for route in "ab" for sql in "cd"))

    def read(snapshot):
        return {
            labels: (one.count, one.counter(DATABASE, "rows"))
            for labels, one in snapshot.sums(DATABASE, HERE.span).items()
        }

    assert consistent("default", read) == {("default",): (4, 8)}
    compact_at("default", MIDNIGHT + 1)
    assert consistent("default", read) == {("default",): (4, 8)}


def test_the_work_behind_requests_is_measured_as_levels():
    own = Recorder(clock=lambda: 60.0)
    own.enabled = True
    own.expand = lambda rows: []
    assert own.fold_us() is None
    own.finished.extend(range(4))
    own.fold()
    assert 0 < own.fold_us() < 1e6
    assert own.fold_us() is None
    own.gauge(PROCESS, "fold_us", own.fold_us)
    assert own.levels("web") == {}, "what is not known is no level"


def test_only_who_did_the_housekeeping_tells_what_it_took(monkeypatch):
    keep = Housekeeper()
    monkeypatch.setattr(housekeeping, "tidy", lambda alias: None)
    keep()
    assert keep.took_ms() is None
    keep = Housekeeper()
    monkeypatch.setattr(housekeeping, "tidy", lambda alias: 3)
    keep()
    assert keep.took_ms() >= 0
    assert keep.took_ms() is None


def test_a_window_of_long_ago_is_charted_as_finely_as_is_kept():
    at(1, "/list", 1_000)
    compact_at("default", MIDNIGHT + 100_000)
    window = Window(Range(MIDNIGHT, MIDNIGHT + 1_440), (MIDNIGHT + 50_000) * 60.0)
    points = consistent("default", lambda snapshot: snapshot.points(REQUEST, window.span, window.step))
    assert (window.step, sum(sum_.count for _, sum_ in points)) == (60, 20)
