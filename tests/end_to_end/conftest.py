"""A browser for the session, a fresh page for each test, and a site on a database of its own."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from django.conf import settings

from tests.end_to_end.browser import launch, open_page
from tests.end_to_end.server import Site, temporary_database


@pytest.fixture(scope="session")
def browser():
    """Chromium, started with the first test that asks for it."""
    with launch() as running:
        yield running


@pytest.fixture
def page(browser):
    """A page without cookies or cache. An error in its console fails the test, unless that clears `page.errors`."""
    with open_page(browser) as (opened, errors):
        opened.errors = errors
        yield opened
        opened.evaluate("0")  # a round trip: playwright hands over pending messages only during a call
        assert errors == [], "the browser's console shows errors"


@pytest.fixture(scope="session")
def template_database(tmp_path_factory):
    """The name of a database with all tables: copying it takes a tenth of the time of migrating."""
    with temporary_database(settings.POSTGRES.url) as url:
        Site(tmp_path_factory.mktemp("template"), url).manage("migrate", "--verbosity=0")
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture
def database_url(template_database):
    """A fresh copy of the database with all tables."""
    with temporary_database(settings.POSTGRES.url, template_database) as url:
        yield url
