"""A site that has installed nothing but the package itself: every page, command and check works all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = (
    "django_redis redis psycopg2 brotli backports isal zlib_ng prometheus_client opentelemetry gunicorn httpx pytest"
)
# The one command that is about nothing but what an extra brings.
UNLOADABLE = ["not loaded: perfcache django_redis.serializers"]


@pytest.mark.parametrize(("missing", "said"), [(EXTRAS, UNLOADABLE), ("", [])], ids=["nothing", "everything"])
def test_a_site_works_with_what_is_installed(tmp_path, missing, said):
    folders = dict.fromkeys(("HOME", "TMPDIR"), str(tmp_path))
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "MISSING": missing, **folders}
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "bare_site.py"), str(tmp_path / "db.sqlite3")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert done.stdout.splitlines() == said
