"""The pure modules: all of them are under contract, and importing one brings no framework and no driver."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The full list of docs/architecture.md. Most come later; from then on the contract in pyproject.toml has to name them.
PURE = {
    "django_perf.advisor.statistics",
    "django_perf.alerts.deciding",
    "django_perf.alerts.messages",
    "django_perf.breaker",
    "django_perf.cache.eviction",
    "django_perf.cache.keys",
    "django_perf.cache.memory",
    "django_perf.cache.resp",
    "django_perf.cache.sealing",
    "django_perf.cache.single_flight",
    "django_perf.compression.building",
    "django_perf.compression.negotiation",
    "django_perf.compression.profiles",
    "django_perf.dashboard.charts",
    "django_perf.db.findings",
    "django_perf.db.fingerprint",
    "django_perf.db.plans.indexes",
    "django_perf.db.plans.judgement",
    "django_perf.db.plans.plan",
    "django_perf.db.plans.preparing",
    "django_perf.exporters.exported",
    "django_perf.exporters.families",
    "django_perf.exporters.kept",
    "django_perf.metrics",
    "django_perf.pool.options",
    "django_perf.pool.pool",
    "django_perf.pool.session",
    "django_perf.pool.sizing",
    "django_perf.readiness.drain",
    "django_perf.readiness.overload",
    "django_perf.readiness.probe",
}
HEAVY = ("django", "redis", "psycopg2")
IMPORT_ALONE = "import sys, {module}; print(*sorted(set({heavy!r}) & set(sys.modules)))"


def _contract() -> set[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (contract for contract in settings["contracts"] if contract["type"] == "forbidden")
    return set(contract["source_modules"])


def _exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_contract_names_exactly_the_pure_modules_that_exist():
    assert _contract() == {module for module in PURE if _exists(module)}


@pytest.mark.parametrize("module", sorted(_contract()))
def test_importing_a_pure_module_brings_no_framework_and_no_driver(module):
    code = IMPORT_ALONE.format(module=module, heavy=HEAVY)

    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert child.stdout.split() == []
