"""Hold what is known of one execution of a database statement, in the cheapest form there is."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from .aggregate import Key
from .callsite import Site, find_caller

# All executions of one statement in one request, the cheapest way: the shape, and then for each execution when it began
# (perf_counter_ns), the nanoseconds of execute() and of fetching, rows returned or affected, where in the code it was
# sent from (None where nobody has looked), and a hash of its text and parameters that lives as long as the request.
# One flat list, because an object for each execution would keep the garbage collector busy.
Runs = list[Any]
SHAPE = 0
STARTED, NS, ROWS, SITE, MARK = range(1, 6)
STRIDE = 5


def calls(runs: Runs) -> int:
    """Return the number of executions."""
    return len(runs) // STRIDE


def column(runs: Runs, name: int) -> list[Any]:
    """Return one figure of each execution: STARTED, NS, ROWS, SITE or MARK."""
    return runs[name::STRIDE]


def each(runs: Runs) -> list[Run]:
    """Return the executions one by one."""
    return [Run(runs, at) for at in range(0, len(runs) - 1, STRIDE)]


def some(runs: Runs, chosen: Iterable[Run]) -> Runs:
    """Return those executions that were chosen."""
    return [runs[SHAPE], *(figure for run in chosen for figure in run.figures)]


@dataclass(slots=True, eq=False)
class Run:
    """Look at one execution among its kind, where one is worth an object of its own; `at` is where it stands."""

    runs: Runs
    at: int

    @property
    def shape(self) -> Shape:
        """Return the statement."""
        shape: Shape = self.runs[SHAPE]
        return shape

    @property
    def figures(self) -> list[Any]:
        """Return all that is known of it, from STARTED to MARK."""
        return self.runs[self.at + STARTED : self.at + STARTED + STRIDE]

    @property
    def started_ns(self) -> int:
        """Return when it began, by perf_counter_ns."""
        return int(self.runs[self.at + STARTED])

    @property
    def ns(self) -> int:
        """Return how long it took so far."""
        return int(self.runs[self.at + NS])

    @property
    def rows(self) -> int:
        """Return how many rows it has returned or affected so far."""
        return int(self.runs[self.at + ROWS])

    @property
    def site(self) -> Site | None:
        """Return where it was sent from, None where nobody has looked."""
        site: Site | None = self.runs[self.at + SITE]
        return site

    @property
    def mark(self) -> object:
        """Return what is equal for equal text and parameters."""
        mark: object = self.runs[self.at + MARK]
        return mark

    def sent_from(self, site: Site | None) -> None:
        """Note where it was sent from."""
        self.runs[self.at + SITE] = site


class Shape:
    """Stand for all statements that differ in values only: `key` is (kind, alias, SQL without literals).

    There is one object for a text of SQL, so that its identity can be its hash: hashing the key would touch four
    objects that are in no cache. It remembers who sent it the last time, and what others have learned of those who do:
    `learned` is the last site that they have looked at, `remedies` by place what would be better, and `is_opaque` that
    nobody can tell whether it is asked with the same values again.
    """

    __slots__ = ("_depth", "_site", "is_opaque", "key", "learned", "remedies")

    def __init__(self, key: Key) -> None:
        self.key = key
        self._depth = 0
        self._site: tuple[CodeType, int] | None = None
        self.learned: Site | None = None
        self.is_opaque = False
        self.remedies: dict[str, str] = {}

    @property
    def alias(self) -> str:
        """Return the database."""
        return self.key[1]

    @property
    def sql(self) -> str:
        """Return the SQL without literals."""
        return self.key[2]

    def site(self) -> Site | None:
        """Return where the project's code called what calls this, None if nowhere; the same object for the same line.

        Looks first where that was found the last time: a frame by its number costs a tenth of a walk to it. Threads may
        overwrite each other's memory: whatever they leave, only a frame with the right code is believed.
        """
        last = self._site
        if last is not None:
            try:
                frame = sys._getframe(self._depth)
            except ValueError:  # the stack is not so deep today
                return self._search()
            if frame.f_code is last[0]:
                return last if frame.f_lasti == last[1] else self._remember(frame)
        return self._search()

    def _search(self) -> Site | None:
        # From site() outwards, as it counts.
        frame, self._depth = find_caller(sys._getframe(1))
        return None if frame is None else self._remember(frame)

    def _remember(self, frame: FrameType) -> Site:
        site = self._site = frame.f_code, frame.f_lasti
        return site
