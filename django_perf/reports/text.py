"""Write values for people: a number with its unit, never more digits than anybody reads."""

from __future__ import annotations

import re
from collections.abc import Callable

from .report import Value

_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_THIN_SPACE = "\u202f"
_NO_BREAK = "\u00a0"
# A SELECT names its columns first, which is the part that tells two statements least apart.
_SELECT_LIST = re.compile(r"\A(SELECT (?:DISTINCT )?).{40,}?( FROM )", re.IGNORECASE)


def text_of(value: Value, unit: str) -> str:
    """Return `value` as a person writes it; a dash for what is not known."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value[:16].replace("T", " ") if unit == "time" else value
    return _FORMATS.get(unit, _plain)(float(value))


def short_sql(sql: str) -> str:
    """Leave out a long list of columns."""
    return _SELECT_LIST.sub(r"\1…\2", sql)


def _grouped(value: float) -> str:
    return f"{value:,.0f}".replace(",", _THIN_SPACE)


def _plain(value: float) -> str:
    """Give three significant digits below 100, whole numbers above."""
    if value == int(value) or abs(value) >= 100:
        return _grouped(value)
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _milliseconds(value: float) -> str:
    if value >= 60_000:
        return _seconds(value / 1_000)
    return f"{_plain(value / 1_000)}{_NO_BREAK}s" if value >= 1_000 else f"{_plain(value)}{_NO_BREAK}ms"


def _microseconds(value: float) -> str:
    return f"{_plain(value)}{_NO_BREAK}µs" if value < 1_000 else _milliseconds(value / 1_000)


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.0f} s"
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _bytes(value: float) -> str:
    power = 0
    while value >= 1000 and power < len(_BYTES) - 1:
        value, power = value / 1000, power + 1
    return f"{_plain(value) if power else int(value)}{_NO_BREAK}{_BYTES[power]}"


def _percent(value: float) -> str:
    return f"{0 if value == 0 else format(value, '.1f' if value < 10 else '.0f')}{_NO_BREAK}%"


_FORMATS: dict[str, Callable[[float], str]] = {
    "count": _grouped,
    "id": lambda value: f"{value:.0f}",
    "us": _microseconds,
    "ms": _milliseconds,
    "s": _seconds,
    "bytes": _bytes,
    "ratio": lambda value: _percent(value * 100),
    "percent": _percent,
    "bytes_per_s": lambda value: f"{_bytes(value)}/s",
    "per_s": lambda value: f"{_plain(value)}/s",
}
