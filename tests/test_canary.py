"""No value that comes from outside is in any table, log, page or output, whichever way it came in."""

from __future__ import annotations

import io
import json
import logging
import re
import time
from contextlib import suppress
from itertools import product

import psycopg2
import pytest
from django.apps import apps
from django.conf import settings as configured
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import include, path

from django_perf.advisor.report import REPORTS
from django_perf.dashboard.pages import VIEWS
from django_perf.db.fingerprint import shape_id
from django_perf.exporters.views import kept
from django_perf.metrics.catalog import KINDS
from django_perf.metrics.recorder import recorder
from django_perf.reports.window import last
from django_perf.store import samples
from django_perf.store.models import Sample
from django_perf.store.reader import consistent
from tests.store.data import compact_at, put

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])

ADMIN = "/admin/django_perf/performance/"
# One for each way in. Long enough that no figure is like it by chance.
SECRETS = {
    name: f"canary{number}x8f3a91"
    for number, name in enumerate(
        (
            *("path", "query_string", "cookie", "header", "agent", "body", "upload", "unresolved"),
            *("parameter", "literal", "dollar_quoted", "escaped", "comment", "many", "email", "cursor", "in_list"),
            *("cache_key", "cache_value", "template", "exception", "driver_error", "session"),
        )
    )
}
NUMBER = 840277193361
ALL = re.compile("|".join([*SECRETS.values(), str(NUMBER)]), re.IGNORECASE)
EMAIL = f"{SECRETS['email']}@example.org"


def execute(sql, parameters=None, alias="default"):
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def orders(request, token):
    """Send statements that carry a secret in every place where one can stand."""
    for alias in ("default", "sqlite"):
        execute(f"SELECT '{SECRETS['literal']}', {NUMBER}, %s", [SECRETS["parameter"]], alias)
        execute(f"SELECT 1 /* {SECRETS['comment']} */ -- {SECRETS['comment']}", alias=alias)
        execute(f"SELECT 1 WHERE '1' IN ('{SECRETS['in_list']}', '{token}')", alias=alias)
    execute(f"SELECT $q${SECRETS['dollar_quoted']}$q$, E'it\\'s {SECRETS['escaped']}'")
    execute("SELECT pg_sleep(0.02), %s, %s", [SECRETS["parameter"], request.COOKIES["session"]])
    for number in range(25):
        User.objects.filter(email=f"{number}{EMAIL}").first()
    for _ in range(3):
        User.objects.filter(username=EMAIL).first()
    list(User.objects.filter(last_name=SECRETS["cursor"]).iterator())
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE auth_user SET last_name = %s WHERE id = 0", [[SECRETS["many"]], [token]])
    with suppress(DatabaseError), transaction.atomic():
        User.objects.create(username=EMAIL)
        User.objects.create(username=EMAIL)
    with suppress(DatabaseError):
        execute("SELECT CAST(%s AS integer)", [SECRETS["driver_error"]])
    cache.set(f"order:{SECRETS['cache_key']}", SECRETS["cache_value"])
    cache.get_many([f"order:{SECRETS['cache_key']}", SECRETS["cache_key"]])
    page = engines["django"].from_string("{% for user in users %}{{ user.email }}{{ secret }}{% endfor %}")
    rows = User.objects.filter(email=EMAIL)
    return HttpResponse(page.render({"users": rows, "secret": SECRETS["template"]}))


def broken(request, token):
    """Fail with a secret in the text, and in that of its cause."""
    try:
        execute("SELECT CAST(%s AS integer)", [SECRETS["driver_error"]])
    except DatabaseError as error:
        raise LookupError(f"{SECRETS['exception']} {token} {request.body!r}") from error


urlpatterns = [
    path("orders/<str:token>", orders),
    path("broken/<str:token>", broken),
    path("admin/", admin.site.urls),
    path("perf/", include("django_perf.urls")),
]
TOKEN = "a-token-of-the-machines-that-scrape"


@pytest.fixture(autouse=True)
def _site(settings, caplog):
    settings.ROOT_URLCONF = __name__
    settings.DJANGO_PERF = {"SLOW_QUERY_SECONDS": 0.005, "SLOW_REQUEST_SECONDS": 0.001, "METRICS_TOKEN": TOKEN}
    caplog.set_level(logging.DEBUG, "django_perf")
    recorder.enabled = True
    User.objects.create(username="someone", email=EMAIL, last_name=SECRETS["many"])


@pytest.fixture
def visited():
    """A store that holds what visits with secrets left behind, as a flush of the process brings it there."""
    visitor = Client(raise_request_exception=False, headers={"User-Agent": SECRETS["agent"]})
    visitor.cookies["session"] = SECRETS["cookie"]
    query, headers = {"q": SECRETS["query_string"]}, {"Authorization": SECRETS["header"], "X-Request-ID": EMAIL}
    for _ in range(2):
        assert visitor.get(f"/orders/{SECRETS['path']}", query, headers=headers).status_code == 200
        form = {"name": SECRETS["body"], "file": io.BytesIO(SECRETS["upload"].encode())}
        assert visitor.post(f"/broken/{SECRETS['path']}", form, headers=headers).status_code == 500
        assert visitor.get(f"/{SECRETS['unresolved']}", query).status_code == 404
        assert visitor.generic(SECRETS["header"][:20].upper(), f"/orders/{SECRETS['path']}").status_code == 200
    recorder.fold()
    tables, recorder.enabled = recorder.drain(), False
    put("default", tables, taken=time.time())
    samples.insert("default", recorder.samples.take())


@pytest.fixture
def other_session():
    """A session whose last statement, which PostgreSQL shows, carries a secret."""
    database = configured.DATABASES["default"]
    names = {"dbname": connection.settings_dict["NAME"], "user": database["USER"], "password": database["PASSWORD"]}
    with psycopg2.connect(host=database["HOST"], port=database["PORT"], **names) as other, other.cursor() as cursor:
        cursor.execute(f"SELECT '{SECRETS['session']}' FROM auth_user FOR UPDATE")
        yield
        other.rollback()
    other.close()


def stored():
    """Return what every table of ours holds, and what its packed columns mean."""
    models = apps.get_app_config("django_perf").get_models()
    rows = {model.__name__: list(model.objects.values_list()) for model in models if model._meta.managed}
    span = last("1h").span
    sums = consistent("default", lambda snapshot: {kind: list(snapshot.sums(kind, span)) for kind in KINDS.values()})
    return repr(rows), repr(sums)


def queries():
    """Return the id of every statement in the store."""
    kind = KINDS["query"]
    found = consistent("default", lambda snapshot: list(snapshot.sums(kind, last("1h").span)))
    return {shape_id(*labels): labels for labels in found}


def pages():
    """Return every page there is about what was visited, by name."""
    User.objects.create_superuser("root")
    reader = Client()
    reader.force_login(User.objects.get(username="root"))
    endpoints = [
        {"route": f"{name}/<str:token>", "method": method}
        for name in ("orders", "broken")
        for method in ("GET", "POST")
    ]
    about = {
        "endpoint": endpoints,
        "query": [{"id": one} for one in queries()],
        "sample": [{"id": one} for one in Sample.objects.values_list("id", flat=True)],
    }
    for view in VIEWS:
        for parameters in about.get(view.name, [{}]):
            yield view.name, reader.get(f"{ADMIN}{view.path}", parameters)
    for one in queries():
        yield "explain", reader.post(f"{ADMIN}explain/", {"id": one})


def outputs():
    """Return what perfstats prints, of every report in every form."""
    for report, form in product(REPORTS, ("table", "json", "csv")):
        out = io.StringIO()
        call_command("perfstats", report, "--format", form, "--limit", "1000", stdout=out)
        yield report, form, out.getvalue()


def assert_clean(name, text):
    found = sorted({key for key, secret in [*SECRETS.items(), ("number", str(NUMBER))] if secret in text})
    assert not found, (
        f"{name} tells {found}: {[text[max(0, m.start() - 80) : m.end() + 20] for m in ALL.finditer(text)][:3]}"
    )


def test_no_table_holds_a_secret(visited):
    rows, sums = stored()
    for expected in (
        "orders/<str:token>",
        "SELECT ?, ?, ?",
        "LookupError",
        "n_plus_one",
        "duplicate",
        "22P02",
        "23505",
    ):
        assert expected in sums, "what should be there without the secret"
    assert '"kind": "template"' in json.dumps(list(Sample.objects.values_list("doc", flat=True)))
    assert_clean("a packed column", sums)
    assert_clean("a table", rows)
    assert compact_at("default", int(time.time()) // 60 + 10)
    for text in stored():
        assert_clean("a table after the merge", text)


def test_no_line_of_our_logs_holds_a_secret(visited, caplog):
    own = [record for record in caplog.get_records("setup") if record.name.startswith("django_perf")]
    assert {record.name for record in own} >= {"django_perf.slow_queries", "django_perf.slow_requests"}
    for record in own:
        assert_clean(record.name, f"{record.getMessage()} {vars(record)}")


def test_no_page_shows_a_secret(visited, other_session):
    seen = set()
    for name, response in pages():
        assert response.status_code == 200, name
        assert_clean(f"page {name}", response.content.decode())
        seen.add(name)
    assert seen == {*(view.name for view in VIEWS), "explain"}


@pytest.mark.parametrize("address", ["metrics", "readyz"])
def test_no_metric_and_no_probe_holds_a_secret(visited, address):
    for one in kept.values():
        one.forget()  # what another test has just asked for
    response = Client().get(f"/perf/{address}", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    text = response.content.decode()
    assert "orders/<str:token>" in text or address == "readyz"
    assert_clean(address, text)


def test_no_output_of_the_command_holds_a_secret(visited, other_session):
    for report, form, text in outputs():
        assert_clean(f"perfstats {report} --format {form}", text)
        if report == "database_sessions" and form == "json":
            assert "FOR UPDATE" in text, "the session with a secret is shown"
