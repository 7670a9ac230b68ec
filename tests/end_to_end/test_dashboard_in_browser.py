"""The pages in Chromium under a strict Content-Security-Policy, as people with different needs and devices see them."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from django.conf import settings

from tests.end_to_end.browser import find_accessibility_faults, open_page
from tests.end_to_end.server import Site, temporary_database

LOGIN = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": "night", "DJANGO_SUPERUSER_EMAIL": "r@x.org"}
OVERVIEW = "/admin/django_perf/performance/"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": DESKTOP},
    "dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "phone": {"color_scheme": "light", "viewport": PHONE, "has_touch": True},
    "phone-dark": {"color_scheme": "dark", "viewport": PHONE, "has_touch": True},
}
PAGES = {
    "overview": f"{OVERVIEW}?since=1h",
    "endpoint": f"{OVERVIEW}endpoint/?route=products&method=GET&since=1h",
    "pool": f"{OVERVIEW}pool/?since=1h",
    "cache": f"{OVERVIEW}cache/?since=1h",
    "compression": f"{OVERVIEW}compression/?since=1h",
}
PATIENCE_S = 20
LINES = {"overview": 5, "endpoint": 5, "pool": 6, "cache": 7, "compression": 3}


@pytest.fixture(scope="module")
def site(template_database, tmp_path_factory):
    """A site with two hours behind it, served by gunicorn; every response carries the policy of project/csp.py."""
    with temporary_database(settings.POSTGRES.url, template_database) as url:
        served = Site(tmp_path_factory.mktemp("site"), url, flush_interval=0.2)
        served.manage("createsuperuser", "--noinput", **LOGIN)
        served.run("history")
        served.run("feature_history")
        with served.running("--workers=1", "--threads=4"):
            yield served


@pytest.fixture(scope="module")
def session(site, browser):
    """The cookies of someone who has logged in through the form."""
    with open_page(browser) as (page, errors):
        page.goto(f"{site.url}{OVERVIEW}")
        page.fill("#id_username", "root")
        page.fill("#id_password", "night")
        page.click("input[type=submit]")
        assert page.locator("h1").last.inner_text() == "Performance"
        assert errors == []
        return page.context.storage_state()


@pytest.fixture
def opened(site, session, browser):
    """Return a function that opens a page in a context with these options; errors of the console fail the test."""
    with ExitStack() as stack:
        seen = []

        def visit(path, **options):
            page, errors = stack.enter_context(open_page(browser, storage_state=session, **options))
            seen.append((page, errors))
            response = page.goto(f"{site.url}{path}")
            assert "default-src 'none'" in response.headers["content-security-policy"]
            return page

        yield visit
        for page, errors in seen:
            page.evaluate("0")  # a round trip: pending messages arrive with it
            assert errors == []


@pytest.fixture
def look(opened, tmp_path):
    """Return a function that opens a page in one of LOOKS, and leaves a screenshot."""

    def visit(name, style):
        page = opened(PAGES[name], **LOOKS[style])
        page.wait_for_selector(".perf-plot.is-drawn canvas")
        page.screenshot(path=str(tmp_path / f"{name}-{style}.png"), full_page=True)
        return page

    return visit


EVERY_LOOK = pytest.mark.parametrize("style", LOOKS)
EVERY_PAGE = pytest.mark.parametrize("name", PAGES)


@EVERY_PAGE
@EVERY_LOOK
def test_a_page_draws_its_charts_and_has_no_accessibility_fault(look, name, style):
    page = look(name, style)
    assert page.locator(".perf-plot canvas").count() == 2
    assert find_accessibility_faults(page) == []


@EVERY_PAGE
@pytest.mark.parametrize("style", ["phone", "light"])
def test_a_page_never_scrolls_sideways(look, name, style):
    page = look(name, style)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


@EVERY_PAGE
def test_without_javascript_tables_and_lines_are_there(opened, name):
    page = opened(PAGES[name], java_script_enabled=False)
    assert page.locator(".perf-plot svg path").count() == LINES[name]
    assert page.locator(".perf-plot svg").first.is_visible()
    # The worker's own row is there while its last flush is fresh, which on a starved machine it may not be just now.
    deadline = time.monotonic() + PATIENCE_S
    while page.locator(".perf-section table").count() < 2 and time.monotonic() < deadline:
        page.reload()
    assert page.locator(".perf-section table").count() >= 2
    assert page.locator(".perf-section tbody tr").first.is_visible()


def test_a_click_on_an_endpoint_opens_its_page_with_the_same_range(opened):
    page = opened(PAGES["overview"])
    page.click("text=products/search")
    assert page.locator("h1").last.inner_text() == "GET products/search"
    assert page.locator(".perf-ranges [aria-current=page]").inner_text() == "1h"


def test_a_click_on_a_column_sorts_by_it(opened):
    page = opened(PAGES["overview"])
    page.click("#table-requests >> xpath=../descendant::a[text()='p95']")
    assert page.locator("th [aria-current=true]").inner_text() == "p95"
    assert page.locator(".perf tbody th").first.inner_text() == "checkout/<str:token>/confirm"


REFRESH_NOW = "document.dispatchEvent(new Event('visibilitychange'))"
# The figures reach the store with the worker's next flush, so it takes a refresh or two.
REFRESH_UNTIL_PEOPLE = f"""() => {{
    {REFRESH_NOW};
    return [...document.querySelectorAll("tbody th a")].some((link) => link.textContent === "people");
}}"""


def test_a_refresh_shows_new_figures_and_leaves_focus_and_scrolling_alone(site, opened):
    page = opened(f"{OVERVIEW}?since=5m", viewport=PHONE)
    page.locator("a:text-is('7d')").focus()
    page.evaluate("document.querySelector('.perf-scroll').scrollLeft = 60")
    assert page.locator("a:text-is('people')").count() == 0
    site.get("/people")
    page.wait_for_function(REFRESH_UNTIL_PEOPLE, polling=200)
    assert page.evaluate("document.activeElement.textContent") == "7d"
    assert page.evaluate("document.querySelector('.perf-scroll').scrollLeft") == 60
    assert page.locator(".perf-plot canvas").count() == 2
    assert page.locator("[data-refresh]").inner_text() == ", live"


def test_a_refresh_that_fails_keeps_the_page_and_says_so(session, site, browser):
    with open_page(browser, storage_state=session) as (page, errors):
        page.goto(f"{site.url}{OVERVIEW}?since=1h")
        page.context.set_offline(True)
        page.evaluate(REFRESH_NOW)
        page.wait_for_selector("text=not refreshed, trying again")
        assert page.locator(".perf-section tbody tr").first.is_visible()
        page.context.set_offline(False)
        page.evaluate(REFRESH_NOW)
        page.wait_for_selector("[data-refresh]:text-is(', live')")
        assert errors == ["Failed to load resource: net::ERR_INTERNET_DISCONNECTED"]
