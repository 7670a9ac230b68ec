"""Ready is who has all that a request needs; whatever hangs, the probe is answered."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections

from django_perf.metrics.recorder import recorder
from django_perf.readiness import probe, state, views
from django_perf.readiness.probe import LATE, LIMIT_S
from tests.proxy import Proxy

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "sqlite"])

TOKEN = "a-token-of-the-tests"
GOOD = {"authorization": f"Bearer {TOKEN}"}
ALL = {"draining", "database default", "database sqlite", "migrations", "cache"}
# In the place of SQLite: the test runner lets nobody connect to a database that it does not know.
ALIAS = "sqlite"


@pytest.fixture(autouse=True)
def _own_readiness(settings, monkeypatch, tmp_path):
    """Know nothing of what other tests have asked; tables of the whole project are there, on one database."""
    settings.DJANGO_PERF = {"METRICS_TOKEN": TOKEN, "STATE_FOLDER": str(tmp_path / "state")}
    monkeypatch.setattr(views, "readiness", state.Readiness())


@pytest.fixture
def fresh(monkeypatch):
    """Keep no answer: each request asks again."""
    monkeypatch.setattr(probe, "KEEP_S", 0.0)


def readyz(client, **headers):
    """Return the status and what is wrong, by what was looked at."""
    response = client.get("/perf/readyz", headers=GOOD | headers)
    checks = json.loads(response.content)["checks"]
    return response.status_code, {name: trouble for name, trouble in checks.items() if trouble != "ok"}


@contextmanager
def alias_behind(proxy, engine="django.db.backends.postgresql", **options):
    """Have a database that is reached through a proxy."""
    host, port = proxy.address
    known = {"HOST": host, "PORT": port, "ENGINE": engine, "OPTIONS": options, "ATOMIC_REQUESTS": False}
    sqlite, before = connections[ALIAS], connections.settings[ALIAS]
    connections.settings[ALIAS] = connections["default"].settings_dict | known
    del connections[ALIAS]
    try:
        yield
    finally:
        connections[ALIAS].close()
        if hasattr(connections[ALIAS], "close_pool"):
            connections[ALIAS].close_pool()
        connections[ALIAS], connections.settings[ALIAS] = sqlite, before


@pytest.fixture
def proxy():
    """A proxy before the database."""
    known = connections["default"].settings_dict
    with Proxy((known["HOST"], int(known["PORT"]))) as running:
        yield running


def test_healthz_says_ok_and_touches_nothing(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = client.get("/perf/healthz")
    assert (response.status_code, response.content, response["Cache-Control"]) == (200, b"ok", "no-store")


def test_a_site_that_has_all_it_needs_is_ready(client):
    response = client.get("/perf/readyz")
    assert (response.status_code, response.content) == (200, b"ok")
    assert readyz(client) == (200, {})


def test_everything_is_looked_at(client):
    checks = json.loads(client.get("/perf/readyz", headers=GOOD).content)["checks"]
    assert set(checks) == ALL


@pytest.mark.parametrize("path", ["/perf/healthz", "/perf/readyz"])
def test_probes_can_only_be_read_and_are_in_no_figure(client, path):
    assert client.post(path).status_code == 405
    recorder.drain()
    recorder.enabled = True
    assert (client.get(path).status_code, client.head(path).status_code) == (200, 200)
    assert recorder.drain() == {}


def test_a_database_that_refuses_is_told_at_once(client, proxy, fresh):
    with alias_behind(proxy):
        assert readyz(client) == (200, {})
        proxy.refuse()
        proxy.cut()
        assert readyz(client) == (503, {f"database {ALIAS}": "OperationalError"})
        assert client.get("/perf/healthz").status_code == 200
        proxy.accept()
        assert readyz(client) == (200, {})


@pytest.mark.parametrize("engine", ["django.db.backends.postgresql", "django_perf.pool.postgresql"])
def test_a_database_that_hangs_does_not_hang_the_probe_and_is_asked_once(client, proxy, fresh, engine):
    with alias_behind(proxy, engine):
        proxy.swallow()
        accepted, began = proxy.accepted_count, time.monotonic()
        answers = [readyz(client) for _ in range(5)]
        assert answers == [(503, {f"database {ALIAS}": LATE})] * 5
        assert time.monotonic() - began < 5 * LIMIT_S
        assert proxy.accepted_count - accepted <= 1
        proxy.cut()


def test_a_probe_with_a_session_does_not_ask_who_it_is_of_a_database_that_hangs(client, proxy, monkeypatch):
    client.force_login(holder())
    with alias_behind(proxy):
        proxy.swallow()
        asked = []
        monkeypatch.setattr(views, "_is_permitted", lambda request: asked.append(1))
        assert client.get("/perf/readyz").content == b"unavailable"
        assert asked == []
        proxy.cut()


def test_a_pooled_connection_is_lent_and_given_back(client, proxy, fresh):
    with alias_behind(proxy, "django_perf.pool.postgresql", pool={"min_size": 0, "max_size": 1}):
        assert [readyz(client)[0] for _ in range(5)] == [200] * 5
        assert proxy.accepted_count == 1


def test_a_cache_that_does_not_answer_is_told(client, settings, fresh):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }
    assert readyz(client) == (503, {"cache": "ConnectionError"})


def test_a_cache_of_several_levels_answers_without_redis(client, settings):
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}}
    assert readyz(client) == (200, {})


def test_migrations_that_are_missing_are_told_until_they_are_there_and_then_never_asked_again(client, fresh):
    with connection.cursor() as cursor:
        latest = "SELECT max(name) FROM django_migrations WHERE app = 'django_perf'"
        cursor.execute(f"UPDATE django_migrations SET app = 'x' WHERE app = 'django_perf' AND name = ({latest})")
        try:
            assert readyz(client) == (503, {"migrations": "1 migrations are not applied"})
        finally:
            cursor.execute("UPDATE django_migrations SET app = 'django_perf' WHERE app = 'x'")
        assert readyz(client) == (200, {})
        assert "migrations" not in json.loads(client.get("/perf/readyz", headers=GOOD).content)["checks"]


def test_a_database_that_holds_nothing_but_our_store_is_not_needed(client, proxy, settings):
    with alias_behind(proxy):
        proxy.refuse()
        settings.DJANGO_PERF = {**settings.DJANGO_PERF, "DATABASE": ALIAS}
        assert readyz(client) == (200, {})


def test_a_drain_is_seen_at_once_and_asks_nobody(client, settings, django_assert_num_queries):
    drain = state.drain_of(state.get_settings())
    assert readyz(client) == (200, {})
    drain.switch_on()
    with django_assert_num_queries(0):
        assert readyz(client) == (503, {"draining": "switched on by perfdrain"})
    assert client.get("/perf/readyz").content == b"unavailable"
    drain.switch_off()
    assert readyz(client) == (200, {})


def test_a_process_without_a_free_slot_is_not_ready_where_that_is_wanted(client, settings, monkeypatch):
    now, busy = [1_000.0], [0.0]
    monkeypatch.setattr(views.readiness._overload, "_clock", lambda: now[0])
    monkeypatch.setattr(views.readiness._overload, "_busy_seconds", lambda: busy[0])

    def after(seconds, used):
        now[0], busy[0] = now[0] + seconds, busy[0] + used
        return readyz(client)

    settings.DJANGO_PERF = {**settings.DJANGO_PERF, "READY_SATURATION": 0.95, "WORKER_SLOTS": 2}
    assert [after(0, 0), after(3, 6)] == [(200, {})] * 2
    assert after(3, 6) == (503, {"saturation": "100% of the slots were busy for 5 s"})
    assert after(6, 6) == (200, {})


def holder():
    """Return a member of the staff who may see the pages."""
    user = User.objects.create_user("holder", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_performance"))
    return user


@pytest.mark.parametrize(
    ("who", "sees"),
    [("nobody", False), ("user", False), ("staff", False), ("holder", True), ("inactive", False), ("token", True)],
)
def test_details_are_for_who_may_see_the_pages_and_for_the_token(client, who, sees):
    if who == "holder":
        client.force_login(holder())
    elif who == "inactive":
        user = holder()
        client.force_login(user)
        User.objects.update(is_active=False)
    elif who in ("user", "staff"):
        client.force_login(User.objects.create_user(who, password="x", is_staff=who == "staff"))
    headers = GOOD if who == "token" else {"authorization": "Bearer wrong"}
    response = client.get("/perf/readyz", headers=headers)
    assert (response["Content-Type"] == "application/json") == sees
    assert sees or response.content == b"ok"


def test_a_session_that_cannot_be_read_costs_the_details_only(client, settings):
    client.force_login(holder())
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.SESSION_CACHE_ALIAS = "default"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    }
    response = client.get("/perf/readyz")
    assert (response.status_code, response.content) == (503, b"unavailable")


def test_a_red_probe_is_no_error_in_the_log(client, caplog):
    state.drain_of(state.get_settings()).switch_on()
    assert client.get("/perf/readyz").status_code == 503
    assert [record for record in caplog.records if record.name == "django.request"] == []


def test_wrong_settings_of_ours_do_not_take_a_site_down(client, settings):
    settings.DJANGO_PERF = {"NONSENSE": 1}
    assert client.get("/perf/readyz").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("healthz", 200), ("readyz", 503), ("metrics", 404)])
def test_no_transaction_is_opened_for_a_probe(client, proxy, path, status):
    with alias_behind(proxy):
        connections.settings[ALIAS]["ATOMIC_REQUESTS"] = True
        proxy.swallow()
        assert client.get(f"/perf/{path}").status_code == status
        proxy.cut()
