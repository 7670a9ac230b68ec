"""Judge the size of a pool by what was measured: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

OVER_SERVER, LEAK, STARVED, OVERSIZED = "pool_over_server", "pool_leak", "pool_starved", "pool_oversized"

# Waits below this are noise of the scheduler.
LONG_WAIT_MS = 5.0
_BUSY, _IDLE = 0.7, 0.1
# As busy as a pool should be on average, so that bursts find a connection.
_WANTED = 0.5
# Whoever shows them may translate them first: this module knows no language.
REMEDIES = (
    _TOO_MANY := "The fleet may open %(fleet)s connections, the server takes %(server)s: max_size %(size)s",
    _HELD := "Connections are held for long: the log names the holders; see released()",
    _LITTLE := "Little used: max_size %(size)s would do",
    _FEW_HOLD := "Few hold long (p99 %(hold)s ms) and others wait: put slow work into released()",
    _BURSTS := "Waits come in bursts, or from a server that did not answer; see timeouts and refusals",
    _FULL := "Busy %(share)s: raise max_size to %(size)s",
)


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
    """Name what is wrong with a size, and say what to do: one of REMEDIES, and the figures in it."""

    rule: str
    text: str
    figures: Mapping[str, object] = MappingProxyType({})

    @property
    def remedy(self) -> str:
        """Return both in one sentence."""
        return self.text % self.figures


def judged(usage: Usage) -> Verdict | None:
    """Return what is wrong with the size, the most urgent; None when nothing."""
    if not usage.processes or not usage.max_size:
        return None
    share = usage.in_use / usage.max_size
    if usage.server_max and usage.max_size > usage.server_max:
        most = max(1, usage.server_max // usage.processes)
        return Verdict(OVER_SERVER, _TOO_MANY, {"fleet": usage.max_size, "server": usage.server_max, "size": most})
    if usage.leaks:
        return Verdict(LEAK, _HELD)
    if usage.failures or usage.wait_p95_ms > LONG_WAIT_MS:
        return _when_waiting(usage, share)
    if share < _IDLE and usage.each > 2 and usage.count:
        most = max(2, math.ceil(usage.each * share / _WANTED))
        return Verdict(OVERSIZED, _LITTLE, {"size": most})
    return None


def _when_waiting(usage: Usage, share: float) -> Verdict:
    if share < _BUSY and usage.hold_p99_ms > 20 * LONG_WAIT_MS:
        return Verdict(STARVED, _FEW_HOLD, {"hold": f"{usage.hold_p99_ms:.0f}"})
    if share < _BUSY:
        return Verdict(STARVED, _BURSTS)
    wanted = math.ceil(usage.each * share / _WANTED)
    size = max(wanted, math.ceil(usage.each) + 1)
    return Verdict(STARVED, _FULL, {"share": f"{share:.0%}", "size": size})
