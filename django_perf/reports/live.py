"""Say what the live view shows, and what each key changes about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

RANGES = {"1": "5m", "2": "1h", "3": "24h", "4": "7d"}
_MOST_TEXT = 100
_SEQUENCE = re.compile("\x1b(?:\\[[0-9;]*[A-Za-z~]|O[A-Za-z])|[\\s\\S]")
_NAMED = {
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\t": "right",
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x1b[Z": "left",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x1b": "escape",
    "\x04": "q",
}
_STEPS = {"right": 1, "left": -1}


@dataclass(frozen=True, slots=True)
class View:
    """Hold what is shown. `sort` is a column, "" for the report's own order; `draft` is a filter that is being typed.

    `paused_at` (seconds since 1970) is the moment that is looked at, None for now.
    """

    since: str = RANGES["1"]
    sort: str = ""
    is_reversed: bool = False
    text: str = ""
    draft: str | None = None
    paused_at: float | None = None

    @property
    def order(self) -> str:
        """Return the order as Report.table() takes it."""
        return f"{'-' if self.is_reversed else ''}{self.sort}" if self.sort else ""


def keys_of(data: bytes) -> list[str]:
    """Return the keys that a terminal has sent: names of special ones, and signs; unknown sequences are left out."""
    found = (match[0] for match in _SEQUENCE.finditer(data.decode("utf-8", "ignore")))
    keys = (_NAMED.get(sign, sign) for sign in found)
    return [key for key in keys if not key.startswith("\x1b")]


def pressed(view: View, key: str, columns: Sequence[str], own_order: str, now: float) -> View | None:
    """Return what a key makes of the view, None for the end; `columns` are those that it can be sorted by."""
    if view.draft is not None:
        return _typed(view, view.draft, key)
    if key == "q":
        return None
    if key in _STEPS and columns:
        return _sorted_by_next(view, columns, own_order, _STEPS[key])
    if key in RANGES:
        return replace(view, since=RANGES[key])
    changes = {
        "r": {"is_reversed": not view.is_reversed, "sort": view.sort or own_order},
        "/": {"draft": ""},
        "escape": {"text": ""},
        "p": {"paused_at": now if view.paused_at is None else None},
    }
    return replace(view, **changes.get(key, {}))  # type: ignore[arg-type]


def _sorted_by_next(view: View, columns: Sequence[str], own_order: str, step: int) -> View:
    by = view.sort or own_order
    place = columns.index(by) + step if by in columns else 0
    return replace(view, sort=columns[place % len(columns)], is_reversed=False)


def _typed(view: View, draft: str, key: str) -> View:
    if key == "enter":
        return replace(view, text=draft.strip(), draft=None)
    if key == "escape":
        return replace(view, draft=None)
    if key == "backspace":
        return replace(view, draft=draft[:-1])
    is_sign = len(key) == 1 and key.isprintable()
    return replace(view, draft=f"{draft}{key}"[:_MOST_TEXT]) if is_sign else view
