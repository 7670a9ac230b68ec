"""Hold what is known of one execution of a database statement, in the cheapest form there is."""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from .aggregate import Key
from .callsite import Site, find_caller

# One execution of a statement, as a list because making one is the cheapest: its shape, when it began
# (perf_counter_ns), the nanoseconds of execute() and of fetching, rows returned or affected, where in the code it was
# sent from (None unless somebody looked), and a hash of its text and parameters that lives as long as the request.
Run = list[Any]
SHAPE, STARTED, NS, ROWS, SITE, MARK = range(6)


class Shape:
    """Stand for all statements that differ in values only: `key` is (kind, alias, SQL without literals).

    There is one object for a text of SQL, so that its identity can be its hash: hashing the key would touch four
    objects that are in no cache. It remembers who sent it the last time.
    """

    __slots__ = ("_code", "_depth", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        self._code: CodeType | None = None
        self._depth = 0

    @property
    def alias(self) -> str:
        """Return the database."""
        return self.key[1]

    @property
    def sql(self) -> str:
        """Return the SQL without literals."""
        return self.key[2]

    def site(self) -> Site | None:
        """Return where the project's code called what calls this, None if nowhere.

        Looks first where that was found the last time: a frame by its number costs a tenth of a walk to it. Threads may
        overwrite each other's memory: whatever they leave, only a frame with the right code is believed.
        """
        try:
            frame = sys._getframe(self._depth)
        except ValueError:  # the stack is not so deep today
            return self._search()
        return (frame.f_code, frame.f_lasti) if frame.f_code is self._code else self._search()

    def _search(self) -> Site | None:
        # From site() outwards, as it counts.
        frame, self._depth = find_caller(sys._getframe(1))
        if frame is None:
            return None
        self._code = frame.f_code
        return frame.f_code, frame.f_lasti
