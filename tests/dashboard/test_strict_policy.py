"""The pages hold nothing that a strict Content-Security-Policy forbids: no inline script, style or handler."""

from __future__ import annotations

import pytest

from tests.dashboard.conftest import ADDRESSES

PAGES = pytest.mark.parametrize("name", [*ADDRESSES, "explain"])
WITHOUT_CHARTS = {"sample", "database", "advice", "explain", "health"}


@pytest.fixture
def elements(fill, store, open_page):
    """Return a function that gives the elements of a page with something to show."""
    store(("cache", "default", "l2"), 310_000, keys=1)
    store(("cache_key", "default", "product:*"), 0, l2=1)
    store(("pool", "default"), 1_000)
    store(("pool_hold", "default"), 1_000)
    store(("compression", "list", "GET", "zstd"), 1_000, bytes_in=5_000, bytes_out=900)
    fill()
    return lambda name: open_page(name).elements


@PAGES
def test_every_script_is_a_file_of_ours_or_data(elements, name):
    scripts = [one for one in elements(name) if one.tag == "script"]
    inline = [one for one in scripts if "src" not in one.attributes]
    assert {one.attributes["type"] for one in inline} == (set() if name in WITHOUT_CHARTS else {"application/json"})
    assert all(one.attributes["src"].startswith("/static/") for one in scripts if one not in inline)


@PAGES
def test_there_is_no_inline_style(elements, name):
    found = elements(name)
    assert [one for one in found if one.tag == "style" or "style" in one.attributes] == []
    sheets = [one.attributes["href"] for one in found if one.attributes.get("rel") == "stylesheet"]
    assert sheets
    assert all(sheet.startswith("/static/") for sheet in sheets)


@PAGES
def test_there_is_no_handler_in_an_attribute(elements, name):
    names = {attribute for one in elements(name) for attribute in one.attributes}
    assert [attribute for attribute in names if attribute.startswith("on")] == []


@PAGES
def test_nothing_is_loaded_from_another_site(elements, name):
    for element in elements(name):
        for attribute in ("src", "href", "action", "formaction"):
            value = element.attributes.get(attribute) or ""
            assert not value.startswith(("http", "//", "data:", "javascript:"))
