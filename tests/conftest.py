"""What every test gets: a clean cache, an empty recorder, and a header that names the servers."""

from __future__ import annotations

import os

import pytest
from django.conf import settings
from django.core.cache import cache
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from django_perf.metrics.recorder import recorder
from tests.end_to_end.browser import find_chromium

# A machine under load is no failure of the code, so no deadline; CI must give the same verdict twice.
hypothesis_settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("ci", hypothesis_settings.get_profile("local"), derandomize=True, database=None)
# No test has begun while tests are collected: nothing may start the flusher of this process, which would write later.
recorder.wake = None
hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")


def pytest_report_header() -> list[str]:
    """Say which servers and which browser the tests run on."""
    services = [f"{service.name}: {service.origin}" for service in (settings.POSTGRES, settings.REDIS)]
    return [*services, f"browser: {find_chromium() or 'none; tests that need one will fail'}"]


@pytest.fixture(autouse=True)
def _empty_cache():
    """Leave nothing in Redis for the next test."""
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def _empty_recorder():
    """Start as a fresh process does, and let no flusher write while a test looks: one that wants a flusher makes it."""
    recorder.enabled, recorder.wake = False, None
    # The cache of all tests hears what other workers write, and counts it: whoever wants a source names it.
    sources, recorder._sources = recorder._sources, []
    recorder.drain()
    recorder.samples.reset()
    yield
    recorder._sources = [*sources, *(one for one in recorder._sources if one not in sources)]
