"""Which database holds the store, and a file of its own beside SQLite."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import User

from django_perf.store.alias import OWN_ALIAS, StoreRouter, store_alias
from django_perf.store.models import Delta

from .children import ROOT
from .data import everywhere

FACTS = """
import json, sqlite3, sys
import django; django.setup()
from django.core.management import call_command
from django.db import connections
from django_perf.metrics.recorder import recorder
from django_perf.metrics.timed import timed
from django_perf.store.alias import store_alias
from django.apps import apps
call_command("migrate", verbosity=0)
recorder.enabled = True
with timed("work"): pass
apps.get_app_config("django_perf").flusher.flush()
alias = store_alias()
with connections[alias].cursor() as cursor:
    journal = cursor.execute("PRAGMA journal_mode").fetchone()[0]
def tables(alias):
    return connections[alias].introspection.table_names()
from django_perf.store.models import Delta
print(json.dumps({
    "alias": alias, "shown": list(connections), "journal": journal, "flushes": Delta.objects.count(),
    "own": tables(alias), "host": tables("default"), "file": str(connections[alias].settings_dict["NAME"]),
}))
"""


TOGETHER = """
import os, sys
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.db import connections
connections.close_all()
from tests.store.workers import flush_together
flush_together(4, 20, 10)
from tests.store.data import DAY, MIDNIGHT, compact_at, stored
compact_at("django_perf", MIDNIGHT + DAY)
print(stored("django_perf"))
"""


def run(code, database_url, **options):
    environment = {"DJANGO_SETTINGS_MODULE": "example_project.settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment | {"DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def facts(database_url):
    return json.loads(run(FACTS, database_url))


def test_a_host_on_sqlite_gets_a_file_of_its_own_for_the_store(tmp_path):
    found = facts(f"sqlite:///{tmp_path}/host.sqlite3")
    assert (found["alias"], found["file"]) == (OWN_ALIAS, f"{tmp_path}/host.perf.sqlite3")
    assert (found["journal"], found["flushes"]) == ("wal", 1)
    assert {name for name in found["own"] if name != "django_migrations"} == {
        f"django_perf_{name}"
        for name in (
            "alertstate",
            "compressiondictionary",
            "delta",
            "lease",
            "mark",
            "order",
            "process",
            "rollup",
            "sample",
            "series",
            "total",
        )
    }
    assert not any(name.startswith("django_perf_") for name in found["host"])
    assert "auth_user" in found["host"]


def test_the_own_file_is_not_shown_to_those_who_walk_over_all_databases(tmp_path):
    assert facts(f"sqlite:///{tmp_path}/host.sqlite3")["shown"] == ["default"]


def test_processes_write_to_the_own_file_together_and_none_finds_it_locked(tmp_path):
    output = run(TOGETHER, f"sqlite:///{tmp_path}/host.sqlite3", input="go\n")
    total = 20 * 10 * sum(range(1, 5))
    assert output.splitlines() == ["ready", f"{[0] * 4}", f"{everywhere(total)}"]


def test_a_host_on_postgresql_keeps_the_store_in_its_default_database():
    assert store_alias() == "default"


def test_the_setting_names_another_database(settings):
    settings.DJANGO_PERF = {"DATABASE": "sqlite"}
    assert store_alias() == "sqlite"
    assert StoreRouter().db_for_read(Delta) == StoreRouter().db_for_write(Delta) == "sqlite"


@pytest.mark.parametrize(("alias", "is_allowed"), [("default", False), ("sqlite", True)])
def test_the_tables_of_the_store_are_made_where_it_is_and_nowhere_else(settings, alias, is_allowed):
    settings.DJANGO_PERF = {"DATABASE": "sqlite"}
    assert StoreRouter().allow_migrate(alias, "django_perf") is is_allowed


def test_the_router_leaves_other_models_alone():
    router = StoreRouter()
    assert router.db_for_read(User) is router.db_for_write(User) is router.allow_relation(User, User) is None
    assert router.allow_migrate("default", "auth") is None


def test_the_router_has_no_opinion_while_the_settings_are_wrong(settings):
    settings.DJANGO_PERF = {"DATABSE": "sqlite"}
    assert StoreRouter().allow_migrate("default", "django_perf") is None
