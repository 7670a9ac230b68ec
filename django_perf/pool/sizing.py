"""Judge the size of a pool by what was measured: pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

OVER_SERVER, LEAK, STARVED, OVERSIZED = "pool_over_server", "pool_leak", "pool_starved", "pool_oversized"

# Waits below this are noise of the scheduler.
LONG_WAIT_MS = 5.0
_BUSY, _IDLE = 0.7, 0.1
# As busy as a pool should be on average, so that bursts find a connection.
_WANTED = 0.5


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold the figures of one database over a window: `in_use` is the mean number of connections held in the fleet."""

    processes: int
    max_size: int
    server_max: int | None
    in_use: float
    count: int
    wait_p95_ms: float
    hold_p99_ms: float
    failures: int
    leaks: int

    @property
    def each(self) -> float:
        """Return the size of one pool."""
        return self.max_size / self.processes


class Verdict(NamedTuple):
    """Name what is wrong with a size, and say what to do."""

    rule: str
    remedy: str


def judged(usage: Usage) -> Verdict | None:
    """Return what is wrong with the size, the most urgent; None when nothing."""
    if not usage.processes or not usage.max_size:
        return None
    share = usage.in_use / usage.max_size
    if usage.server_max and usage.max_size > usage.server_max:
        most = max(1, usage.server_max // usage.processes)
        return Verdict(
            OVER_SERVER,
            f"The fleet may open {usage.max_size} connections, the server takes {usage.server_max}: max_size {most}",
        )
    if usage.leaks:
        return Verdict(LEAK, "Connections are held for long: the log names the holders; see released()")
    if usage.failures or usage.wait_p95_ms > LONG_WAIT_MS:
        return Verdict(STARVED, _when_waiting(usage, share))
    if share < _IDLE and usage.each > 2 and usage.count:
        most = max(2, math.ceil(usage.each * share / _WANTED))
        return Verdict(OVERSIZED, f"Little used: max_size {most} would do")
    return None


def _when_waiting(usage: Usage, share: float) -> str:
    if share < _BUSY and usage.hold_p99_ms > 20 * LONG_WAIT_MS:
        return f"Few hold long (p99 {usage.hold_p99_ms:.0f} ms) and others wait: put slow work into released()"
    if share < _BUSY:
        return "Waits come in bursts, or from a server that did not answer; see timeouts and refusals"
    wanted = math.ceil(usage.each * share / _WANTED)
    return f"Busy {share:.0%}: raise max_size to {max(wanted, math.ceil(usage.each) + 1)}"
