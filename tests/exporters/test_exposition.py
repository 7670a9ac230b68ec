"""What a scrape says is what was counted, in two formats that their own parsers accept."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.exporters import families
from django_perf.exporters.exported import EXPORTED
from django_perf.exporters.families import last_bucket
from django_perf.exporters.prometheus import OPENMETRICS, TEXT, negotiated
from django_perf.metrics.catalog import KINDS
from django_perf.metrics.histogram import Histogram, bucket_bounds
from tests.exporters.data import PARSERS, everything, samples, scrape, value
from tests.hostile import HOSTILE
from tests.store.data import MIDNIGHT, compact_at, put, requests

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])
BOTH = pytest.mark.parametrize("content_type", PARSERS, ids=["openmetrics", "text"])
UNITS = ("seconds", "bytes", "ratio")


@BOTH
def test_the_parser_accepts_it_and_finds_every_exported_metric(filled, content_type):
    found = {name for name, _ in samples(scrape(content_type), content_type)}
    for one in EXPORTED:
        suffixes = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}[one.type]
        assert {f"django_perf_{one.name}{suffix}" for suffix in suffixes} <= found


def test_both_formats_say_the_same(filled):
    assert samples(scrape(OPENMETRICS), OPENMETRICS) == samples(scrape(TEXT), TEXT)


@BOTH
def test_names_help_types_and_units_are_as_promtool_wants_them(filled, content_type):
    text = scrape(content_type)
    names = re.findall(r"^# HELP (\S+) \S.*$", text, re.MULTILINE)
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert sorted(set(names)) == sorted(names) == sorted(types)
    for name, type_ in types.items():
        bare = name.removesuffix("_total")
        assert re.fullmatch(r"django_perf_[a-z][a-z_]*[a-z]", name)
        assert not re.search(r"_(count|sum|bucket|info|created)$|counter|gauge|histogram|_(ms|us|ns|mb)\b", bare)
        assert (bare != name) == (type_ == "counter" and content_type == TEXT)
        assert type_ in ("counter", "gauge", "histogram")
    for name, unit in re.findall(r"^# UNIT (\S+) (\S+)$", text, re.MULTILINE):
        assert name.endswith(f"_{unit}")
        assert unit in UNITS
    for name in types:
        ending = name.removesuffix("_total").rpartition("_")[2]
        assert content_type == TEXT or ending not in UNITS or f"# UNIT {name} {ending}\n" in text


def test_openmetrics_ends_with_its_end_mark_and_text_has_none(filled):
    assert scrape(OPENMETRICS).endswith("\n# EOF\n")
    assert "# EOF" not in scrape(TEXT)


def test_counts_and_sums_are_exact_and_the_hosts_are_added_up(filled):
    text = scrape()
    labels = {"route": "products/<int:pk>", "method": "GET", "status": "2xx"}
    assert value(text, "django_perf_request_duration_seconds_count", **labels) == 6
    assert value(text, "django_perf_request_duration_seconds_sum", **labels) == 2 * 3.0208
    below = {le: value(text, "django_perf_request_duration_seconds_bucket", le=le, **labels) for le in BOUNDS}
    assert below == {"0.005": 2, "0.01": 2, "0.025": 4, "1.0": 4, "2.5": 4, "5.0": 6, "10.0": 6, "+Inf": 6}


BOUNDS = ("0.005", "0.01", "0.025", "1.0", "2.5", "5.0", "10.0", "+Inf")


def test_counters_times_and_levels_come_in_base_units(filled):
    text = scrape()
    labels = {"route": "products/<int:pk>", "method": "GET", "status": "2xx"}
    assert value(text, "django_perf_request_errors_total", **labels) == 14
    assert value(text, "django_perf_request_cpu_seconds_total", **labels) == 18e-6
    assert value(text, "django_perf_pool_closed_connections_total", alias="default", reason="dead") > 0
    assert value(text, "django_perf_cache_events_total", alias="default", event="expired") == 18
    assert value(text, "django_perf_cache_evicted_bytes_total", alias="default") == 16
    assert value(text, "django_perf_cache_call_duration_seconds_sum", alias="default", operation="l1") == 0.0060416
    assert value(text, "django_perf_losses_total", what="dropped", detail="a series") == 2 * 3_020_800
    assert value(text, "django_perf_processes", host="web1") == 1
    assert value(text, "django_perf_process_resident_bytes", host="web1") == 50_000_000
    assert value(text, "django_perf_process_saturation_ratio", host="web2") == 0.5
    assert value(text, "django_perf_pool_connections_in_use", alias="default") == 4
    assert value(text, "django_perf_cache_memory_bytes", alias="default") == 8_192
    assert value(text, "django_perf_export_omitted_series") == 0


def test_statements_count_for_their_database_however_they_were_recorded(filled):
    # The series of the database itself, of the shape and of the endpoint, by two hosts.
    assert value(scrape(), "django_perf_database_statement_duration_seconds_count", alias="default") == 18


def test_hosts_are_a_label_on_demand(filled, settings):
    settings.DJANGO_PERF = {**settings.DJANGO_PERF, "METRICS_BY_HOST": True}
    text = scrape()
    for host in ("web1", "web2"):
        assert value(text, "django_perf_exceptions_total", **EXCEPTION, host=host) == 3
        assert value(text, "django_perf_pool_waiting", alias="default", host=host) == 1
        assert value(text, "django_perf_compression_responses_total", outcome="br", host=host) == 3


EXCEPTION = {"route": "products/<int:pk>", "method": "GET", "class": "ValueError"}


def test_compression_is_summed_over_the_routes(alias):
    for route in "ab":
        table, _ = everything()
        (key,) = [key for key in table if key[0] == "compression"]
        put(alias, {MIDNIGHT: {("compression", route, *key[2:]): table[key]}})
    assert value(scrape(), "django_perf_compression_responses_total", outcome="br") == 6


def test_a_process_that_has_stopped_or_is_lost_is_in_no_gauge(alias, monkeypatch):
    _, levels = everything()
    put(alias, {MIDNIGHT: requests(1)}, pid=1, levels=levels)
    put(alias, {MIDNIGHT: requests(1)}, pid=2, levels=levels, final=True)
    put(alias, {MIDNIGHT: requests(1)}, pid=3, levels=levels, taken=MIDNIGHT * 60.0 - 60)
    monkeypatch.setattr("time.time", lambda: MIDNIGHT * 60.0 + 70)
    text = scrape()
    assert value(text, "django_perf_processes", host="web") == 1
    assert value(text, "django_perf_cache_entries", alias="default") == 100


@BOTH
@pytest.mark.parametrize("label", HOSTILE, ids=lambda label: ascii(label[:20]))
def test_a_hostile_label_is_one_series_and_forges_no_line(alias, content_type, label):
    table, levels = everything(label=label)
    put(alias, {MIDNIGHT: table}, host=label[:64].replace("\x00", " ").replace("\ud800", " "), levels=levels)
    text = scrape(content_type)
    found = samples(text, content_type)
    assert len(text.splitlines()) == text.count("\n")
    assert {name for name, _ in found} <= {name for name, _ in samples(calm_scrape(alias, content_type), content_type)}


def calm_scrape(alias, content_type):
    table, levels = everything()
    put(alias, {MIDNIGHT: table}, levels=levels)
    return scrape(content_type)


def test_an_answer_is_bounded_and_says_what_it_left_out(alias, monkeypatch):
    monkeypatch.setattr(families, "MAX_SERIES", 3)
    tables = {}
    for number in range(10):
        tables |= requests(10 + number, route=f"route{number}")
    put(alias, {MIDNIGHT: tables})
    text = scrape()
    routes = {dict(labels).get("route") for _, labels in samples(text)} - {None}
    assert routes == {"route7", "route8", "route9"}
    assert value(text, "django_perf_export_omitted_series") == 7


def test_an_empty_store_is_a_valid_answer(alias):
    assert value(scrape(), "django_perf_export_unread_rows") == 0


def test_merged_and_waiting_measurements_are_one_figure(filled):
    before = samples(scrape())
    compact_at(filled, MIDNIGHT + 1)
    assert samples(scrape()) == before


@given(st.integers(1, 2**45))
def test_a_bound_stands_for_a_limit_less_than_one_64th_away(limit):
    last = bucket_bounds(last_bucket(limit))[1]
    assert abs(last - limit) <= limit / 64


@given(st.lists(st.integers(0, 2**40), min_size=1), st.lists(st.integers(1, 2**40), min_size=1, unique=True))
def test_cumulative_counts_are_those_of_the_values_up_to_that_limit(values, limits):
    histogram = Histogram()
    histogram.add_all(values)
    lasts = [last_bucket(limit) for limit in sorted(limits)]
    expected = [sum(value <= bucket_bounds(last)[1] for value in values) for last in lasts]
    assert histogram.cumulative(lasts) == expected


def test_the_bounds_of_every_histogram_are_few_and_rise():
    for one in EXPORTED:
        assert list(one.bounds) == sorted(set(one.bounds))
        assert len(one.bounds) <= 11
        assert all(map(math.isfinite, one.bounds))


def test_every_kind_that_has_totals_is_exported():
    assert {one.kind.name for one in EXPORTED} == {kind.name for kind in KINDS.values() if kind.is_total}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", TEXT),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0;q=0.6,text/plain;q=0.3,*/*;q=0.2", OPENMETRICS),
        ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=0.0.1", OPENMETRICS),
        ("x," * 5_000_000, TEXT),
    ],
)
def test_openmetrics_is_for_who_names_it(accept, expected):
    assert negotiated(accept) == expected
