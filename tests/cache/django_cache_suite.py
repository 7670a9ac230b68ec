"""Run Django's BaseCacheTests on every combination of levels: python -m tests.cache.django_cache_suite.

The suite comes from the sdist of the Django that is installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import django

from tests.django_suite import counts_of, fetch
from tests.services import find_postgres, find_redis

_MODULE = '''
import os
from urllib.parse import unquote, urlsplit

from django.core.cache import cache, caches
from django.test import TestCase, TransactionTestCase, modify_settings, override_settings

from cache.tests import BaseCacheTests, caches_setting_for_tests

LEVELS = {levels!r}
BASE = {{
    "BACKEND": "django_perf.cache.MultiLevelCache",
    "KEY_PREFIX": "suite",
    "LOCATION": {location!r} if "L2" in LEVELS else "",
}}
OPTIONS = {{"L1": {{}} if "L1" in LEVELS else False}}
if "L3" in LEVELS:
    OPTIONS["L3"] = {{"table": "django_perf_cache", "alias": "default"}}


def settings():
    found = caches_setting_for_tests(base=BASE, exclude=())
    for params in found.values():
        params["OPTIONS"] = {{**OPTIONS, **params.get("OPTIONS", {{}})}}
    return found


@override_settings(CACHES=settings())
class MultiLevelCacheTests(BaseCacheTests, {base}):
    available_apps = ["cache"]
    databases = {{"default", "other"}}

    def setUp(self):
        super().setUp()
        if "L3" in LEVELS:
            cache.levels.shared.table.level.create_table()
        for alias in ("default", "prefix", "cull", "zero_cull"):
            caches[alias].clear()

    def _perform_cull_test(self, cull_cache_name, initial_count, final_count):
        """Ours in the place of Django's exact counts: never above the limit, and the newest key is kept."""
        cull_cache = caches[cull_cache_name]
        for i in range(1, initial_count):
            cull_cache.set("cull%d" % i, "value", 1000)
            self.assertEqual(cull_cache.get("cull%d" % i), "value")
        memory = cull_cache.levels.memory
        self.assertLessEqual(len(memory) if memory is not None else 0, 30)
'''
_SETTINGS = """
from test_sqlite import *
from urllib.parse import unquote, urlsplit

url = urlsplit({url!r})
if {is_postgres}:
    DATABASES = {{
        alias: {{
            "ENGINE": "django.db.backends.postgresql",
            "NAME": alias,
            "USER": unquote(url.username or ""),
            "PASSWORD": unquote(url.password or ""),
            "HOST": url.hostname or "",
            "PORT": url.port or "",
        }}
        for alias in ("default", "other")
    }}
else:
    DATABASES = {{
        alias: {{"ENGINE": "django.db.backends.sqlite3", "TEST": {{"NAME": {folder!r} + "/" + alias}}}}
        for alias in ("default", "other")
    }}
"""
COMBINATIONS = (
    ("L1", "sqlite"),
    ("L1+L2", "sqlite"),
    ("L2", "sqlite"),
    ("L1+L3", "sqlite"),
    ("L3", "postgres"),
    ("L1+L3", "postgres"),
    ("L1+L2+L3", "sqlite"),
    ("L1+L2+L3", "postgres"),
)


def run(tests: Path, levels: str, database: str, url: str, location: str, log: Path) -> str:
    """Run the suite on one combination; returns its counts."""
    module = _MODULE.format(levels=levels.split("+"), location=location, base="TransactionTestCase")
    (tests / "cache" / "perf_tests.py").write_text(module)
    is_postgres = database == "postgres"
    (tests / "suite_cache.py").write_text(_SETTINGS.format(url=url, is_postgres=is_postgres, folder=str(tests.parent)))
    paths = os.pathsep.join([str(Path(__file__).parents[2]), str(tests.parent), str(tests)])
    command = [sys.executable, "-W", "ignore", "runtests.py", "--settings=suite_cache", "--noinput", "--parallel=1"]
    result = subprocess.run(
        [*command, "cache.perf_tests.MultiLevelCacheTests"],
        cwd=tests,
        env={**os.environ, "PYTHONPATH": paths, "RUNNING_DJANGOS_TEST_SUITE": "true"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    log.write_text(result.stdout)
    return counts_of(result.stdout)


def main() -> None:
    """Run all combinations, print what came of each, and exit 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the sdist and the logs here")
    parser.add_argument("--only", help="one combination, like L1+L2/sqlite")
    options = parser.parse_args()
    url, location = find_postgres().url, find_redis().url
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        tests = next(folder.glob("[dD]jango-*/tests"), None) or fetch(folder)
        for levels, database in COMBINATIONS:
            if options.only in (None, f"{levels}/{database}"):
                log = folder / f"cache-{levels}-{database}.log"
                counts = run(tests, levels, database, url, location, log)
                failed = failed or " OK" not in counts
                print(f"Django {django.get_version()}, {levels:8} {database:8}: {counts}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
