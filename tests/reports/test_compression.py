"""Compression by endpoint and by what became of responses, against data made by hand."""

from __future__ import annotations

import pytest

from django_perf.metrics.catalog import COMPRESSION
from django_perf.reports.compression import CODINGS

from .data import MIDNIGHT, recorded, series, store, table_of

pytestmark = pytest.mark.django_db
HOME = ("/", "GET")
# What is more than a few responses, and more than a few bytes.
MANY, MUCH = 100, 2**20 + 1
WASTED = "compressing gains nothing here: leave its type out of CONTENT_TYPES, or use no_compress"
TYPE = "its type is not in CONTENT_TYPES; if it is text, add it"
DEAR = "one response costs milliseconds to compress: paginate it, or use PROFILE fast"


def ended(outcome, times_us, before=0, sent=None, endpoint=HOME):
    """Return responses of one endpoint that ended alike, with their CPU times; they are as large as before."""
    sizes = {"bytes_in": before, "bytes_out": before if sent is None else sent}
    return series(COMPRESSION, (*endpoint, outcome), times_us, **sizes)


def only(name, **options):
    (row,) = table_of(name, **options).rows
    return row


def advice_on(*tables):
    store(*tables)
    return only("compression")["advice"]


def test_an_endpoint_is_the_sum_over_what_became_of_its_responses():
    store(
        ended("zstd", [100, 300], 60_000, 10_000),
        ended("gzip", [400], 20_000, 6_000),
        ended("small", [0] * 4, 400),
        ended("not_smaller", [50], 19_600),
    )
    assert only("compression") == {
        "route": "/",
        "method": "GET",
        "count": 8,
        "share": 0.375,
        "most": "small",
        "bytes_in": 100_000,
        "bytes_out": 36_000,
        "saved": 64_000,
        "ratio": 0.36,
        "cpu_us": 850,
        "dearest_us": 400,
        "advice": "",
    }


def test_minutes_count_together_and_those_outside_the_window_do_not():
    for minute in (-1, 0, 1, 4, 5):
        store(ended("br", [70], 1_000, 200), minute=MIDNIGHT + minute)
    row = only("compression")
    assert [row[name] for name in ("count", "bytes_in", "saved", "cpu_us", "most")] == [3, 3_000, 2_400, 210, "br"]
    assert only("compression_outcomes")["count"] == 3


def test_each_method_of_a_route_is_an_endpoint_and_the_one_that_saves_most_comes_first():
    store(
        ended("zstd", [1], 900, 800, ("/", "POST")),
        ended("zstd", [1], 900, 100, ("/", "GET")),
        ended("type", [0], 9_000, endpoint=("/image", "GET")),
    )
    rows = table_of("compression").rows
    assert [(row["route"], row["method"], row["saved"]) for row in rows] == [
        ("/", "GET", 800),
        ("/", "POST", 100),
        ("/image", "GET", 0),
    ]


def test_a_stream_that_grew_has_saved_less_than_nothing():
    store(ended("gzip", [9], 10, 40))
    row = only("compression")
    assert (row["saved"], row["ratio"], row["share"]) == (-30, 4, 1)


def test_of_responses_without_a_known_size_the_ratio_is_unknown_and_not_zero():
    store(ended("type", [0, 0]))
    row = only("compression")
    assert (row["count"], row["share"], row["ratio"], row["saved"]) == (2, 0, None, 0)
    assert only("compression_outcomes")["ratio"] is None


def test_an_outcome_is_the_sum_over_all_endpoints():
    store(
        ended("zstd", [100, 200], 60_000, 9_000),
        ended("zstd", [300], 40_000, 16_000, ("/list", "GET")),
        ended("small", [0] * 2, 300),
        ended("small", [0] * 3, 500, endpoint=("/list", "POST")),
    )
    small, zstd = table_of("compression_outcomes").rows
    assert zstd == {
        "outcome": "zstd",
        "meaning": "compressed",
        "count": 3,
        "bytes_in": 100_000,
        "bytes_out": 25_000,
        "ratio": 0.25,
        "mean_us": 200,
        "cpu_us": 600,
    }
    assert small == {
        "outcome": "small",
        "meaning": "below MIN_SIZE",
        "count": 5,
        "bytes_in": 800,
        "bytes_out": 800,
        "ratio": None,
        "mean_us": None,
        "cpu_us": 0,
    }


@pytest.mark.parametrize("coding", CODINGS)
def test_every_coding_counts_as_compressed(coding):
    store(ended(coding, [10], 1_000, 100))
    assert only("compression")["share"] == 1
    row = only("compression_outcomes")
    assert (row["meaning"], row["ratio"]) == ("compressed", 0.1)


# What refusal(), plan() and _encode() name.
REASONS = [
    "cross_site",
    "encoded",
    "no_transform",
    "not_accepted",
    "not_modified",
    "not_smaller",
    "opted_out",
    "small",
    "status",
    "type",
]


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_to_leave_a_response_alone_has_a_meaning(reason):
    store(ended(reason, [0], 1_000))
    assert only("compression")["share"] == 0
    row = only("compression_outcomes")
    assert row["ratio"] is None
    assert row["meaning"] not in {"", "compressed"}


def test_what_only_a_newer_version_names_is_shown_without_a_meaning():
    store(ended("lz5", [7], 1_000, 100), ended("gzip", [1], 1_000, 100))
    row = next(row for row in table_of("compression_outcomes").rows if row["outcome"] == "lz5")
    assert (row["meaning"], row["count"], row["ratio"], row["cpu_us"]) == ("", 1, None, 7)
    assert (only("compression")["share"], only("compression")["count"]) == (0.5, 2)


def test_what_costs_cpu_without_a_gain_shows_it():
    store(ended("not_smaller", [40, 60], 500))
    row = only("compression_outcomes")
    assert (row["ratio"], row["mean_us"], row["cpu_us"]) == (None, 50, 100)


def test_the_totals_are_those_of_all_endpoints_also_of_those_that_the_limit_cuts_off():
    store(
        ended("zstd", [100, 100], 10_000, 2_000),
        ended("br", [50], 5_000, 1_000, ("/list", "GET")),
        ended("type", [0] * 3, 7_000, endpoint=("/image", "GET")),
    )
    table = table_of("compression", limit=1)
    assert ([row["route"] for row in table.rows], table.found) == (["/"], 3)
    assert table.totals == {"count": 6, "bytes_in": 22_000, "bytes_out": 10_000, "saved": 12_000, "cpu_us": 250}


def test_where_nothing_was_measured_there_are_no_rows_and_totals_of_zero():
    table = table_of("compression")
    assert (table.rows, table_of("compression_outcomes").rows) == ([], [])
    assert table.totals == {"count": 0, "bytes_in": 0, "bytes_out": 0, "saved": 0, "cpu_us": 0}


@pytest.mark.parametrize(("wasted", "advice"), [(51, WASTED), (50, "")])
def test_what_gains_nothing_as_a_rule_should_not_be_tried(wasted, advice):
    assert advice_on(ended("not_smaller", [9] * wasted, 5_000), ended("br", [9] * (MANY - wasted), 9, 1)) == advice


@pytest.mark.parametrize(("size", "advice"), [(MUCH, TYPE), (MUCH - 1, "")])
def test_much_of_a_type_that_is_not_listed_is_worth_a_look(size, advice):
    assert advice_on(ended("type", [0] * MANY, size)) == advice


def test_an_endpoint_that_is_compressed_now_and_then_lacks_no_type():
    assert advice_on(ended("type", [0] * MANY, MUCH), ended("gzip", [9], 900, 100)) == ""


def test_much_that_is_left_alone_for_another_reason_lacks_no_type():
    assert advice_on(ended("encoded", [0] * MANY, MUCH)) == ""


@pytest.mark.parametrize(("dearest", "advice"), [(5_001, DEAR), (5_000, "")])
def test_one_response_that_costs_milliseconds_is_enough(dearest, advice):
    assert advice_on(ended("zstd", [9] * (MANY - 1) + [dearest], 9_000, 900)) == advice


def test_the_first_advice_is_that_which_spares_most():
    dear = [6_000] * MANY
    assert advice_on(ended("not_smaller", dear, MUCH), ended("type", [0] * 9, MUCH)) == WASTED


@pytest.mark.parametrize(
    ("outcome", "times_us"), [("not_smaller", [9]), ("type", [0]), ("zstd", [6_000])], ids=[WASTED, TYPE, DEAR]
)
def test_a_few_responses_say_nothing_yet(outcome, times_us):
    assert advice_on(ended(outcome, times_us * (MANY - 1), MUCH)) == ""


HOSTILE = [
    ("<script>alert(1)</script>", "<script>alert(1)</script>"),
    ("two\nlines\x00\x1b[31m", None),
    ("\u202eright to left", None),
    ("\ud800", None),
    ("y" * 3_000, None),
    ("(other)", "(other)"),
    (r"^weird/(?P<a>\w+)&b=1#c%20/$", r"^weird/(?P<a>\w+)&b=1#c%20/$"),
]


@pytest.mark.parametrize(("route", "shown"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_route_is_one_row_of_printable_text(route, shown):
    recorded(MIDNIGHT * 60.0 + 30, (COMPRESSION, (route, "GET", "zstd"), 70), (COMPRESSION, ("/", "GET", "br"), 1))
    rows = {row["cpu_us"]: row for row in table_of("compression").rows}
    name = rows[70]["route"]
    assert (len(rows), rows[70]["most"], rows[1]["route"]) == (2, "zstd", "/")
    assert name.isprintable()
    assert 0 < len(name) <= 200
    assert name == (shown or name)


def test_of_more_routes_than_are_kept_the_rest_is_one_row():
    kept = COMPRESSION.caps[0].limit
    records = [(COMPRESSION, (f"route/{number}", "GET", "gzip"), 1) for number in range(kept + 7)]
    recorded(MIDNIGHT * 60.0 + 30, *records)
    counts = {row["route"]: row["count"] for row in table_of("compression").rows}
    assert (len(counts), counts["(other)"], counts["route/0"]) == (kept + 1, 7, 1)
