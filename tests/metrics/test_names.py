from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_perf.metrics.names import clean

anything = st.text(st.characters(codec=None, categories=None), max_size=300)


@given(anything, st.integers(1, 250))
def test_cleaned_text_is_bounded_printable_and_encodable(text, limit):
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert "\n" not in cleaned
    assert "\x1b" not in cleaned
    assert "\x00" not in cleaned
    cleaned.encode("utf-8")
    json.dumps(cleaned)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop/products", "shop/products"),
        ("a\x00b", r"a\x00b"),
        ("line\nforged", r"line\x0aforged"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("\x85", r"\x85"),
        ("Größe 商品", "Größe 商品"),
    ],
)
def test_what_could_forge_or_hide_is_escaped_and_the_rest_kept(text, expected):
    assert clean(text) == expected


def test_a_text_of_ten_megabytes_is_cut_with_a_sign():
    assert clean("x" * 10_000_000, 10) == "x" * 9 + "…"
