"""The example project's settings on real servers, which start with the first import and end with that process.

pytest-django imports this before any conftest, so this is the one early enough place. Workers of xdist and child
processes get the servers by environment variable. DJANGO_PERF_NO_SERVICES=1 (lint) starts nothing.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from example_project.environment import cache_from_url
from example_project.settings import *  # noqa: F403
from tests.services import POSTGRES_VARIABLE, REDIS_VARIABLE, Service, ServiceNotFound, find_postgres, find_redis

FOLDER_VARIABLE = "DJANGO_PERF_TEST_FOLDER"
STARTS_NOTHING = os.environ.get("DJANGO_PERF_NO_SERVICES") == "1"


def _find_services() -> tuple[Service, Service]:
    if STARTS_NOTHING:
        nothing = "nowhere: DJANGO_PERF_NO_SERVICES=1"
        return (
            Service("PostgreSQL", "postgres://user:password@127.0.0.1:1/postgres", nothing),
            Service("Redis", "redis://127.0.0.1:1/0", nothing),
        )
    try:
        return find_postgres(), find_redis()
    except ServiceNotFound as error:
        sys.exit(str(error))


def _temporary_folder() -> Path:
    """One folder for this process and its children; the process that made it removes it."""
    if STARTS_NOTHING:  # mypy leaves without running exit handlers, so a folder of its own would stay
        return Path("/nonexistent")
    if FOLDER_VARIABLE not in os.environ:
        folder = os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="django-perf-tests-")
        atexit.register(_remove, folder, os.getpid())
    return Path(os.environ[FOLDER_VARIABLE])


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child runs its parent's exit handlers
        shutil.rmtree(folder, ignore_errors=True)


def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port or 5432,
        "TEST": {"NAME": "test_django_perf"},
    }


def _own_redis_database(url: str) -> str:
    """Give each xdist worker a database of its own: tests empty theirs."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    parts = urlsplit(url)
    return parts._replace(path=f"/{int(worker) + 1}").geturl() if worker else url


POSTGRES, REDIS = _find_services()
if not STARTS_NOTHING:
    os.environ |= {POSTGRES_VARIABLE: POSTGRES.url, REDIS_VARIABLE: REDIS.url}
FOLDER = _temporary_folder()

SECRET_KEY = "tests"
DEBUG = False
DATABASES = {
    "default": _database(POSTGRES.url),
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "TEST": {"NAME": FOLDER / "test.sqlite3"},
    },
}
CACHES = {"default": cache_from_url(_own_redis_database(REDIS.url), 20)}
DJANGO_PERF: dict[str, object] = {}
# Django 6.1 warns of a site that sends mail without; those before know nothing of it.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
# Tests read what is logged through caplog, which needs propagation; the example's handlers would print it twice.
LOGGING_CONFIG = None
# The default hasher is slow on purpose, and every logged-in test would pay for it.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
