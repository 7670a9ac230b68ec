"""Turn environment variables into Django settings; pure functions of the text they are given."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

POSTGRES_SCHEMES = ("postgres", "postgresql")
POOLED = "django_perf.pool.postgresql"


def database_from_url(url: str, sqlite_file: Path) -> dict[str, Any]:
    """Return a DATABASES entry for postgres://user:pass@host:port/name or sqlite:///file, else of `sqlite_file`."""
    if not url:
        return sqlite_database(str(sqlite_file))
    parts = urlsplit(url)
    if parts.scheme in POSTGRES_SCHEMES:
        return postgres_database(parts)
    if parts.scheme == "sqlite" and len(parts.path) > 1:
        return sqlite_database(unquote(parts.path[1:]))
    raise ValueError(
        f"DATABASE_URL has the scheme {parts.scheme!r}; use postgres://user:password@host:port/name or sqlite:///file"
    )


def postgres_database(parts: SplitResult) -> dict[str, Any]:
    """Return the PostgreSQL entry; an absent part is left to libpq's own default."""
    return {
        "ENGINE": POOLED,
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }


def sqlite_database(name: str) -> dict[str, Any]:
    """Return the SQLite entry, set up for several writing processes."""
    options = {
        # Without WAL a writer blocks all readers; without IMMEDIATE two transactions that read first and then write
        # fail at once with "database is locked", whatever the timeout says.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}


def with_small_pool(databases: dict[str, Any], faults: Collection[str]) -> dict[str, Any]:
    """Return the databases, and where that fault is named a second way to PostgreSQL, by one connection alone."""
    default = databases["default"]
    if "held-connection" not in faults or default["ENGINE"] != POOLED:
        return databases
    return {**databases, "small": {**default, "OPTIONS": {"pool": {"max_size": 1}}}}


def cache_from_url(url: str, max_connections: int, table: str = "") -> dict[str, Any]:
    """Return a CACHES entry: each process's memory, over Redis at `url`, over a table; the last two where given."""
    options: dict[str, Any] = {"L2": {"CONNECTION_POOL_KWARGS": {"max_connections": max_connections}}} if url else {}
    if table:
        options["L3"] = {"table": table}
    return {
        "BACKEND": "django_perf.cache.MultiLevelCache",
        "LOCATION": url,
        "KEY_PREFIX": "shop",
        "OPTIONS": options,
    }


def comma_separated(text: str) -> frozenset[str]:
    """Return the names in `a, b,c`, in the spelling of the routes (`n_plus_one` means `n-plus-one`)."""
    return frozenset(name.strip().replace("_", "-") for name in text.split(",") if name.strip())
