"""What the pages show, and that it is what perfstats says."""

from __future__ import annotations

import csv
import io
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import OperationalError, connection

from django_perf.dashboard import views
from django_perf.exceptions import StoreBusy
from django_perf.metrics.aggregate import new_aggregate
from django_perf.reports.answer import answer
from django_perf.reports.requests import REQUESTS
from django_perf.reports.text import text_of
from django_perf.reports.window import last
from django_perf.store.models import Delta
from tests.dashboard.conftest import CACHE_PAGE, ENDPOINT, OVERVIEW, POOL_PAGE
from tests.dashboard.markup import asked
from tests.store.data import counted, put

COMPRESSION_PAGE = f"{OVERVIEW}compression/"
REQUESTS_PAGE = f"{OVERVIEW}requests/"
FINE = ("request", "fine/<int:number>", "GET", "2xx")
EMPTY = "Nothing was measured in this time."


def shown_as(value, unit):
    """Return what a cell shows of a value."""
    return f"{text_of(value, unit)}{' UTC' if unit == 'time' and value else ''}"


@pytest.fixture
def _one_moment(monkeypatch):
    """Rates are per second that has passed: what is compared has to be asked for in the same one."""
    now = time.time()
    monkeypatch.setattr("django_perf.reports.window.time.time", lambda: now)


@pytest.mark.parametrize("page", [OVERVIEW, ENDPOINT, POOL_PAGE, CACHE_PAGE, COMPRESSION_PAGE])
@pytest.mark.parametrize("since", ["yesterday", "5", "0m", "-5m", "401d", "9999999d", "5m'", "\x00", "٥m"])
def test_a_wrong_range_is_refused_with_the_reason(reader, page, since):
    response = reader.get(page, {"since": since})
    assert (response.status_code, response["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert "is no time range; write for instance 5m, 1h, 24h, 7d" in response.content.decode()


@pytest.mark.parametrize("sort", ["no_such_column", "<script>", "__class__"])
def test_a_wrong_order_is_refused_with_the_columns_there_are(reader, sort):
    response = reader.get(OVERVIEW, {"sort": sort})
    assert (response.status_code, response["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert "it has name, method, total_ms" in response.content.decode()


@pytest.mark.parametrize("page", [OVERVIEW, ENDPOINT, POOL_PAGE, CACHE_PAGE, COMPRESSION_PAGE])
def test_an_empty_parameter_is_as_none(reader, page):
    assert reader.get(page, {"since": "", "sort": ""}).status_code == 200


def test_an_empty_store_gives_a_page_that_says_so_everywhere(show):
    page = show()
    assert page.text_of("perf-empty").count(EMPTY) == 2
    assert page.text_of("perf-empty").count("Nothing to draw in this time.") == 2
    assert page.text_of("perf-figure") == ["0/s", "–", "–", "–", "–", "–"]
    assert "Nothing was lost." in page.source


def test_an_endpoint_that_nobody_asked_for_gives_an_empty_page(show):
    assert show(ENDPOINT, route="never", method="GET").text_of("perf-empty").count(EMPTY) == 1


@pytest.fixture
def _no_tables(transactional_db):
    """The store as it is when `migrate` has not run."""
    tables = ("django_perf_delta", "django_perf_lease")
    with connection.schema_editor() as editor:
        for name in tables:
            editor.alter_db_table(Delta, name, f"{name}_hidden")
    yield
    with connection.schema_editor() as editor:
        for name in tables:
            editor.alter_db_table(Delta, f"{name}_hidden", name)


@pytest.mark.usefixtures("_no_tables")
@pytest.mark.parametrize("path", [OVERVIEW, ENDPOINT])
def test_without_its_tables_the_page_says_what_to_do(show, path):
    (text,) = show(path).text_of("perf-trouble")
    assert text == "The store cannot be read (ProgrammingError). Has manage.py migrate been run?"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperationalError("password=secret"), "The store cannot be read (OperationalError)."),
        (StoreBusy("rollups changed; try again in a minute"), "rollups changed; try again in a minute"),
    ],
)
def test_a_store_that_does_not_answer_gives_a_page_that_says_so(show, monkeypatch, error, text):
    def fail(*args):
        raise error

    monkeypatch.setattr(views, "consistent", fail)
    page = show()
    assert page.text_of("perf-trouble")[0].startswith(text)
    assert "secret" not in page.source


@pytest.mark.usefixtures("_one_moment")
def test_the_tables_hold_what_perfstats_says(store, show):
    store(FINE, *range(1_000, 90_000, 777), errors=3, queries=250, cpu_us=9, cpu_count=1, bytes_out=12_345_678)
    store(("request", "other", "POST", "5xx"), 2_500_000, errors=1)
    store(("endpoint_query", *FINE[1:3], "default", "SELECT ?"), 500, 1_500, errors=1)
    store(("exception", *FINE[1:3], "ValueError"), 1, 1)
    store(("loss", "error", "query: ValueError"), 1)
    names = ["requests", "queries", "exceptions", "process", "losses"]
    tables = answer(names, last("1h")).tables
    shown = {}
    for page in (OVERVIEW, f"{OVERVIEW}processes/", f"{OVERVIEW}health/"):
        shown |= show(page, since="1h").tables
    for name, table in tables.items():
        expected = [[shown_as(row[one["name"]], one["unit"]) for one in table.columns] for row in table.rows]
        assert shown[name][1:] == expected
        assert expected, name


@pytest.mark.usefixtures("_one_moment")
def test_the_cards_hold_the_totals_of_perfstats(store, show):
    store(FINE, *range(1_000, 90_000, 777), errors=3, queries=250)
    totals = answer(["requests"], last("1h")).tables["requests"].totals
    figures = show(since="1h").text_of("perf-figure")
    assert figures[1] == text_of(totals["error_rate"], "ratio")
    assert figures[3] == text_of(totals["p95_ms"], "ms")
    assert figures[0] == text_of(totals["count"] / last("1h").seconds, "per_s")


def test_the_cards_compare_with_the_time_before(store, show, minute):
    store(FINE, *[1_000] * 4)
    store(FINE, *[2_000] * 2, at=minute - 70, errors=1)
    changes = show(since="1h").text_of("perf-change")
    assert changes[1] == "100% less than before"
    assert changes[3] == "50% less than before"


def test_each_cell_of_the_map_of_durations_is_drawn_once(store, reader):
    store(FINE, 1_500, 90_000)
    text = reader.get(ENDPOINT, {"route": FINE[1], "method": FINE[2]}).content.decode()
    assert text.count("up to 2 ms: 1") == text.count("up to 100 ms: 1") == 1
    assert text.count("<rect") == 2


def test_the_page_of_an_endpoint_shows_its_own_only(store, show):
    for route in ("fine", "other"):
        store(("request", route, "GET", "2xx"), 1_000)
        store(("endpoint_query", route, "GET", "default", f"SELECT {route}"), 500)
        store(("exception", route, "GET", f"{route.title()}Error"), 1)
    page = show(ENDPOINT, route="fine", method="GET")
    assert [row[1] for row in page.tables["queries"][1:]] == ["SELECT fine"]
    assert [row[0] for row in page.tables["exceptions"][1:]] == ["FineError"]


@pytest.mark.parametrize("route", [r"^weird/(?P<a>\w+)&b=1#c%20/$", "späße/<str:ü>", "a b+c", "/", 'x" y'])
def test_the_link_of_an_endpoint_leads_to_its_page_whatever_its_name(reader, store, show, route):
    store(("request", route, "GET", "2xx"), 7_000)
    store(("exception", route, "GET", "LookupError"), 1)
    # From the table of endpoints and from that of exceptions.
    (link,) = {link for link in show(since="1h").links() if link.startswith(ENDPOINT)}
    assert parse_qs(urlsplit(link).query) == {"route": [route], "method": ["GET"], "since": ["1h"]}
    response = reader.get(link)
    assert "LookupError" in response.content.decode()


def test_links_keep_the_range_and_the_order(store, show):
    store(FINE, 1_000)
    links = show(since="24h", sort="p95_ms").links()
    own = [parse_qs(urlsplit(link).query) for link in links if link.startswith("?")]
    assert {"since": ["7d"], "sort": ["p95_ms"]} in own
    assert {"since": ["24h"], "sort": ["requests.count"]} in own
    assert {"since": ["24h"], "sort": ["requests.-p95_ms"]} in own, "a second click turns it round"
    assert all(query.keys() - {"csv"} == {"since", "sort"} for query in own)
    assert not [link for link in links if link.startswith(ENDPOINT) and "since=24h" not in link]


def test_the_page_of_an_endpoint_leads_back_to_the_same_range(show):
    assert f"{OVERVIEW}?since=24h" in show(ENDPOINT, route="fine", method="GET", since="24h").links()


@pytest.mark.parametrize("sort", ["count", "name", "p95_ms", "db_ms"])
def test_the_order_is_the_one_that_was_asked_for(store, show, sort):
    for number, route in enumerate(("b", "c", "a"), 1):
        store(("request", route, "GET", "2xx"), *[1_000 * number] * number, db_us=number**3 * 1_000)
    order = [row[0] for row in show(sort=sort).tables["requests"][1:]]
    assert order == (["a", "b", "c"] if sort == "name" else ["a", "c", "b"])


def test_of_500_endpoints_a_page_shows_50_and_says_so(show, db, minute):
    put("default", {minute: dict(five_hundred())})
    page = show(REQUESTS_PAGE)
    assert len(page.tables["requests"]) == 1 + 50
    assert "50 of 500" in [one.text.strip() for one in page.elements if one.tag == "small"]
    assert len(show().tables["requests"]) == 1 + 15, "the first page has room for less"


def test_the_pages_of_a_long_table_can_be_turned(show, db, minute):
    put("default", {minute: dict(five_hundred())})

    def names(**parameters):
        page = show(REQUESTS_PAGE, sort="requests.name", **parameters)
        turns = {
            one.attributes["rel"]: asked(one.attributes["href"])["page"]
            for one in page.elements
            if "rel" in one.attributes and one.tag == "a"
        }
        return [row[0] for row in page.tables["requests"][1:]], turns

    every = sorted(f"route/{number}" for number in range(500))
    assert names() == (every[:50], {"next": "2"})
    assert names(page="2") == (every[50:100], {"prev": "1", "next": "3"})
    assert names(page="10") == (every[450:], {"prev": "9"})
    assert names(page="11")[0] == []
    assert names(page="x") == names(page="-1") == names()


def test_a_long_table_can_be_searched(show, db, minute):
    put("default", {minute: dict(five_hundred())})
    page = show(REQUESTS_PAGE, text="ROUTE/49", since="1h")
    assert {row[0] for row in page.tables["requests"][1:]} == {"route/49", *(f"route/49{n}" for n in range(10))}
    (field,) = [
        one for one in page.elements if (one.attributes.get("type"), one.attributes.get("name")) == ("search", "text")
    ]
    assert field.attributes["value"] == "ROUTE/49"
    assert "No row has this text." in show(REQUESTS_PAGE, text="nowhere").source


def test_every_table_can_be_had_whole_as_csv(reader, db, minute):
    put(
        "default",
        {
            minute: {
                ("request", "=cmd()", "GET", "2xx"): counted(("request", "=cmd()", "GET", "2xx")),
                **dict(five_hundred()),
            }
        },
    )
    for page in (OVERVIEW, REQUESTS_PAGE):
        response = reader.get(page, {"csv": "requests"})
        assert (response["Content-Type"], response["X-Content-Type-Options"]) == ("text/csv; charset=utf-8", "nosniff")
        assert response["Content-Disposition"] == 'attachment; filename="requests.csv"'
        header, *rows = csv.reader(io.StringIO(response.content.decode()))
        assert header == [column.name for column in REQUESTS.columns]
        assert len(rows) == 501
        assert "'=cmd()" in {row[0] for row in rows}
    assert reader.get(OVERVIEW, {"csv": "nothing"}).status_code == 404


def five_hundred():
    for number in range(500):
        key = ("request", f"route/{number}", "GET", "2xx")
        yield key, counted(key, us=1_000 + number)


def test_a_lost_worker_and_faults_of_our_own_are_on_the_page(store, show, minute):
    store(("loss", "error", "query: ValueError"), 2, at=minute - 10)
    page = show(since="1h")
    assert "1 worker vanished without saying goodbye" in page.source
    assert page.source.index("perf-health") < page.source.index("perf-cards")
    assert "query: ValueError × 2" in page.source


def test_the_page_of_the_pools(show):
    minute = int(time.time()) // 60
    key = ("pool", "default")
    wait = new_aggregate(key)
    wait.add_all([0] * 60, [60, *[0] * (len(wait.counters) - 1)])
    levels = {"pool.default.max_size": 4.0, "pool.default.in_use": 3.0, "pool.default.server_max": 97.0}
    put("default", {minute: {key: wait}}, taken=time.time(), levels=levels)
    page = show(POOL_PAGE)
    assert page.text_of("perf-figure")[-1] == "3 of 4"
    assert page.text_of("perf-figure")[1] == "0 ms".replace(" ", "\u00a0")
    assert "Connection pools by process" in page.source


def test_an_empty_page_of_the_pools(show):
    page = show(POOL_PAGE)
    assert page.text_of("perf-empty").count(EMPTY) == 2
    assert page.text_of("perf-figure")[-1] == "0 of 0"


def test_the_page_of_the_caches(show):
    minute = int(time.time()) // 60
    tables = {}
    for operation, keys in (("l1", 70), ("l2", 20), ("miss", 10)):
        tables["cache", "default", operation] = made = new_aggregate(("cache", "default", operation))
        made.add_all([310_000] * keys, [keys])
    tables["cache_key", "default", "basket:*"] = made = new_aggregate(("cache_key", "default", "basket:*"))
    made.add_all([], [100, 0, 0, 1_900, 500, 0])
    levels = {"cache.default.entries": 70.0, "cache.default.bytes": 2e6, "cache.default.redis": 2.0}
    put("default", {minute: tables}, taken=time.time(), levels=levels)
    page = show(CACHE_PAGE, since="1h")
    assert page.text_of("perf-figure")[1:] == ["90\u00a0%", "70\u00a0%", "310\u00a0µs", "0", "2\u00a0MB"]
    assert page.text_of("perf-change")[-1] == "70 entries"
    first, second = page.text_of("perf-evidence")
    assert first.startswith("default: Level redis does not answer 1 of 1 processes")
    assert second.startswith("default, basket:*: Only 100 of 2,000 reads hit")
    assert [row[0] for row in page.tables["cache"][1:]] == ["default"]
    assert [row[1] for row in page.tables["cache_keys"][1:]] == ["basket:*"]
    assert [row[2] for row in page.tables["cache_processes"][1:]] == ["default"]
    assert "Advice" not in page.headers()


def test_an_empty_page_of_the_caches_says_how_to_get_one(show):
    page = show(CACHE_PAGE)
    assert page.text_of("perf-empty").count(EMPTY) == 3
    assert page.text_of("perf-figure") == ["0/s", "–", "–", "–", "0", "0\u00a0B"]
    assert "django_perf.cache.MultiLevelCache" in page.text_of("perf-evidence")[0]


@pytest.fixture
def compress(store):
    """Return a function that stores responses of one endpoint that ended alike, with their CPU times."""

    def add(outcome, *times_us, before=0, sent=None, route="list", **options):
        sizes = {"bytes_in": before, "bytes_out": before if sent is None else sent}
        store(("compression", route, "GET", outcome), *times_us, **sizes, **options)

    return add


def lines_of(page):
    """Return the values of each line of each chart, as the script gets them."""
    scripts = [one for one in page.elements if one.attributes.get("type") == "application/json"]
    found = [one.text for one in scripts if one.attributes["id"] != "perf-marks"]
    return {line["label"]: line["values"] for text in found for line in json.loads(text)["lines"]}


def test_the_page_of_compression(compress, show):
    compress("dcz", *[1_000] * 30, before=3_000_000, sent=150_000)
    compress("zstd", *[2_000] * 45, before=1_000_000, sent=250_000)
    compress("type", *[0] * 25, before=2_000_000, route="image")
    page = show(COMPRESSION_PAGE, since="1h")
    # Of what was compressed: 4 MB became 0.4 MB for 120 ms, and 30 of 75 responses by dictionary.
    assert page.text_of("perf-figure") == [
        "3.60\u00a0MB",
        "10\u00a0%",
        "75\u00a0%",
        "30\u00a0ms",
        "40\u00a0%",
        "0\u00a0%",
    ]
    assert page.text_of("perf-change") == ["no comparison"] * 6
    assert [row[:6] for row in page.tables["compression"]] == [
        ["Route", "Method", "Responses", "Compressed", "Mostly", "Before"],
        ["list", "GET", "75", "100\u00a0%", "zstd", "4\u00a0MB"],
        ["image", "GET", "25", "0\u00a0%", "type", "2\u00a0MB"],
    ]
    assert [row[:3] for row in page.tables["compression_outcomes"][1:]] == [
        ["zstd", "compressed", "45"],
        ["dcz", "compressed", "30"],
        ["type", "a type outside of CONTENT_TYPES", "25"],
    ]
    assert page.text_of("perf-note") == []


@pytest.mark.usefixtures("_one_moment")
def test_the_tables_of_compression_hold_what_perfstats_says_less_the_advice(compress, show):
    compress("zstd", *range(100, 9_000, 77), before=12_345_678, sent=2_345_678)
    compress("not_smaller", 70, 80, before=900)
    compress("small", *[0] * 7, before=700, route="tiny")
    page, tables = (
        show(COMPRESSION_PAGE, since="1h"),
        answer(["compression", "compression_outcomes"], last("1h")).tables,
    )
    for name, table in tables.items():
        columns = [one for one in table.columns if one["name"] != "advice"]
        expected = [[text_of(row[one["name"]], one["unit"]) for one in columns] for row in table.rows]
        assert page.tables[name][1:] == expected
        assert len(expected) >= 2, name


def test_the_charts_of_compression_are_rates(compress, show, minute):
    compress("br", 600_000, 600_000, before=600_000, sent=60_000, at=minute - 5)
    compress("type", 0, before=300_000, at=minute - 5)
    page = show(COMPRESSION_PAGE, since="1h")
    lines = lines_of(page)
    assert list(lines) == ["before", "sent", "CPU"]
    assert {name: max(values) for name, values in lines.items()} == {"before": 15_000, "sent": 6_000, "CPU": 20}
    assert all(sum(value > 0 for value in values) == 1 for values in lines.values())
    assert page.text_of("perf-highest") == ["15\u00a0kB/s", "20\u00a0ms"]


def test_the_cards_of_compression_compare_with_the_time_before(compress, show, minute):
    compress("zstd", *[1_000] * 4, before=1_000_000, sent=400_000)
    compress("zstd", *[1_000] * 2, before=1_000_000, sent=200_000, at=minute - 70)
    compress("small", 0, 0, before=50, at=minute - 70)
    page = show(COMPRESSION_PAGE, since="1h")
    changes = ["25% less", "100% more", "100% more", "100% more"]
    assert page.text_of("perf-change") == [
        *(f"{change} than before" for change in changes),
        "no comparison",
        "no comparison",
    ]
    # More compressed is no bad news; more of the size that is sent is, and more CPU.
    tones = [one.attributes["class"].split()[-1] for one in page.elements if "perf-card " in str(one.attributes)]
    assert tones == ["perf-calm", "perf-bad", "perf-calm", "perf-bad", "perf-calm", "perf-calm"]


def test_advice_on_compression_stands_above_and_names_the_endpoint(compress, show):
    compress("not_smaller", *[9] * 100, before=5_000, route="packed/<int:pk>")
    compress("zstd", *[9] * 99, 6_000, before=5_000, sent=900, route="huge")
    page = show(COMPRESSION_PAGE, since="1h")
    first, second = page.text_of("perf-evidence")
    assert first.startswith("GET huge: one response costs milliseconds")
    assert second.startswith("GET packed/<int:pk>: compressing gains nothing here")
    assert "Advice" not in page.headers()


def test_a_few_pieces_of_advice_on_compression_are_enough(compress, show):
    for number in range(7):
        compress("not_smaller", *[9] * 100, before=5_000, route=f"packed/{number}")
    assert len(show(COMPRESSION_PAGE, since="1h").text_of("perf-note")) == 5


def test_where_nothing_is_compressed_the_cards_say_so_and_nothing_is_amiss(compress, show):
    compress("not_accepted", 0, 0, before=5_000)
    page = show(COMPRESSION_PAGE, since="1h")
    assert page.text_of("perf-figure") == ["0\u00a0B", "–", "0\u00a0%", "–", "–", "–"]
    assert page.text_of("perf-note") == []


@pytest.mark.parametrize("route", ["<script>alert(1)</script>", '" onmouseover="x', "späße/<str:ü>", "{{ route }}"])
def test_a_route_of_any_name_is_text_on_the_page_of_compression(compress, show, route):
    compress("not_smaller", *[9] * 100, before=5_000, route="calm")
    calm = show(COMPRESSION_PAGE, since="1h").shape()
    Delta.objects.all().delete()
    compress("not_smaller", *[9] * 100, before=5_000, route=route)
    page = show(COMPRESSION_PAGE, since="1h")
    assert page.shape() == calm
    assert page.tables["compression"][1][0] == route
    assert page.text_of("perf-evidence")[0].startswith(f"GET {route}: ")


def test_an_empty_page_of_compression_says_how_to_get_one(show):
    page = show(COMPRESSION_PAGE)
    assert page.text_of("perf-empty").count(EMPTY) == 2
    assert page.text_of("perf-empty").count("Nothing to draw in this time.") == 2
    assert page.text_of("perf-figure") == ["0\u00a0B", "–", "–", "–", "–", "–"]
    assert "CompressionMiddleware" in page.text_of("perf-evidence")[0]


def test_the_page_of_compression_is_linked_from_the_others_with_their_range(show):
    assert f"{COMPRESSION_PAGE}?since=24h" in show(since="24h").links()
    assert f"{OVERVIEW}?since=24h" in show(COMPRESSION_PAGE, since="24h").links()
