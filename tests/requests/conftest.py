from __future__ import annotations

import pytest
from django.test import AsyncClient, Client

from django_perf.metrics.catalog import KINDS
from django_perf.metrics.recorder import recorder


@pytest.fixture(autouse=True)
def _urls(settings):
    settings.ROOT_URLCONF = "tests.requests.urls"
    recorder.enabled = True


@pytest.fixture
def visitor():
    return Client(raise_request_exception=False)


@pytest.fixture
def async_visitor():
    return AsyncClient(raise_request_exception=False)


class Measured:
    """What the recorder has, as {key: {counter: value}}; reading it empties the recorder."""

    def __call__(self, kind: str) -> dict[tuple[str, ...], dict[str, int]]:
        found: dict[tuple[str, ...], dict[str, int]] = {}
        for table in recorder.drain().values():
            for key, aggregate in table.items():
                if key[0] == kind:
                    counters = dict(zip(KINDS[kind].counters, aggregate.counters, strict=True))
                    found[key[1:]] = {"count": aggregate.histogram.count, "us": aggregate.histogram.sum, **counters}
        return found

    def only(self) -> dict[str, int]:
        """Return the counters of the one request that was made."""
        (counters,) = self("request").values()
        return counters


@pytest.fixture
def measured():
    return Measured()
