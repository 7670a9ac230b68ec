"""Names from outside, however they are made, are kept as text: nothing is lost, nothing gets out as more than text."""

from __future__ import annotations

import csv
import io
import json
import time
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.db.backends.utils import CursorWrapper
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import ResolverMatch

from django_perf import timed
from django_perf.db.cursor import measured
from django_perf.metrics.names import clean
from django_perf.metrics.recorder import recorder
from django_perf.middleware import TimingMiddleware
from django_perf.store.models import Delta
from tests.dashboard.markup import Markup
from tests.hostile import HOSTILE, PLAIN, unsafe_characters
from tests.store.data import put

OVERVIEW = "/admin/django_perf/performance/"
HOSTILE_PATHS = (
    "/%00",
    "/%ED%A0%80",
    "/%1b[2J%07",
    "/a%0d%0ab",
    "/%E2%80%AE",
    "/" + "x" * 5_000,
    "/<script>",
    "/%ff%fe",
)
HOSTILE_METHODS = ("X" * 3_000, "\x00", "GET\r\nX: y", "<b>", "\u202e")


@pytest.fixture(autouse=True)
def _recording(settings, db):
    settings.ROOT_URLCONF = "example_project.urls"
    recorder.enabled = True


@pytest.fixture
def admin():
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def use_as_every_name(name):
    """Use `name` as a route, as an exception's class, in SQL that works and that fails, and as a block."""
    error = type(name.encode("utf-8", "replace").decode().replace("\x00", "\x01"), (Exception,), {})

    class Driver:
        rowcount = -1

        def execute(self, sql):
            if sql.startswith("UPDATE"):
                raise ZeroDivisionError

    def view(request):
        cursor = measured(CursorWrapper, "default", "postgresql")(Driver(), connections["default"])
        request.resolver_match = ResolverMatch(view, (), {}, route=name)
        with timed(name):
            cursor.execute(f"SELECT {name}")
        with suppress(ZeroDivisionError):
            cursor.execute(f"UPDATE {name}")
        if request.method == "POST":
            raise error
        return HttpResponse()

    middleware = TimingMiddleware(view)
    middleware(RequestFactory().get("/"))
    with suppress(error):
        middleware(RequestFactory().post("/"))


def flush():
    """Put what was recorded into the store, as the writer does."""
    tables, recorder.enabled = recorder.drain(), False
    put("default", tables, taken=time.time())


def stats(*options):
    out = io.StringIO()
    call_command("perfstats", *options, "--since=1h", stdout=out)
    return out.getvalue()


@pytest.fixture
def _hostile_names():
    for name in HOSTILE:
        use_as_every_name(name)
    flush()


@pytest.mark.usefixtures("_hostile_names")
def test_no_hostile_name_is_lost_or_makes_an_error_of_ours():
    answer = json.loads(stats("--format=json"))
    assert (answer["health"]["dropped"], answer["health"]["errors"]) == (0, {})
    requests, queries = answer["reports"]["requests"], answer["reports"]["queries"]
    assert (requests["totals"]["count"], requests["totals"]["errors"]) == (2 * len(HOSTILE), len(HOSTILE))
    assert (queries["totals"]["count"], queries["totals"]["errors"]) == (4 * len(HOSTILE), 2 * len(HOSTILE))
    assert {row["name"] for row in requests["rows"]} == {clean(name) for name in HOSTILE}
    assert {row["name"] for row in answer["reports"]["blocks"]["rows"]} == {clean(name) for name in HOSTILE}


@pytest.mark.usefixtures("_hostile_names")
@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_perfstats_prints_no_character_that_a_terminal_obeys(format_):
    text = stats(f"--format={format_}", "--limit=100")
    assert unsafe_characters(text) == set()
    assert "alert" in text


@pytest.mark.usefixtures("_hostile_names")
def test_no_cell_of_the_csv_is_a_formula():
    cells = [cell for row in csv.reader(io.StringIO(stats("--format=csv"))) for cell in row]
    assert "'=cmd|' /C'!A0" in cells
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []


@pytest.mark.usefixtures("_hostile_names")
def test_the_page_has_no_invisible_character_and_only_links_to_ourselves(admin):
    source = admin.get(OVERVIEW).content.decode()
    assert unsafe_characters(source) == set()
    for link in Markup(source).links():
        assert link.startswith(("/admin/", "/static/", "?", "#", "/products"))
        assert not set(link) & set("<>\"' \n")


def overview_after(admin, names):
    for name in names:
        use_as_every_name(name)
    flush()
    return Markup(admin.get(f"{OVERVIEW}requests/").content.decode())


def test_hostile_names_make_the_same_page_as_plain_ones(admin):
    plain = overview_after(admin, PLAIN)
    Delta.objects.all().delete()
    recorder.enabled = True
    hostile = overview_after(admin, HOSTILE)
    assert hostile.shape() == plain.shape()
    rest = Markup(admin.get(f"{OVERVIEW}requests/", {"page": "2"}).content.decode())
    shown = {row[0] for page in (hostile, rest) for row in page.tables["requests"][1:]}
    assert shown == {clean(name).strip() for name in HOSTILE}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_address_of_an_endpoint_makes_the_same_page_as_a_plain_one(admin, name):
    recorder.enabled = False
    text = name.encode("utf-8", "replace").decode()
    plain, hostile = (
        admin.get(f"{OVERVIEW}endpoint/", {"route": one, "method": one}).content.decode() for one in ("plain", text)
    )
    assert Markup(hostile).shape() == Markup(plain).shape()
    assert unsafe_characters(hostile) == set()


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_hostile_path_is_one_unresolved_request(path):
    Client().get(path)
    flush()
    answer = json.loads(stats("--format=json"))
    assert [(row["name"], row["count"]) for row in answer["reports"]["requests"]["rows"]] == [("(unresolved)", 1)]
    assert answer["health"]["errors"] == {}


@pytest.mark.parametrize("method", HOSTILE_METHODS)
def test_a_hostile_method_is_one_request_of_another_method(method):
    Client().generic(method, "/nothing")
    flush()
    answer = json.loads(stats("--format=json"))
    assert [(row["method"], row["count"]) for row in answer["reports"]["requests"]["rows"]] == [("OTHER", 1)]
    assert answer["health"]["errors"] == {}
