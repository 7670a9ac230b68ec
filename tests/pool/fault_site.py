"""A site of three pages, to be served while its database fails.

FAULT_DATABASE holds its DATABASES["default"] as JSON. With FAULT_EARLY_QUERY the module queries while it is imported,
which gunicorn's --preload does in the master.
"""

from __future__ import annotations

import json
import os
import sys

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpResponse
from django.urls import path

WHO = "SELECT pg_backend_pid(), extract(epoch FROM backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()"


def who() -> str:
    """Return this process and its backend, whose number the system may use again: hence with its start."""
    with connection.cursor() as cursor:
        cursor.execute(WHO)
        pid, start = cursor.fetchone()
    return f"{os.getpid()} {pid}@{start}"


def plain(request):
    """Answer without the database."""
    return HttpResponse("plain")


def read(request):
    """Answer after one SELECT."""
    return HttpResponse(who())


def write(request):
    """Insert a token; an answer of 200 promises that it is stored."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO token VALUES (%s)", [request.GET["token"]])
    return HttpResponse("stored")


urlpatterns = [path("plain/", plain), path("read/", read), path("write/", write)]


def configure() -> None:
    """Set Django up on the database of the environment."""
    settings.configure(
        DATABASES={"default": json.loads(os.environ["FAULT_DATABASE"])},
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["127.0.0.1"],
        SECRET_KEY="faults",
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(process)d %(name)s %(message)s"}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
            "loggers": {name: {"handlers": ["stderr"]} for name in ("django.request", "django_perf")},
        },
    )
    django.setup()


configure()
application = get_wsgi_application()
if os.environ.get("FAULT_EARLY_QUERY"):
    print(f"early query: {who()}", file=sys.stderr, flush=True)
