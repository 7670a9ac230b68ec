"""Run django-redis's own tests on it and on our backend, and compare: python -m tests.cache.django_redis_suite.

The tests come from the sdist of the django-redis that is installed; they need pytest-mock. What fails on ours alone has
to be in DIFFERENCES, with the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.services import find_redis

ROOT = Path(__file__).parents[2]
MODULES = ("test_backend.py", "test_backend_sorted_sets.py", "test_session.py", "test_cache_options.py")
DIFFERENCES = {
    "test_set_call_empty_pipeline": "set() takes no client",
    "test_delete_pattern_with_custom_count": "delete_pattern() deletes in all levels, past that client",
    "test_delete_pattern_with_settings_default_scan_count": "the same",
    "test_lock": "has_key() tells of values; a lock is none",
    "test_lock_not_blocking": "the same",
    "test_sscan_iter_with_match": "members of sets are signed: the server cannot match them",
    "test_get_django_omit_exceptions_many_returns_default_arg": "IGNORE_EXCEPTIONS is no option: nothing raises",
    "test_get_django_omit_exceptions": "the same",
    "test_get_django_omit_exceptions_priority_1": "the same",
    "test_get_django_omit_exceptions_priority_2": "the same",
    "test_custom_key_function": "it looks at the keys on the server, which begin with prefix and epoch",
}
_OURS = """
from .sqlite import *

def _ours(params):
    location, prefix = params["LOCATION"], params.get("KEY_PREFIX") or "t"
    options = {"L2": params.get("OPTIONS", {})}
    backend = "django_perf.cache.MultiLevelCache"
    return {"BACKEND": backend, "LOCATION": location, "KEY_PREFIX": prefix, "OPTIONS": options}

CACHES = {alias: _ours(params) for alias, params in CACHES.items()}
"""


def fetch(folder: Path, port: str) -> Path:
    """Return the folder above the tests, which know our server and our settings now."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    wanted = f"django-redis=={version('django-redis')}"
    subprocess.run([*command, "--dest", str(folder), wanted], check=True, stderr=subprocess.DEVNULL)
    (archive,) = folder.glob("django[_-]redis-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    tests = next(folder.glob("django[_-]redis-*/tests"))
    settings = tests / "settings" / "sqlite.py"
    settings.write_text(settings.read_text().replace(":6379", f":{port}"))
    (tests / "settings" / "ours.py").write_text(_OURS)
    conftest = tests / "conftest.py"
    chosen = re.sub(r"settings = \[.*?\]", "settings = [environ['WANTED']]", conftest.read_text(), flags=re.DOTALL)
    conftest.write_text(chosen)
    (tests / "pytest.ini").write_text("[pytest]\naddopts = -p no:django -p no:randomly -p no:cacheprovider\n")
    return tests.parent


def run(folder: Path, name: str) -> tuple[set[str], str]:
    """Run the tests with one settings module; returns what failed, and the last line."""
    environment = {**os.environ, "WANTED": name, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    paths = [f"tests/{module}" for module in MODULES]
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-c", "tests/pytest.ini", "--rootdir=."]
    result = subprocess.run(
        [*command, *paths], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    failed = re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", result.stdout, re.MULTILINE)
    return set(failed), result.stdout.strip().splitlines()[-1]


def main() -> None:
    """Run both, print what differs and why, and exit 1 when something else does."""
    port = re.search(r":(\d+)", find_redis().url.partition("@")[2] or find_redis().url.partition("//")[2])
    assert port is not None
    with tempfile.TemporaryDirectory() as temporary:
        folder = fetch(Path(temporary), port[1])
        (stock, stock_line), (ours, our_line) = (run(folder, name) for name in ("sqlite", "ours"))
    print(f"django-redis {version('django-redis')}: {stock_line}\nours: {our_line}")
    for name in sorted(ours - stock):
        print(f"  {name}: {DIFFERENCES.get(name, 'UNKNOWN')}")
    sys.exit(bool(ours - stock - DIFFERENCES.keys()))


if __name__ == "__main__":
    main()
