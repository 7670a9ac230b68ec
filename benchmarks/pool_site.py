"""Be the smallest site on PostgreSQL, in the configuration that $POOL_SITE names; served by pool.py with gunicorn."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpResponse
from django.urls import path

NAME_VARIABLE, URL_VARIABLE = "POOL_SITE", "POOL_SITE_DATABASE"
SLOW_S = 0.02
SMALL = 2
PERSISTENT, CHECKED, NEW = "CONN_MAX_AGE=60", "CONN_MAX_AGE=60, health checks", "CONN_MAX_AGE=0"
OURS, OURS_SMALL, RIVAL = "ours", f"ours, {SMALL} connections", "dj_db_conn_pool"
_STOCK = "django.db.backends.postgresql"
_OURS = "django_perf.pool.postgresql"
# Name: what differs from a database with nothing but its address. The pools keep their default sizes.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    PERSISTENT: {"ENGINE": _STOCK, "CONN_MAX_AGE": 60},
    CHECKED: {"ENGINE": _STOCK, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True},
    NEW: {"ENGINE": _STOCK, "CONN_MAX_AGE": 0},
    OURS: {"ENGINE": _OURS},
    OURS_SMALL: {"ENGINE": _OURS, "OPTIONS": {"pool": {"max_size": SMALL}}},
    RIVAL: {"ENGINE": "dj_db_conn_pool.backends.postgresql"},
}


def database(name: str, url: str) -> dict[str, Any]:
    """Return DATABASES["default"]."""
    parts, own = urlsplit(url), CONFIGURATIONS[name]
    return {
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "PASSWORD": parts.password,
        "HOST": parts.hostname,
        "PORT": parts.port or 5432,
        **own,
        # So that the proxy between can read along; for all alike.
        "OPTIONS": {"sslmode": "disable", **own.get("OPTIONS", {})},
    }


def answer() -> HttpResponse:
    """Return an answer that says how long it is: without middleware nobody else does."""
    return HttpResponse("1", headers={"Content-Length": "1"})


def select() -> None:
    """Ask the database for as little as possible."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()


def query(request: Any) -> HttpResponse:
    """Run one query."""
    select()
    return answer()


def slow(request: Any, is_released: bool) -> HttpResponse:
    """Run one query, then do something slow that needs no database."""
    from django_perf.pool import released

    select()
    with released() if is_released else nullcontext():
        time.sleep(SLOW_S)
    return answer()


urlpatterns = [
    path("plain", lambda request: answer()),
    path("query", query),
    path("released", slow, {"is_released": True}),
    path("held", slow, {"is_released": False}),
]


if NAME_VARIABLE in os.environ:  # pool.py imports this module for its names only
    settings.configure(
        SECRET_KEY="benchmark",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[],
        INSTALLED_APPS=[],
        DATABASES={"default": database(os.environ[NAME_VARIABLE], os.environ[URL_VARIABLE])},
        LOGGING_CONFIG=None,
    )
    application = get_wsgi_application()
