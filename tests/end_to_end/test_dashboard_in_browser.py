"""The pages in Chromium under a strict Content-Security-Policy, as people with different needs and devices see them."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from threading import Event

import pytest
from django.conf import settings

from django_perf.reports.text import text_of
from tests.end_to_end.browser import find_accessibility_faults, open_page
from tests.end_to_end.project.shapes import PLANNED_ID
from tests.end_to_end.server import Site, temporary_database

LOGIN = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": "night", "DJANGO_SUPERUSER_EMAIL": "r@x.org"}
OVERVIEW = "/admin/django_perf/performance/"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": DESKTOP},
    "dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "phone": {"color_scheme": "light", "viewport": PHONE, "has_touch": True},
}
PAGES = {
    "overview": f"{OVERVIEW}?since=1h",
    "endpoint": f"{OVERVIEW}endpoint/?route=products&method=GET&since=1h",
    "pool": f"{OVERVIEW}pool/?since=1h",
    "cache": f"{OVERVIEW}cache/?since=1h",
    "compression": f"{OVERVIEW}compression/?since=1h",
    "queries": f"{OVERVIEW}queries/?since=1h",
    "query": f"{OVERVIEW}query/?id={PLANNED_ID}&since=1h",
    "sample": f"{OVERVIEW}sample/?id=1&since=1h",
    "database": f"{OVERVIEW}database/?since=1h",
    "advice": f"{OVERVIEW}advice/?since=1h",
    "requests": f"{OVERVIEW}requests/?since=1h&text=pro",
    "exceptions": f"{OVERVIEW}exceptions/?since=1h&against=yesterday",
    "processes": f"{OVERVIEW}processes/?since=1h",
    "health": f"{OVERVIEW}health/?since=1h",
    # A click away: it is the answer to a form.
    "plan": f"{OVERVIEW}query/?id={PLANNED_ID}&since=1h",
}
PATIENCE_S = 20
# The lines of both charts, of those that have some; tables that are there at once or with the worker's next flush.
LINES = {"overview": 5, "endpoint": 5, "pool": 6, "cache": 7, "compression": 3, "queries": 2, "query": 5}
LINES |= {"requests": 5, "exceptions": 1, "processes": 8}
CHARTS = {"exceptions": 1, "processes": 4}
TABLES = {"sample": 1, "advice": 0, "plan": 0, "requests": 1, "exceptions": 1, "processes": 1}
# What a page without charts has instead.
OWN = {"sample": ".perf-bar rect", "database": ".perf-card", "advice": ".perf-note.perf-high", "plan": ".perf-note pre"}
OWN |= {"health": ".perf-card"}


@contextmanager
def visitors(site):
    """Have the site visited for as long as the block lasts."""
    is_over = Event()

    def come():
        while not is_over.wait(0.1):
            site.get("/fast")

    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(come)
        try:
            yield
        finally:
            is_over.set()
        coming.result()


def with_history(folder, url, **environment):
    """Return a site with two hours behind it, and someone who may see all of it."""
    site = Site(folder, url, flush_interval=0.2, **environment)
    site.manage("createsuperuser", "--noinput", **LOGIN)
    site.run("history")
    site.run("feature_history")
    return site


@pytest.fixture(scope="module")
def site(template_database, tmp_path_factory):
    """A site that gunicorn serves; every response carries the policy of project/csp.py."""
    with temporary_database(settings.POSTGRES.url, template_database) as url:
        served = with_history(tmp_path_factory.mktemp("site"), url)
        ten_minutes_ago = datetime.now(UTC) - timedelta(minutes=10)
        served.manage("perfmark", "v2.3", "--at", ten_minutes_ago.isoformat())
        with served.running("--workers=1", "--threads=4"), visitors(served):
            yield served


def log_in(site, page):
    """Fill in the form."""
    page.goto(f"{site.url}{OVERVIEW}")
    page.fill("#id_username", "root")
    page.fill("#id_password", "night")
    page.click("[type=submit]")
    page.wait_for_selector(".perf")


@pytest.fixture(scope="module")
def session(site, browser):
    """The cookies of someone who has logged in through the form."""
    with open_page(browser) as (page, errors):
        log_in(site, page)
        assert page.locator("h1").last.inner_text() == "Performance"
        assert errors == []
        return page.context.storage_state()


def visit(site, page, name_or_path):
    """Open one of PAGES, or a path."""
    response = page.goto(f"{site.url}{PAGES.get(name_or_path, name_or_path)}")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    if name_or_path == "plan":
        page.click("button:text-is('Explain')")
    return page


@pytest.fixture
def opened(site, session, browser):
    """Return a function that opens a page in a context with these options; errors of the console fail the test."""
    with ExitStack() as stack:
        seen = []

        def open_fresh(name_or_path, **options):
            seen.append(stack.enter_context(open_page(browser, storage_state=session, **options)))
            return visit(site, seen[-1][0], name_or_path)

        yield open_fresh
        for page, errors in seen:
            page.evaluate("0")  # a round trip: pending messages arrive with it
            assert errors == []


@pytest.fixture(scope="module")
def contexts(session, browser):
    """Return a function that gives the one context of each of LOOKS: its cache spares most of the loading."""
    with ExitStack() as stack:
        yield cache(lambda style: stack.enter_context(open_page(browser, storage_state=session, **LOOKS[style])))


@pytest.fixture
def look(site, contexts, tmp_path):
    """Return a function that opens a page in one of LOOKS, and leaves a screenshot; errors fail the test as well."""
    seen = []

    def open_in_look(name, style):
        page, errors = contexts(style)
        errors.clear()
        seen.append((page, errors))
        visit(site, page, name)
        page.wait_for_selector(".perf-plot.is-drawn canvas" if name in LINES else OWN[name])
        page.screenshot(path=str(tmp_path / f"{name}-{style}.png"), full_page=True)
        return page

    yield open_in_look
    for page, errors in seen:
        page.evaluate("0")
        assert errors == []


EVERY_LOOK = pytest.mark.parametrize("style", LOOKS)
EVERY_PAGE = pytest.mark.parametrize("name", PAGES)


@EVERY_PAGE
@EVERY_LOOK
def test_a_page_draws_its_charts_fits_its_screen_and_has_no_accessibility_fault(look, name, style):
    page = look(name, style)
    assert page.locator(".perf-plot canvas").count() == (CHARTS.get(name, 2) if name in LINES else 0)
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert find_accessibility_faults(page) == []


@EVERY_PAGE
def test_without_javascript_tables_and_lines_are_there(opened, name):
    page = opened(name, java_script_enabled=False)
    assert page.locator(".perf-plot svg path:not(.perf-moment)").count() == LINES.get(name, 0)
    assert page.locator(".perf-plot svg path.perf-moment").count() == (CHARTS.get(name, 2) if name in LINES else 0)
    assert page.locator(".perf-plot svg" if name in LINES else OWN[name]).first.is_visible()
    # The worker's own row is there while its last flush is fresh, which on a starved machine it may not be just now.
    deadline, tables = time.monotonic() + PATIENCE_S, TABLES.get(name, 2)
    while page.locator(".perf-section table").count() < tables and time.monotonic() < deadline:
        page.reload()
    assert page.locator(".perf-section table").count() >= tables
    assert not tables or page.locator(".perf-section tbody tr").first.is_visible()


CELLS = """(name) => [...document.querySelectorAll(`[aria-labelledby=table-${name}] tbody tr`)].map(
    (row) => [...row.children].map((cell) => cell.textContent.trim())
)"""
FIGURES = ["requests", "queries", "exceptions"]


def test_the_figures_are_those_of_perfstats_in_json_for_the_same_time(site, opened):
    now = datetime.now(UTC)
    since, until = (f"{now - timedelta(minutes=back):%Y-%m-%dT%H:%MZ}" for back in (50, 5))
    said = json.loads(site.manage("perfstats", "--since", since, "--until", until, "--format", "json"))
    page = opened(f"{OVERVIEW}?since={since}&until={until}")
    for name in FIGURES:
        report = said["reports"][name]
        units = {column["name"]: column["unit"] for column in report["columns"]}
        shown = page.evaluate(CELLS, name)
        # The page shows times in the zone of who looks, and leaves out what a SELECT asks for.
        places = [place for place, (one, unit) in enumerate(units.items()) if unit != "time" and one != "sql"]
        expected = [[text_of(row[one], unit) for one, unit in units.items()] for row in report["rows"]]
        assert [[row[at] for at in places] for row in shown] == [[row[at] for at in places] for row in expected]
        assert len(shown) > 3


def test_a_click_on_an_endpoint_opens_its_page_with_the_same_range(opened):
    page = opened("overview")
    page.click("text=products/search")
    assert page.locator("h1").last.inner_text() == "GET products/search"
    assert page.locator(".perf-ranges [aria-current=page]").inner_text() == "1h"


def test_clicks_lead_from_an_endpoint_to_its_query_an_example_and_the_plan(opened):
    def heading():
        return page.locator("h1").last.inner_text(), page.locator(".perf-ranges [aria-current=page]").all_inner_texts()

    page = opened("endpoint")
    page.click(f"#table-queries >> xpath=.. >> a[href*='{PLANNED_ID}']")
    assert heading() == (f"Query {PLANNED_ID}", ["1h"])
    page.click("#table-samples >> xpath=.. >> tbody a")
    assert heading() == ("Example 1", ["1h"])
    page.click(f".perf-timeline a[href*='{PLANNED_ID}']")
    page.click("button:text-is('Explain')")
    assert heading() == (f"Plan of query {PLANNED_ID}", [])
    assert page.locator(".perf-plan ul .perf-mark").inner_text() == "expensive"
    assert (
        'models.Index(fields=["name"], name="auth_permission_name_idx")' in page.locator(".perf-note pre").inner_text()
    )
    page.click(f".perf-crumbs a[href*='{PLANNED_ID}']")
    assert heading() == (f"Query {PLANNED_ID}", ["1h"])


@pytest.mark.parametrize("style", ["light", "phone"])
def test_the_bars_of_a_timeline_lie_inside_of_its_last_column(opened, style):
    page = opened("sample", **LOOKS[style])
    columns, bars = (
        [one.bounding_box() for one in page.locator(f".perf-timeline {name}").all()] for name in (".perf-bar", "rect")
    )
    assert len(bars) == len(columns) == 7
    for column, bar in zip(columns, bars, strict=True):
        assert column["x"] - 1 <= bar["x"] < bar["x"] + bar["width"] <= column["x"] + column["width"] + 1
        assert bar["height"] >= 5


def test_a_click_on_a_column_sorts_by_it(opened):
    page = opened("overview")
    page.click("#table-requests >> xpath=../descendant::a[text()='p95']")
    assert page.locator("th[aria-sort] a").inner_text() == "p95"
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


# What makes a page where the theme has other style sheets than the admin's: lines, room, a colour behind the chosen.
DRESSED = """() => {
    const style = (selector) => getComputedStyle(document.querySelector(selector));
    return [
        style(".perf-section td").borderBottomWidth,
        style(".perf-section td").paddingLeft,
        style(".perf-card").borderTopWidth,
        style(".perf-ranges [aria-current]").backgroundColor,
        style(".perf-note").backgroundColor,
    ];
}"""


def test_a_theme_with_templates_of_its_own_shows_whole_pages(template_database, tmp_path, browser):
    with temporary_database(settings.POSTGRES.url, template_database) as url:
        site = with_history(tmp_path, url, THEME="unfold")
        with site.running("--workers=1", "--threads=4"):
            for style in LOOKS:
                with open_page(browser, **LOOKS[style]) as (page, errors):
                    log_in(site, page)
                    for name in ("overview", "endpoint"):
                        page.goto(f"{site.url}{PAGES[name]}")
                        page.wait_for_selector(".perf-plot.is-drawn canvas")
                        page.screenshot(path=str(tmp_path / f"{name}-{style}.png"), full_page=True)
                        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
                        assert find_accessibility_faults(page, ".perf") == []
                        dressed = page.evaluate(DRESSED) if name == "overview" else []
                        assert not {"0px", "rgba(0, 0, 0, 0)"} & set(dressed), dressed
                    assert errors == []
