"""Find the servers of the demo: those named in the environment, private ones, or what goes without."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
NO_POSTGRES = (
    "No PostgreSQL found ({reason}): the shop runs on SQLite. Not shown: many writers at once, PostgreSQL's query "
    "times and connections, and everything that later builds on them."
)
NO_REDIS = (
    "No Redis found ({reason}): each worker keeps a cache of its own. Not shown: a cache shared by all workers; "
    "a change made in one worker is seen by the others only when their entry runs out."
)


@dataclass(frozen=True, slots=True)
class Server:
    """What the shop connects to, and a line that tells the user about it."""

    url: str
    note: str


def database(environ: Mapping[str, str], folder: Path) -> Server:
    """Return the database: DATABASE_URL, a private PostgreSQL, or a SQLite file in `folder`."""
    if url := environ.get("DATABASE_URL"):
        return Server(url, "Database: the one in DATABASE_URL")
    from tests.services import ServiceNotFound, find_postgres

    try:
        service = find_postgres()
    except ServiceNotFound as error:
        return Server(f"sqlite:///{folder / 'shop.sqlite3'}", NO_POSTGRES.format(reason=error))
    return Server(service.url, f"Database: {service.name}, {service.origin}")


def redis(environ: Mapping[str, str]) -> Server:
    """Return the cache: REDIS_URL, a private Redis, or none."""
    if url := environ.get("REDIS_URL"):
        return Server(url, "Cache: the one in REDIS_URL")
    from tests.services import ServiceNotFound, find_redis

    try:
        service = find_redis()
    except ServiceNotFound as error:
        return Server("", NO_REDIS.format(reason=error))
    return Server(service.url, f"Cache: {service.name}, {service.origin}")


def child_environment(environ: Mapping[str, str], database_url: str, redis_url: str) -> dict[str, str]:
    """Return the environment of all children."""
    return {
        **environ,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SHOP_CACHE_TABLE": "shop_cache",
        "SECRET_KEY": secrets.token_urlsafe(32),
        "SHOP_FAULTS": "all",
    }


def free_port(wanted: int) -> int:
    """Return `wanted` when nobody listens there, else a port that the system picks."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # As gunicorn does: connections of an earlier run that linger in TIME_WAIT do not occupy the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise OSError(f"no free port on {HOST}")
