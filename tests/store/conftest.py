"""The store on both databases: tests that take `alias` run twice."""

from __future__ import annotations

import pytest
from django.db import connections

from django_perf.store.models import AlertState, Delta, Lease, Mark, Order, Process, Rollup, Sample, Series, Total

MODELS = (AlertState, Series, Delta, Rollup, Total, Mark, Order, Sample, Process, Lease)


@pytest.fixture(scope="session")
def _tables_on_sqlite(django_db_setup, django_db_blocker):
    """The router makes the tables on the alias of the settings only, which is PostgreSQL when `migrate` runs."""
    with django_db_blocker.unblock(), connections["sqlite"].schema_editor() as editor:
        # Another folder that imports this fixture has one of its own.
        known = connections["sqlite"].introspection.table_names()
        for model in MODELS:
            if model._meta.db_table not in known:
                editor.create_model(model)


@pytest.fixture(params=["default", "sqlite"], ids=["postgresql", "sqlite"])
def alias(request, settings, _tables_on_sqlite):
    """The alias of the store, with the settings to match."""
    settings.DJANGO_PERF = {"DATABASE": request.param}
    yield request.param
    if request.node.get_closest_marker("django_db").kwargs.get("transaction"):
        empty(request.param)


def empty(alias):
    """Delete what a test committed: Django's own flush passes by tables that the router keeps off a database."""
    connections[alias].close()
    for model in MODELS:
        model._base_manager.using(alias).all()._raw_delete(alias)
