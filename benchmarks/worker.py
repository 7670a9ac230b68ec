"""Serve one configuration in-process through Django's WSGI handler: `worker.py NAME FOLDER`.

A child of requests.py and of db.py. Reads lines "PATH COUNT" and answers each with the seconds that COUNT requests
took; "PATH ?" with the statements that the configuration has recorded of one request: that it measures at all.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection, models, transaction
from django.http import HttpResponse
from django.urls import include, path

from benchmarks.recorded import RECORDED, SETTLE, exported

NAME, FOLDER = sys.argv[1], Path(sys.argv[2])
ROWS, MANY = 50, 1_000
_CHECKED = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
_PROMETHEUS = (
    ["django_prometheus.middleware.PrometheusBeforeMiddleware"],
    ["django_prometheus.middleware.PrometheusAfterMiddleware"],
)
# Name: apps, middleware in front, middleware behind, database engine.
CONFIGURATIONS: dict[str, tuple[list[str], list[str], list[str], str]] = {
    "bare": ([], [], [], "django.db.backends.sqlite3"),
    "bare again": ([], [], [], "django.db.backends.sqlite3"),
    "empty middleware": ([], [f"{__name__}.empty"], [], "django.db.backends.sqlite3"),
    "django_perf": (
        ["django_perf"],
        ["django_perf.middleware.TimingMiddleware"],
        [],
        "django.db.backends.sqlite3",
    ),
    "django-prometheus": (["django_prometheus"], *_PROMETHEUS, "django_prometheus.db.backends.sqlite3"),
    "OpenTelemetry": ([], [], [], "django.db.backends.sqlite3"),
    "django-silk": (["silk"], ["silk.middleware.SilkyMiddleware"], [], "django.db.backends.sqlite3"),
    "django-debug-toolbar": (
        ["debug_toolbar"],
        ["debug_toolbar.middleware.DebugToolbarMiddleware"],
        [],
        "django.db.backends.sqlite3",
    ),
}
# Pages of their own, to which they link.
_PAGES = {"django-silk": ("silk/", "silk.urls"), "django-debug-toolbar": ("__debug__/", "debug_toolbar.urls")}


def empty(get_response: Any) -> Any:
    """Do nothing, which is what the least middleware costs."""
    return lambda request: get_response(request)


def configure() -> None:
    """Set Django up with the apps and middleware of this configuration."""
    apps, before, behind, engine = CONFIGURATIONS[NAME]
    settings.configure(
        SECRET_KEY="benchmark",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[*before, *_CHECKED, *behind],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            *apps,
        ],
        STATIC_URL="static/",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        DATABASES={
            "default": {
                "ENGINE": engine,
                "NAME": str(FOLDER / f"{NAME.replace(' ', '-')}.sqlite3"),
                "CONN_MAX_AGE": None,
                "OPTIONS": {"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        LOGGING_CONFIG=None,
        DEBUG_TOOLBAR_CONFIG={"SHOW_TOOLBAR_CALLBACK": lambda request: True},
    )
    if NAME == "OpenTelemetry":
        instrument_with_opentelemetry()
    django.setup()


def instrument_with_opentelemetry() -> None:
    """Record every span and metric, and export them to nowhere."""
    from opentelemetry import metrics, trace
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            exported.update(span.kind.name for span in spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    os.environ["DJANGO_SETTINGS_MODULE"] = "configured"
    DjangoInstrumentor().instrument()
    SQLite3Instrumentor().instrument()


# --- what the views read ------------------------------------------------------------------------------------------


def make_rows() -> None:
    """Make the tables of all apps and those that the views read, the first of ROWS rows and the last of MANY."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    counts = {0: ROWS, **dict.fromkeys(range(1, ROWS), 1), ROWS: MANY}
    with connection.schema_editor() as editor:
        for number in counts:
            editor.create_model(item_model(number))
    for number, count in counts.items():
        model = item_model(number)
        model.objects.bulk_create(model(name=f"item {row}") for row in range(count))


@cache
def item_model(number: int) -> Any:
    """Return the model of one table, made at the first call: it needs the app registry."""
    meta = type("Meta", (), {"app_label": "auth", "db_table": f"item_{number}"})
    fields = {"__module__": __name__, "Meta": meta, "name": models.CharField(max_length=20)}
    return type(f"Item{number}", (models.Model,), fields)


# --- the views ----------------------------------------------------------------------------------------------------


def queries(request: Any, count: int) -> HttpResponse:
    """Run `count` queries alike, one row each: an N+1."""
    names = [item_model(0).objects.get(pk=number + 1).name for number in range(count)]
    return HttpResponse(f"{len(names)} names")


def distinct(request: Any, count: int) -> HttpResponse:
    """Run `count` queries, one row each, each of a table of its own: nothing is wrong."""
    names = [item_model(number).objects.get(pk=1).name for number in range(count)]
    return HttpResponse(f"{len(names)} names")


def transact(request: Any) -> HttpResponse:
    """Read a row and write it, from BEGIN to COMMIT."""
    with transaction.atomic():
        item = item_model(0).objects.get(pk=1)
        item.save(update_fields=["name"])
    return HttpResponse(item.name)


def rows(request: Any) -> HttpResponse:
    """Fetch MANY rows by one query."""
    return HttpResponse(f"{len(item_model(ROWS).objects.all())} rows")


urlpatterns = [
    path("hello", lambda request: HttpResponse("hello")),
    path("queries/<int:count>", queries),
    path("distinct/<int:count>", distinct),
    path("transaction", transact),
    path("rows", rows),
]

# --- the requests -------------------------------------------------------------------------------------------------


def environ(address: str) -> dict[str, Any]:
    """Return a WSGI environment like a server's."""
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": address,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "benchmark",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def serve(handler: Any, address: str, count: int) -> float:
    """Return the seconds for `count` requests, with all that they leave for later."""
    settle = SETTLE.get(NAME, bool)

    def start_response(status: str, headers: Any) -> None:
        if not status.startswith("200"):
            raise RuntimeError(status)

    started = time.perf_counter()
    for _ in range(count):
        response = handler(environ(address), start_response)
        for _chunk in response:
            pass
        response.close()
    settle()
    return time.perf_counter() - started


def recorded(handler: Any, address: str) -> int:
    """Serve two requests; return how many statements of the second this configuration has recorded."""
    known = RECORDED.get(NAME, int)
    serve(handler, address, 1)  # also settles what was before it
    before = known()
    serve(handler, address, 1)
    return known() - before


def main() -> None:
    """Answer lines until the parent closes them."""
    from django.core.handlers.wsgi import WSGIHandler

    make_rows()
    if NAME in _PAGES:
        folder, module = _PAGES[NAME]
        urlpatterns.append(path(folder, include(module)))
    handler = WSGIHandler()
    print("ready", flush=True)
    for line in sys.stdin:
        address, count = line.split()
        print(recorded(handler, address) if count == "?" else serve(handler, address, int(count)), flush=True)


if __name__ == "__main__":
    # The URLconf and the middleware are named by module: this file must not be imported a second time under its name.
    sys.modules["benchmarks.worker"] = sys.modules["__main__"]
    configure()
    main()
