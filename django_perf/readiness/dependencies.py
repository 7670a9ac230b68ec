"""Ask what a request cannot do without: the databases, the cache, the migrations."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from ..metrics.recorder import recorder
from ..store.alias import store_alias

_DUMMY = "django.db.backends.dummy"
_KEY = "django_perf:ready"


def databases() -> Iterator[str]:
    """Yield the aliases that requests need: not that of our own store, without which the site serves all the same."""
    try:
        store = store_alias()
    except ImproperlyConfigured:
        store = DEFAULT_DB_ALIAS
    for alias, settings in connections.settings.items():
        if settings["ENGINE"] != _DUMMY and (alias == DEFAULT_DB_ALIAS or alias != store):
            yield alias


def ask_database(alias: str) -> str:
    """Have a database answer, on a connection of this thread: of a pool one that it lends."""
    connection = connections[alias]
    with recorder.paused():
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT 1{connection.features.bare_select_suffix}")
                cursor.fetchone()
        finally:
            connection.close()
    return ""


def ask_cache() -> str:
    """Have the default cache answer. A MultiLevelCache does so without Redis, and so does the site."""
    with recorder.paused():
        caches["default"].get(_KEY)
    return ""


class Migrations:
    """Compare the migrations of the default database with the code, until none is missing; then remember that."""

    def __init__(self) -> None:
        self.are_applied = False

    def ask(self) -> str:
        """Return how many are missing, "" for none."""
        connection = connections[DEFAULT_DB_ALIAS]
        with recorder.paused():
            try:
                executor = MigrationExecutor(connection)
                missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
            finally:
                connection.close()
        self.are_applied = not missing
        return f"{missing} migrations are not applied" if missing else ""
