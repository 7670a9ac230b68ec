"""Look closer at the statements of a request that repeat, take long, return much, or are sent by a template.

Only where something may be wrong. What costs most is to see where in the code a statement came from: half a microsecond
where it was sent from the same line as the last time, five where not.
"""

from __future__ import annotations

import sys
from collections import defaultdict

from ..metrics.callsite import Site, find_site, place_of
from ..metrics.catalog import CALL_SITE, FINDING
from ..metrics.statement import MARK, NS, ROWS, SHAPE, SITE, Run, Shape
from ..metrics.trace import DEAR_NS, FOLD_AT, Trace
from . import findings
from .findings import Tally
from .remedy import remedy_of, template_site
from .slow_log import log_run, slow_ns

REPEATED, MANY_ROWS = findings.LEAST_REPEATS, findings.MOST_ROWS
_MAX_KNOWN = 5_000

# A statement, and the place that sent it.
Sent = tuple[Shape, str]
_remedies: dict[tuple[str, str], str] = {}


class StatementWatch:
    """Keep what was seen in one request; used by one thread at a time, as its trace is."""

    __slots__ = ("_again", "_folded", "_in_templates", "_large", "_template_sites", "_unfinished")

    def __init__(self) -> None:
        # Of executions that are not in the trace any more.
        self._folded: dict[Sent, Tally] = defaultdict(Tally)
        self._again: dict[Sent, Tally] = defaultdict(Tally)
        self._in_templates: dict[Sent, Tally] = defaultdict(Tally)
        self._large: dict[Sent, Tally] = defaultdict(Tally)
        self._template_sites: dict[tuple[Shape, str], Site | None] = {}
        # Those that are slow or large already, and whose rows may still be fetched.
        self._unfinished: list[Run] = []

    def look(self, trace: Trace, run: Run) -> None:
        """Look at a statement that has just been executed."""
        if trace.template is not None:
            self._look_at_template(trace.template, run)
        elif run[SITE] is None:
            run[SITE] = find_site(sys._getframe(2))
        if run[NS] >= DEAR_NS or run[ROWS] > MANY_ROWS:
            self._unfinished.append(run)

    def _look_at_template(self, template: str, run: Run) -> None:
        """Name the line of the template; a statement that it repeats is sent by the same one."""
        at = run[SHAPE], template
        if at not in self._template_sites:
            self._template_sites[at] = template_site(sys._getframe(3))
        run[SITE] = self._template_sites[at]
        self._in_templates[run[SHAPE], place_of(run[SITE])].add(run)

    def finish(self, trace: Trace, run: Run) -> None:
        """Judge a statement that took long or returned much, when its rows are fetched."""
        if run[SITE] is None:
            run[SITE] = find_site(sys._getframe(2))
        self._unfinished = [one for one in self._unfinished if one is not run]
        self._judge(trace, run)

    def _judge(self, trace: Trace, run: Run) -> None:
        if findings.is_unbounded(run[SHAPE].sql, run[ROWS]):
            self._large[run[SHAPE], place_of(run[SITE])].add(run)
        if run[NS] >= slow_ns():
            log_run(run, trace)

    def repeat(self, trace: Trace, shape: Shape, runs: list[Run]) -> None:
        """Take note of a statement that the request has executed before."""
        if len(runs) == REPEATED:
            _learn_remedy(shape, place_of(runs[-1][SITE]))
        elif len(runs) >= FOLD_AT:
            folded = trace.fold_runs(shape)
            _add_call_sites(trace, shape, folded)
            for run in folded:
                self._folded[shape, place_of(run[SITE])].add(run)

    def end(self, trace: Trace) -> None:
        """Judge what nobody has closed."""
        for run in self._unfinished:
            self._judge(trace, run)

    def conclude(self, trace: Trace) -> None:
        """Add the findings to the trace."""
        for shape, runs in trace.statements.items():
            if len(runs) > 1:
                self._judge_repeats(trace, shape, runs)
            dear = runs if len(runs) >= REPEATED else [run for run in runs if run[NS] >= DEAR_NS]
            _add_call_sites(trace, shape, dear)
        for name, tallies in ((findings.UNBOUNDED, self._large), (findings.TEMPLATE, self._in_templates)):
            for sent, tally in tallies.items():
                add_finding(trace, name, sent, tally)

    def _judge_repeats(self, trace: Trace, shape: Shape, runs: list[Run]) -> None:
        """Find one query for each of something, and the very same query again."""
        if len({run[MARK] for run in runs}) == len(runs) and len(runs) < REPEATED:
            return
        runs[0][SITE] = runs[0][SITE] or runs[1][SITE]  # nobody looks at the first: most statements come once
        repetitions = _by_place(_again(runs))
        for place, own in _by_place(runs).items():
            tally, again = Tally.of(own), Tally.of(repetitions.get(place, []))
            if self._folded:
                tally.merge(self._folded[shape, place])
            # Where all of them ask the very same, nothing is fetched for each.
            if findings.is_n_plus_one(tally.calls, tally.ns) and again.calls < tally.calls - 1:
                add_finding(trace, findings.N_PLUS_ONE, (shape, place), tally)
            elif again.calls and findings.may_be_duplicate(shape.sql):
                add_finding(trace, findings.DUPLICATE, (shape, place), again)


def _by_place(runs: list[Run]) -> dict[str, list[Run]]:
    site = runs[0][SITE] if runs else None
    if all(run[SITE] == site for run in runs):
        return {place_of(site): runs}
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(place_of(run[SITE]), []).append(run)
    return found


def _again(runs: list[Run]) -> list[Run]:
    """Return the executions that repeat an earlier one with all its parameters."""
    seen: set[int | None] = {None}
    return [run for run in runs if run[MARK] is not None and (run[MARK] in seen or seen.add(run[MARK]))]  # type: ignore[func-returns-value]


def watch_of(trace: Trace) -> StatementWatch:
    """Return what watches the statements of a request; it begins to with the first that is worth it."""
    if not isinstance(trace.watch, StatementWatch):
        trace.watch = StatementWatch()
    return trace.watch


def add_finding(trace: Trace, name: str, sent: Sent, tally: Tally) -> None:
    """Add one finding to the measurements of a request."""
    shape, place = sent
    remedy = _remedies.get((shape.sql, place), "") if name in (findings.N_PLUS_ONE, findings.DUPLICATE) else ""
    labels = (name, shape.alias, shape.sql, place, remedy)
    trace.add((FINDING.name, *labels), (tally.ns // 1000,), (tally.calls, tally.rows))


def _add_call_sites(trace: Trace, shape: Shape, runs: list[Run]) -> None:
    """Say which lines sent these executions of a statement."""
    for place, own in _by_place(runs).items():
        if place:
            trace.add((CALL_SITE.name, *shape.key[1:], place), [(run[NS] + 500) // 1000 for run in own])


def _learn_remedy(shape: Shape, place: str) -> None:
    """Look at the frames once in the life of the process; where that fails, it would fail each time."""
    sent = shape.sql, place
    if sent not in _remedies:
        if len(_remedies) >= _MAX_KNOWN:
            _remedies.clear()
        _remedies[sent] = ""
        _remedies[sent] = remedy_of(sys._getframe(2))
