"""A store with something of every kind in it, and clean scrapes."""

from __future__ import annotations

import pytest

from django_perf.exporters import views
from tests.exporters.data import everything
from tests.store.conftest import _tables_on_sqlite, alias  # noqa: F401 - fixtures
from tests.store.data import MIDNIGHT, put


@pytest.fixture(autouse=True)
def _nothing_kept():
    """Answer no scrape with what another test has kept."""
    for one in views.kept.values():
        one.forget()


@pytest.fixture
def filled(alias, monkeypatch):  # noqa: F811 - the fixture
    """A store with something of every kind, of two hosts; it is a minute later."""
    monkeypatch.setattr("time.time", lambda: MIDNIGHT * 60.0 + 60)
    for host in ("web1", "web2"):
        tables, levels = everything()
        put(alias, {MIDNIGHT: tables}, host=host, levels=levels)
    return alias
