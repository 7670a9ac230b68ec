"""The pages hold nothing that a strict Content-Security-Policy forbids: no inline script, style or handler."""

from __future__ import annotations

import pytest

from tests.dashboard.conftest import CACHE_PAGE, ENDPOINT, OVERVIEW

PAGES = pytest.mark.parametrize(
    ("page", "parameters"),
    [(OVERVIEW, {}), (OVERVIEW, {"since": "24h"}), (ENDPOINT, {"route": "fine", "method": "GET"}), (CACHE_PAGE, {})],
)


@pytest.fixture(autouse=True)
def _something_to_show(store):
    store(("request", "fine", "GET", "2xx"), 1_000, 2_000, queries=3)
    store(("endpoint_query", "fine", "GET", "default", "SELECT ?"), 500)
    store(("exception", "fine", "GET", "LookupError"), 1)
    store(("cache", "default", "l2"), 310_000, keys=1)
    store(("cache_key", "default", "product:*"), 0, l2=1)


@PAGES
def test_every_script_is_a_file_of_ours_or_data(show, page, parameters):
    scripts = [one for one in show(page, **parameters).elements if one.tag == "script"]
    inline = [one for one in scripts if "src" not in one.attributes]
    assert {one.attributes["type"] for one in inline} == {"application/json"}
    assert all(one.attributes["src"].startswith("/static/") for one in scripts if one not in inline)


@PAGES
def test_there_is_no_inline_style(show, page, parameters):
    elements = show(page, **parameters).elements
    assert [one for one in elements if one.tag == "style" or "style" in one.attributes] == []
    sheets = [one.attributes["href"] for one in elements if one.attributes.get("rel") == "stylesheet"]
    assert all(sheet.startswith("/static/") for sheet in sheets)


@PAGES
def test_there_is_no_handler_in_an_attribute(show, page, parameters):
    names = {name for one in show(page, **parameters).elements for name in one.attributes}
    assert [name for name in names if name.startswith("on")] == []


@PAGES
def test_nothing_is_loaded_from_another_site(show, page, parameters):
    for element in show(page, **parameters).elements:
        for name in ("src", "href", "action"):
            assert not (element.attributes.get(name) or "").startswith(("http", "//", "data:", "javascript:"))
