"""The pages of SQL: what they show is what was stored, and each thing that they name leads to the page about it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from django_perf.advisor.report import REPORTS
from django_perf.dashboard.pages.samples import WIDTH
from django_perf.db.fingerprint import shape_id
from django_perf.reports.answer import answer
from django_perf.reports.text import short_sql, text_of
from django_perf.reports.window import last
from django_perf.store.models import Delta, Sample
from tests.dashboard.conftest import ADDRESSES
from tests.dashboard.data import EXAMPLE, OTHER_SQL, SQL
from tests.dashboard.markup import asked

EMPTY = "Nothing was measured in this time."


def cell(row, column):
    """Return what a cell shows of a value."""
    text = text_of(row[column["name"]], column["unit"])
    if column["unit"] == "time" and row[column["name"]]:
        return f"{text} UTC"
    return short_sql(text) if column["name"] == "sql" else text


@pytest.mark.parametrize(
    ("page", "reports"),
    [
        ("queries", ("findings", "queries", "query_errors", "transactions")),
        ("endpoint", ("findings", "lines", "transactions", "exceptions", "samples")),
        ("query", ("query_errors",)),
    ],
)
def test_the_tables_hold_what_perfstats_says(fill, open_page, page, reports):
    fill(sql=OTHER_SQL)
    shown = open_page(page).tables
    for name, table in answer(reports, last("1h"), known=REPORTS).tables.items():
        expected = [[cell(row, one) for one in table.columns] for row in table.rows]
        assert shown[name][1:] == expected
        assert expected, name


def test_the_cards_of_the_queries(fill, open_page, monkeypatch, minute):
    monkeypatch.setattr("django_perf.reports.window.time.time", lambda: (minute + 1) * 60.0)
    fill()
    # 600 queries and 600 ms in ten requests of 100 ms; an hour less the minute that begins has passed.
    assert open_page("queries").text_of("perf-figure") == ["0.17/s", "60", "60\u00a0ms", "60\u00a0%", "10", "3"]


def test_an_empty_store_gives_pages_that_say_so(show):
    page = show(ADDRESSES["queries"])
    assert (page.text_of("perf-empty").count(EMPTY), list(page.tables)) == (1, ["queries"])
    assert page.text_of("perf-figure") == ["0/s", "–", "–", "–", "0", "0"]
    assert show(ADDRESSES["advice"]).text_of("perf-evidence") == ["Nothing stands out in this time."]


def test_the_queries_stand_in_the_order_that_was_asked_for(store, show):
    for name, times in (("b", [1_000]), ("a", [100] * 5), ("c", [300] * 2)):
        store(("endpoint_query", "list", "GET", "default", f"SELECT {name}"), *times)
    orders = {
        sort: [row[1][-1] for row in show(ADDRESSES["queries"], sort=sort).tables["queries"][1:]]
        for sort in ("", "sql", "count")
    }
    assert orders == {"": ["b", "c", "a"], "sql": ["a", "b", "c"], "count": ["a", "c", "b"]}


@pytest.mark.usefixtures("two_queries")
def test_the_page_of_a_query_shows_its_own_only(open_page, minute):
    page = open_page("query")
    columns = {"query_endpoints": 0, "lines": 0, "findings": 2, "query_errors": 3, "samples": 2}
    assert {name: [row[columns[name]] for row in rows[1:]] for name, rows in page.tables.items()} == {
        **{name: ["list"] for name in columns},
        "findings": ["list", "list"],
    }
    assert page.text_of("perf-figure")[1:] == ["4\u00a0ms", "4\u00a0ms", "4\u00a0ms", "2", "3"]
    statement, id_, *_ = page.named("code")
    assert statement == 'SELECT "products"."id"\nFROM "products"\nWHERE "products"."name" = ?'
    assert id_ == shape_id("default", SQL)
    seen = datetime.fromtimestamp(minute * 60, UTC)
    text = f'first seen <time datetime="{seen.isoformat()}">{seen:%Y-%m-%d %H:%M} UTC</time>'
    assert text in " ".join(page.source.split())


def test_a_query_that_has_not_run_of_late_has_a_page_with_nothing_but_itself(store, show, minute):
    store(("endpoint_query", "list", "GET", "default", SQL), 500, at=minute - 70)
    page = show(ADDRESSES["query"], id=shape_id("default", SQL), since="5m")
    assert page.text_of("perf-empty").count(EMPTY) == 1
    assert page.text_of("perf-figure") == ["0/s", "–", "–", "–", "–", "0"]
    assert "FROM" in page.named("code")[0]


@pytest.mark.parametrize(
    "sql", ["(" * 3_900, "SELECT " + "CASE WHEN " * 300, "SELECT '", 'SELECT "', "/* ", "-- ", ";", "…"]
)
def test_sql_that_no_formatter_understands_is_shown_as_it_is(store, show, sql):
    store(("endpoint_query", "list", "GET", "default", sql), 500)
    began = time.process_time()
    shown = show(ADDRESSES["query"], id=shape_id("default", sql)).named("code")[0]
    assert "".join(shown.split()) == "".join(sql.split())
    assert time.process_time() - began < 5


def test_an_example_tells_what_the_request_was(keep, show):
    page = show(ADDRESSES["sample"], **keep())
    text = " ".join("".join(one.text for one in page.elements).replace("\u00a0", " ").split())
    assert "status 500, 400 ms, 31 queries 250 ms," in text
    assert "N+1: one query for each row of another: 30 ×, 200 ms at shop/views.py:9 in listing" in text
    assert "0123456789abcdef" in page.named("code")
    assert page.text_of("perf-trouble") == ["KeyError at shop/views.py:12 in listing"]
    assert 'select_related("category")' in page.named("p")
    assert "3 short stretches are left out" in page.named("small")


def test_an_example_is_drawn_as_bars_inside_of_its_time(keep, show):
    page = show(ADDRESSES["sample"], **keep())
    rows = [[cell.replace("\u00a0", " ") for cell in row] for row in page.tables["timeline"][1:]]
    assert rows == [
        ["templatelist.html", "0 ms", "400 ms", ""],
        [f"database{SQL}shop/views.py:9 in listing30 ×, rows: 60", "100 ms", "150 ms", ""],
        ["databaseSELECT a lot …", "400 ms", "0.00 ms", ""],
        ["cacheget product:*", "390 ms", "900 ms", ""],
    ]
    bars = [one.attributes for one in page.elements if one.tag == "rect"]
    assert [(bar["x"], bar["width"]) for bar in bars] == [("0", "1000"), ("250", "500"), ("998", "2"), ("975", "25")]
    assert [bar["class"] for bar in bars] == [f"perf-kind-{span['kind']}" for span in EXAMPLE["spans"]]
    assert all(int(bar["x"]) + int(bar["width"]) <= WIDTH for bar in bars)


def test_an_example_with_nothing_in_it_says_so(keep, show):
    about = keep(spans=[], findings=[], exception=None, duration_us=0, left_out=0)
    page = show(ADDRESSES["sample"], **about)
    assert page.text_of("perf-empty") == ["It did nothing that is measured: no query, no cache, no template."]
    assert (page.text_of("perf-note"), page.text_of("perf-trouble"), page.tables["timeline"]) == ([], [], [])


def test_an_example_of_a_version_that_knew_less_is_shown_too(keep, show):
    about = keep()
    Sample.objects.update(doc={"reason": "slow_request"})
    assert show(ADDRESSES["sample"], **about).text_of("perf-empty") != []


def test_advice_is_ordered_by_how_urgent_it_is_and_leads_to_what_it_is_about(fill, open_page):
    fill()
    (first, second) = [note for note in open_page("advice").notes() if "list" in note[1]]
    assert first[0] == second[0] == "perf-high"
    assert first[1].startswith("GET list sends one query 50 times a request, 40 ms of it (40% of its time), at list: ")
    assert asked(first[2]) == {"id": shape_id("default", SQL), "since": "1h"}
    assert second[1].startswith("GET list holds a transaction open for 30 ms a request")
    assert asked(second[2]) == {"route": "list", "method": "GET", "since": "1h"}
    assert open_page("overview").notes() == [first, second]


def test_rows_by_the_hundred_are_cut_and_counted(store, show):
    for number in range(60):
        store(("endpoint_query", "list", "GET", "default", f"SELECT c{number}"), 500)
        store(("query_error", "default", f"SELECT c{number}", "23505"), 1)
    page = show(ADDRESSES["queries"])
    assert [len(page.tables[name]) - 1 for name in ("queries", "query_errors")] == [50, 10]
    assert {"50 of 60", "10 of 60"} <= set(page.named("small"))
    assert Delta.objects.count() == 120
