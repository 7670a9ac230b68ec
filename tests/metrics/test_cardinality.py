from __future__ import annotations

from django_perf.metrics.cardinality import Cardinality
from django_perf.metrics.catalog import KINDS, OTHER


def test_the_501st_route_becomes_other_and_keeps_method_and_status():
    rules = Cardinality()
    for number in range(500):
        assert rules.admit(("request", f"r{number}", "GET", "2xx")) == ("request", f"r{number}", "GET", "2xx")
    assert rules.admit(("request", "one too many", "POST", "5xx")) == ("request", OTHER, "POST", "5xx")


def test_an_admitted_route_stays_admitted_with_any_method_and_status():
    rules = Cardinality()
    for number in range(600):
        rules.admit(("request", f"r{number}", "GET", "2xx"))
    assert rules.admit(("request", "r3", "DELETE", "4xx")) == ("request", "r3", "DELETE", "4xx")


def test_surplus_pairs_keep_the_shape_so_that_its_total_stays_exact():
    rules = Cardinality()
    for number in range(5_000):
        rules.admit(("endpoint_query", f"r{number % 100}", "GET", "default", f"SELECT {number // 100}"))
    key = ("endpoint_query", "r1", "PUT", "default", "SELECT 1")
    assert rules.admit(key) == ("endpoint_query", OTHER, OTHER, "default", "SELECT 1")


def test_names_are_cleaned_before_they_are_admitted():
    assert Cardinality().admit(("block", "a\nb")) == ("block", r"a\x0ab")


def test_a_kind_of_a_newer_version_passes_unchanged():
    assert Cardinality().admit(("kind of tomorrow", "x")) == ("kind of tomorrow", "x")


def test_every_kind_with_labels_is_bounded_and_numbers_are_unique():
    recorded = [kind for kind in KINDS.values() if kind.labels]
    assert all(kind.caps for kind in recorded)
    assert len({kind.number for kind in KINDS.values()}) == len(KINDS)
