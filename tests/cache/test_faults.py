"""What visitors of a site notice while its Redis fails: the scenarios of faults.py, shortened."""

from __future__ import annotations

import pytest

from tests.cache.faults import OURS, SCENARIOS, run_short, serving
from tests.cache.redis_server import RedisServer

# 20 ms, with room for a machine that runs other tests.
PLAIN_P50_MS = 50
RECOVERY_S = 2.0


@pytest.fixture(scope="module")
def own_server():
    """A server that may be stopped; the scenarios change its configuration."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shared_site(own_server, tmp_path_factory):
    """A site that goes through one fault after the other; each has to leave it as good as new."""
    with serving(own_server, tmp_path_factory.mktemp("site"), OURS) as proxy_and_site:
        yield proxy_and_site


@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_notices_that_redis_fails(own_server, shared_site, name):
    proxy, site = shared_site
    result = run_short(own_server, proxy, site, name)
    assert result.figures.kinds == {}, site.log[-2000:]
    assert result.figures.median_ms(["plain"]) < PLAIN_P50_MS
    assert result.figures.median_ms(["read", "write"]) < 2 * PLAIN_P50_MS
    assert result.recovery_s < RECOVERY_S
    # A request waits for a level that has gone once: a timeout to connect, and one to be answered.
    assert result.figures.worst_s < RECOVERY_S
