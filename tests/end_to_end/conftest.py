"""A browser for the session and a fresh page for each test."""

from __future__ import annotations

import pytest

from tests.end_to_end.browser import launch, open_page


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
