"""Read OPTIONS["pool"] of a database into a frozen dataclass."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

_NUMBERS = {"min_size": 0, "max_size": 1, "max_waiting": 0, "max_uses": 1}
_GUARDS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_RESETS = ("dirty", "always")


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Hold the options of a pool, named as in psycopg_pool; times are seconds.

    `max_size` None: as many as the worker has threads, 20 at most. The three guards are given to the server when a
    connection is made; None or 0 leaves one to the server's own configuration. `reset` says what happens to a session
    on its return: "dirty" (DISCARD ALL when a statement changed it), "always", or a function of the connection.
    """

    min_size: int = 0
    max_size: int | None = None
    timeout: float = 5.0
    max_waiting: int = 0
    max_idle: float = 300.0
    max_lifetime: float = 3600.0
    max_uses: int = 50_000
    keepalive: float = 60.0
    leak_after: float = 60.0
    reset: str | Callable[[Any], object] = "dirty"
    statement_timeout: float | None = 30.0
    lock_timeout: float | None = 10.0
    idle_in_transaction_session_timeout: float | None = 300.0

    def guards(self) -> dict[str, int]:
        """Return the session guards that are on, in milliseconds, by the server's name."""
        return {name: round(getattr(self, name) * 1e3) for name in _GUARDS if getattr(self, name)}


def read(raw: object) -> PoolOptions | None:
    """Return the options, None when the pool is switched off; raises ValueError that lists every fault."""
    if raw is False:
        return None
    faults = list(problems(raw))
    if faults:
        raise ValueError("; ".join(text for text, _ in faults))
    return PoolOptions(**raw) if isinstance(raw, Mapping) else PoolOptions()


def problems(raw: object) -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, how to mend it) for each fault of OPTIONS["pool"]."""
    if raw is None or isinstance(raw, bool):
        return
    if not isinstance(raw, Mapping):
        yield f"OPTIONS['pool'] is {raw!r}", "It takes a dict of options, True or False."
        return
    known = [field.name for field in fields(PoolOptions)]
    for name, value in raw.items():
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(known)}."
            yield f"OPTIONS['pool'] has no option {name!r}", hint
        elif wants := _refused(name, value):
            yield f"OPTIONS['pool'][{name!r}] is {value!r}", f"It takes {wants}."
    if not list(_disordered(raw)):
        return
    yield from _disordered(raw)


def _disordered(raw: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    least, most = raw.get("min_size", 0), raw.get("max_size")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield f"OPTIONS['pool'] has min_size {least} above max_size {most}", "Raise max_size or lower min_size."


def _most(name: str) -> float:
    """Return what an option stays below; the server counts its milliseconds in 31 bits."""
    return 2_147_483 if name in _GUARDS else 1e7


def _refused(name: str, value: object) -> str:
    """Return what an option takes when it does not take `value`, else ""."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _NUMBERS:
        least = _NUMBERS[name]
        is_fine = (isinstance(value, int) and is_number and value >= least) or (name == "max_size" and value is None)
        return "" if is_fine else f"a whole number, {least} or more"
    if name == "reset":
        return "" if value in _RESETS or callable(value) else "'dirty', 'always' or a function of the connection"
    if name in _GUARDS and value is None:
        return ""
    is_fine = is_number and 0 <= value < _most(name) and (value > 0 or name in _GUARDS)  # type: ignore[operator]
    return "" if is_fine else "seconds" + (", or None" if name in _GUARDS else " above 0")
