"""The client gets what it likes best, never what it refused, and whatever it writes is read in linear time."""

from __future__ import annotations

from time import perf_counter

import pytest
from django.http import HttpResponse

from django_perf.compression.negotiation import _chosen, choose, weights_of
from tests.compression.coding import CODINGS, PAGE, answered, asked

# As browsers and tools send it.
REAL = [
    ("gzip, deflate, br, zstd", "zstd"),
    ("gzip, deflate, br", "br"),
    ("gzip, deflate", "gzip"),
    ("gzip", "gzip"),
    ("deflate", "identity"),
    ("identity", "identity"),
    ("*", "zstd"),
    ("*/*", "identity"),
    ("", "identity"),
    ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
    ("gzip,deflate;q=0.6,identity;q=0.3", "gzip"),
    ("br;q=1.0, gzip;q=0.8, *;q=0.1", "br"),
    ("compress, gzip", "gzip"),
    ("x-gzip", "gzip"),
    ("br\t;\tq=0.5 ,gzip ; q=0.4", "br"),
]


@pytest.mark.parametrize(("header", "coding"), REAL)
def test_what_clients_really_send_is_understood(header, coding):
    assert choose(header, CODINGS) == coding


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip, br, zstd", "zstd"),
        ("br, gzip", "br"),
        ("gzip;q=0.5, br;q=0.5, zstd;q=0.5", "zstd"),
        ("zstd;q=0.001, gzip;q=0.002", "gzip"),
        ("zstd;q=0.999, br;q=1.000", "br"),
        ("gzip;q=0.5, *", "zstd"),
        ("zstd;q=0, br;q=0, *;q=0.1", "gzip"),
    ],
)
def test_more_liking_wins_and_at_equal_liking_the_better_coding(header, coding):
    assert choose(header, CODINGS) == coding


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("identity;q=0.5, gzip;q=0.4", "identity"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity, gzip;q=0.999", "identity"),
        ("identity;q=0.5, *;q=0.4", "identity"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
    ],
)
def test_identity_wins_only_where_it_is_liked_more(header, coding):
    assert choose(header, CODINGS) == coding


@pytest.mark.parametrize("header", ["identity;q=0", "*;q=0", "identity;q=0, *;q=0", "gzip;q=0, br;q=0, zstd;q=0"])
def test_who_accepts_nothing_gets_the_page_as_it_is_and_never_406(header):
    response = answered(HttpResponse(PAGE), asked(header))
    assert (response.status_code, response.content) == (200, PAGE)
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("header", ["GZIP", "gZiP;Q=0.5", "X-GZIP", "x-GZip", "\tgzip\t"])
def test_case_and_blanks_do_not_matter(header):
    assert choose(header, CODINGS) == "gzip"


@pytest.mark.parametrize("other", ["gzip;q=0, x-gzip", "x-gzip;q=0, gzip", "gzip;q=0, GZIP", "gzip, gzip;q=0"])
def test_who_refuses_a_coding_once_does_not_get_it(other):
    assert choose(other, CODINGS) == "identity"


WRONG = ["=", "=none", "=-0", "=-1", "=+1", "=2", "=1.5", "=1.001", "=0.1234", "=.5", "=1e0", "=nan", "=inf", "=0,5"]
WRONG += ["=0x1", "=0_1", "=١", "= 1", " =1", "==1", "=1 1", '="1"', "=1;a=b", "=0.5\x0b", "=0.5\n", "", "=1;"]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_weight_outside_the_grammar_is_a_refusal(wrong):
    assert choose(f"gzip;q{wrong}", ("gzip",)) == "identity"
    assert choose(f"br;q=0.1, gzip;q{wrong}", ("gzip", "br")) == "br"


@pytest.mark.parametrize(
    "item", ["gzip;", "gzip;anything=1", "gzip;a=1;q=1", "gz ip", "gzip\x00", "\xa0gzip", "gzip q=1"]
)
def test_an_item_outside_the_grammar_is_a_refusal(item):
    assert choose(item, ("gzip",)) == "identity"
    assert choose(f"*, {item}", CODINGS) == "zstd"


@pytest.mark.parametrize("weight", ["0.5", "0.50", "0.500", "1", "1.", "1.0", "1.00", "1.000", "0.001"])
def test_a_weight_has_up_to_three_places(weight):
    assert choose(f"gzip;q={weight}", CODINGS) == "gzip"


def test_empty_items_are_passed_over():
    assert choose(",, ,gzip,\t,", CODINGS) == "gzip"


def test_a_header_of_one_kilobyte_is_read_and_one_more_is_not():
    header = "gzip," + "a" * 1_019
    assert choose(header, CODINGS) == "gzip"
    assert choose(header + "a", CODINGS) == "identity"


def test_32_items_are_read_and_33_are_not():
    assert choose(",".join(["a"] * 31 + ["gzip"]), CODINGS) == "gzip"
    assert choose(",".join(["gzip"] + ["a"] * 32), CODINGS) == "identity"
    assert choose("," * 32 + "gzip", CODINGS) == "identity"


def test_a_wildcard_is_no_wish_for_a_coding_that_needs_a_dictionary():
    assert choose("*", ("dcz", "gzip")) == "gzip"
    assert choose("*, dcz", ("dcz", "gzip")) == "dcz"


def test_what_is_not_offered_is_not_chosen():
    assert choose("zstd, br;q=0.5", ("gzip",)) == "identity"
    assert choose("zstd, gzip;q=0.1, *;q=0.05", ("gzip",)) == "gzip"
    assert choose("*", ()) == "identity"


def best_s(function, *arguments, runs=30):
    """Return the time of the fastest run: others may have been interrupted."""
    times = []
    for _ in range(runs):
        began = perf_counter()
        function(*arguments)
        times.append(perf_counter() - began)
    return min(times)


HOSTILE = ["gzip;", ",", " ", "\t,", "q=0.", "gzip, ", ";q=", "é", "\x00", "a ", "*;q=0.001,", "gzip;q=0.0"]


@pytest.mark.parametrize(("length", "most_s"), [(8_192, 0.000_1), (5_000_000, 0.001)])
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_long_header_costs_nothing(piece, length, most_s):
    header = (piece * length)[:length]
    assert choose(header, CODINGS) == "identity"
    assert best_s(choose, header, CODINGS) < most_s


@pytest.mark.parametrize("piece", HOSTILE)
def test_the_longest_header_that_is_read_takes_no_longer_than_its_length_says(piece):
    short, long = ((piece * 1_024)[:length] for length in (128, 1_024))
    assert best_s(weights_of, long) < max(40 * best_s(weights_of, short), 0.000_2)


def test_what_visitors_write_is_not_remembered_for_ever():
    for number in range(2_000):
        choose(f"gzip, {number}", CODINGS)
    assert _chosen.cache_info().currsize <= 256
