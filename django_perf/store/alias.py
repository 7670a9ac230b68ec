"""Decide which database holds the store, and keep its tables there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections, router

from ..conf import get_settings

APP = "django_perf"
# The alias of the store's own file, where the host's default database is SQLite.
OWN_ALIAS = "django_perf"
_SQLITE = "django.db.backends.sqlite3"


class StoreRouter:
    """Send the models of django_perf to the store's alias, and leave all others alone."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return the store's alias for its models."""
        return store_alias() if model._meta.app_label == APP else None

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        """Have no opinion."""
        return None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Make the store's tables on its alias only, and nothing else in a file of its own."""
        if app_label == APP:
            return self._is_store(db)
        return False if db == OWN_ALIAS and _is_own_file() else None

    def _is_store(self, db: str) -> bool | None:
        """Have no opinion while the settings are wrong: `check` asks every router, and is to say what is wrong."""
        try:
            return db == store_alias()
        except ImproperlyConfigured:
            return None


def store_alias() -> str:
    """Return the alias of the store: the setting DATABASE, else a file of its own beside SQLite, else default."""
    chosen = get_settings().database
    if chosen is not None:
        return chosen
    return OWN_ALIAS if OWN_ALIAS in connections.settings else DEFAULT_DB_ALIAS


def install() -> None:
    """Add the router, and on SQLite an alias with a file of its own; called once from apps.ready().

    Two writers share one SQLite file badly: in WAL mode a flush between a host transaction's read and its write makes
    that transaction fail at once with "database is locked".
    """
    if not any(isinstance(known, StoreRouter) for known in router.routers):
        router.routers.append(StoreRouter())
    databases = connections.settings
    default = databases[DEFAULT_DB_ALIAS]
    if OWN_ALIAS not in databases and _wants_own_file(default):
        own = connections.configure_settings({OWN_ALIAS: _own_file(default), DEFAULT_DB_ALIAS: {}})
        connections.settings = _Databases(databases, own[OWN_ALIAS])


class _Databases(dict[str, dict[str, Any]]):
    """Know the store's own alias without showing it to those who walk over all databases.

    Django does so four times a request to close old connections, which costs 1.1 us an alias; test runners do to make
    test databases. Neither is wanted for a file that only our own threads open, and close themselves. `__iter__` stays
    the dict's own: one in Python would cost as much as it saves.
    """

    def __init__(self, shown: dict[str, dict[str, Any]], own: dict[str, Any]) -> None:
        super().__init__(shown)
        self._own = own

    def __contains__(self, alias: object) -> bool:
        return alias == OWN_ALIAS or super().__contains__(alias)

    def __missing__(self, alias: str) -> dict[str, Any]:
        if alias == OWN_ALIAS:
            return self._own
        raise KeyError(alias)


def migrate_own_file(*, using: str = DEFAULT_DB_ALIAS, verbosity: int = 1, **kwargs: object) -> None:
    """Make the tables in the store's own file after `migrate` of the default database; receiver of post_migrate."""
    if using == DEFAULT_DB_ALIAS and _is_own_file() and store_alias() == OWN_ALIAS:
        call_command("migrate", APP, database=OWN_ALIAS, verbosity=verbosity, interactive=False)


def _is_own_file() -> bool:
    return isinstance(connections.settings, _Databases)


def _wants_own_file(default: dict[str, Any]) -> bool:
    name = str(default.get("NAME", ""))
    is_memory = ":memory:" in name or "mode=memory" in name
    return default["ENGINE"] == _SQLITE and bool(name) and not is_memory and get_settings().database is None


def _own_file(default: dict[str, Any]) -> dict[str, Any]:
    path = Path(str(default["NAME"]))
    return {
        "ENGINE": _SQLITE,
        "NAME": str(path.with_name(f"{path.stem}.perf{path.suffix or '.sqlite3'}")),
        "OPTIONS": {
            "timeout": 2,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;",
        },
    }
