"""Draw lines as SVG, for readers without JavaScript, and hand the same numbers to the script; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 120
SPARK = 120, 24
_TOP = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """Name one line of a chart; None is a gap. `tone` picks its colour in the style sheet: 1, 2, 3 or bad."""

    label: str
    tone: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """Hold a chart: `times` are seconds since 1970, one for each value of each line."""

    id: str
    title: str
    unit: str
    times: Sequence[int]
    lines: Sequence[Line]

    def at(self, moment: float) -> float | None:
        """Return where a moment stands between the left end of the box and the right, None outside."""
        if len(self.times) < 2 or not self.times[0] <= moment <= self.times[-1]:
            return None
        return (moment - self.times[0]) / (self.times[-1] - self.times[0]) * WIDTH

    @property
    def highest(self) -> float:
        """Return the largest value, at least a little above zero."""
        return max((value for line in self.lines for value in line.values if value is not None), default=0.0) or 1.0

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing but gaps and zeros."""
        return not any(value for line in self.lines for value in line.values)

    def data(self) -> dict[str, object]:
        """Return what the script needs."""
        return {
            "unit": self.unit,
            "times": list(self.times),
            "lines": [{"label": one.label, "tone": one.tone, "values": list(one.values)} for one in self.lines],
        }

    def paths(self) -> list[dict[str, str]]:
        """Return label, tone and SVG path of each line, in a box of WIDTH x HEIGHT."""
        return [{"label": one.label, "tone": one.tone, "path": self._path(one.values)} for one in self.lines]

    def _path(self, values: Sequence[float | None]) -> str:
        return path(values, self.highest, WIDTH, HEIGHT)


def path(values: Sequence[float | None], highest: float, width: int, height: int) -> str:
    """Return values as an SVG path in a box of this size, with a little room above the highest."""
    step = width / max(1, len(values) - 1)
    scale = height * (1 - _TOP) / highest
    parts: list[str] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        goes_on = index > 0 and values[index - 1] is not None
        parts.append(f"{'L' if goes_on else 'M'}{index * step:.1f} {height - value * scale:.1f}")
        if not goes_on:
            parts.append("h1")  # a point between two gaps would be invisible
    return "".join(parts)


def sparkline(values: Sequence[float | None]) -> str:
    """Return values as the path of a small chart without axes, "" where there is nothing to see."""
    known = [value for value in values if value]
    return path(values, max(known), *SPARK) if len(known) > 1 else ""
