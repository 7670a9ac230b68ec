"""A database alias that works with the pooled engine, on the database of the tests."""

from __future__ import annotations

import pytest
from django.db import connections

from django_perf.pool.postgresql.base import DatabaseWrapper

ALIAS = "pooled"


@pytest.fixture
def pooled(django_db_setup, django_db_blocker):
    """Return a function that configures the alias with pool options and returns this thread's wrapper."""

    def configure(pool: object = None, **options: object) -> DatabaseWrapper:
        settings = {**connections["default"].settings_dict, "ENGINE": "django_perf.pool.postgresql"}
        settings["OPTIONS"] = {**options, **({} if pool is None else {"pool": pool})}
        connections.settings[ALIAS] = settings
        return connections[ALIAS]

    with django_db_blocker.unblock():
        yield configure
        _remove()


def _remove() -> None:
    connections["default"].close()
    if ALIAS in connections.settings:
        connections[ALIAS].close()
        connections[ALIAS].close_pool()
        del connections[ALIAS]
        del connections.settings[ALIAS]
