"""The engine in a worker of gevent."""

from __future__ import annotations

import subprocess
import sys


def test_greenlets_share_a_pool():
    command = [sys.executable, "-W", "ignore", "-m", "tests.pool.gevent_site"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "Level(max_size=4, size=4, in_use=0, idle=4, waiting=0, breaker='closed')" in result.stdout
