"""Look closer at the statements of a request that repeat, take long, return much, or are sent by a template.

Only where something may be wrong. What costs most is to see where in the code a statement came from: half a microsecond
where it was sent from the same line as the last time, five where not.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from threading import Lock

from ..metrics.callsite import find_site, place_of
from ..metrics.catalog import CALL_SITE, FINDING
from ..metrics.statement import MARK, NS, SHAPE, SITE, STRIDE, Run, Runs, Shape, calls, column, each, some
from ..metrics.trace import DEAR_NS, FOLD_AT, KEPT, Trace
from . import findings
from .findings import Tally
from .remedy import remedy_of, template_site
from .slow_log import log_run, slow_ns

REPEATED, MANY_ROWS = findings.LEAST_REPEATS, findings.MOST_ROWS
# A line was seen so often that what lies between is taken to be its too.
_SURE = 3
# Of one statement: code that is made at run time may have any number of lines.
_MAX_REMEDIES = 50

_NONE = Tally()

# A statement, and the place that sent it.
Sent = tuple[Shape, str]


class StatementWatch:
    """Keep what was seen in one request; used by one thread at a time as a rule, as its trace is."""

    __slots__ = ("_folded", "_folded_again", "_in_templates", "_large", "_unfinished")

    def __init__(self) -> None:
        # Of executions that are not in the trace any more, and of those that were repetitions.
        self._folded: dict[Sent, Tally] = defaultdict(Tally)
        self._folded_again: dict[Sent, Tally] = defaultdict(Tally)
        self._in_templates: dict[Sent, Tally] = defaultdict(Tally)
        self._large: dict[Sent, Tally] = defaultdict(Tally)
        # Those that are slow or large already, and whose rows may still be fetched.
        self._unfinished: list[Run] = []

    def look(self, trace: Trace, run: Run) -> None:
        """Look at a statement that has just been executed."""
        if trace.template is not None:
            run.sent_from(template_site(sys._getframe(2)))
            self._in_templates[run.shape, place_of(run.site)].add(run)
        elif run.site is None:
            run.sent_from(find_site(sys._getframe(2)))
        if run.ns >= DEAR_NS or run.rows > MANY_ROWS:
            self._unfinished.append(run)

    def finish(self, trace: Trace, run: Run) -> None:
        """Judge a statement that took long or returned much, when its rows are fetched."""
        if run.site is None:
            run.sent_from(find_site(sys._getframe(2)))
        self._unfinished = [one for one in self._unfinished if one.runs is not run.runs or one.at != run.at]
        self._judge(trace, run)

    def _judge(self, trace: Trace, run: Run) -> None:
        if findings.is_unbounded(run.shape.sql, run.rows):
            self._large[run.shape, place_of(run.site)].add(run)
        if run.ns >= slow_ns():
            log_run(run, trace)

    def fold(self, trace: Trace, runs: Runs) -> None:
        """Add up most of very many executions."""
        shape: Shape = runs[SHAPE]
        _spread_sites(runs)
        folded = trace.fold_runs(shape)
        self._let_go(trace, runs, len(folded) - 1)
        known = set(column(runs, MARK)[:KEPT])
        for found, tallies in ((folded, self._folded), (_again(folded, known), self._folded_again)):
            for place, own in _by_place(found).items():
                tallies[shape, place].merge(Tally.of(own))

    def _let_go(self, trace: Trace, runs: Runs, cut: int) -> None:
        """Judge those whose rows may still be fetched and that were folded; those behind them stand elsewhere now."""
        own = [one for one in self._unfinished if one.runs is runs]
        self._unfinished = [one for one in self._unfinished if one.runs is not runs]
        for one in own:
            if one.at >= KEPT * STRIDE + cut:
                one.at -= cut
            elif one.at >= KEPT * STRIDE:
                continue  # its figures are not there any more: it was looked at when it was executed
            self._unfinished.append(one)

    def end(self, trace: Trace) -> None:
        """Judge what nobody has closed."""
        for run in self._unfinished:
            self._judge(trace, run)

    def conclude(self, trace: Trace) -> None:
        """Add the findings to the trace, and the lines that sent slow or frequent statements."""
        for runs in trace.statements.values():
            if calls(runs) > 1:
                self._judge_repeats(trace, runs)
            elif runs[NS] >= DEAR_NS:
                _add_call_site(trace, (runs[SHAPE], place_of(runs[SITE])), Tally.of(runs))
        for name, tallies in ((findings.UNBOUNDED, self._large), (findings.TEMPLATE, self._in_templates)):
            for sent, tally in tallies.items():
                add_finding(trace, name, sent, tally)

    def _judge_repeats(self, trace: Trace, runs: Runs) -> None:
        """Find one query for each of something, and the very same query again."""
        shape, marks = runs[SHAPE], column(runs, MARK)
        is_often, is_again = len(marks) >= REPEATED, len(set(marks)) < len(marks)
        if not is_often and not is_again and max(column(runs, NS)) < DEAR_NS:
            return
        _spread_sites(runs)
        all_, repetitions = self._with_folded(runs, self._folded), self._with_folded(_again(runs), self._folded_again)
        for place, tally in all_.items():
            again = repetitions.get(place, _NONE)
            if is_often or tally.ns >= DEAR_NS:
                _add_call_site(trace, (shape, place), tally)
            # Where all of them ask the very same, nothing is fetched for each.
            is_for_each = shape.is_opaque or again.calls < tally.calls - 1
            if findings.may_repeat(shape.sql) and findings.is_n_plus_one(tally.calls, tally.ns) and is_for_each:
                add_finding(trace, findings.N_PLUS_ONE, (shape, place), tally)
            elif again.calls and not shape.is_opaque and findings.may_be_duplicate(shape.sql):
                add_finding(trace, findings.DUPLICATE, (shape, place), again)

    def _with_folded(self, runs: Runs, folded: dict[Sent, Tally]) -> dict[str, Tally]:
        """Return what came from each place, the executions that are not in the trace any more included."""
        tallies = {place: Tally.of(own) for place, own in _by_place(runs).items()}
        for (shape, place), tally in folded.items():
            if shape is runs[SHAPE]:
                tallies.setdefault(place, Tally()).merge(tally)
        return tallies


_lock = Lock()


def _forget_parent() -> None:
    global _lock
    _lock = Lock()


os.register_at_fork(after_in_child=_forget_parent)


class _Repetitions:
    """Stand for the watch of a request in which statements repeat, and that is all: until its end there is nothing."""

    def end(self, trace: Trace) -> None:
        """Do nothing."""

    def conclude(self, trace: Trace) -> None:
        """Add the findings to the trace."""
        StatementWatch().conclude(trace)


_REPETITIONS = _Repetitions()


def look_at_repetition(trace: Trace, runs: Runs, at: int) -> int:
    """Look where a statement comes from that the request has executed before, and what to do about it.

    Of very many executions most are added up: returns where the last one stands then.
    """
    shape: Shape = runs[SHAPE]
    site = runs[at + SITE] = runs[at + SITE] or shape.site() or ""  # nowhere in the project is known, too
    if trace.watch is None:
        trace.watch = _REPETITIONS
    if site is not shape.learned and calls(runs) >= REPEATED:
        shape.learned = site
        _learn_remedy(shape, place_of(site))
    # A request may have several threads. None waits: what is not folded now is with the next ones.
    if calls(runs) < FOLD_AT or not _lock.acquire(blocking=False):
        return at
    try:  # critical section: what is cut out of the list is added up once
        watch_of(trace).fold(trace, runs)
        return len(runs) - 1 - STRIDE
    finally:
        _lock.release()


def _spread_sites(runs: Runs) -> None:
    """Where nobody has looked where an execution came from, take it to be where the next one did that was looked at.

    Only of lines that were seen several times: a statement may also come from many lines, once from each.
    """
    sites = column(runs, SITE)
    known = [site for site in sites if site is not None]
    if len(known) >= _SURE and known.count(known[0]) == len(known):
        runs[SITE::STRIDE] = known[:1] * len(sites)
        return
    seen = Counter(map(place_of, known))
    last = next((place_of(site) for site in reversed(known) if seen[place_of(site)] >= _SURE), None)
    for number in reversed(range(len(sites))):
        if sites[number] is None:
            sites[number] = last
        elif seen[place_of(sites[number])] >= _SURE:
            last = place_of(sites[number])
    runs[SITE::STRIDE] = sites


def _by_place(runs: Runs) -> dict[str, Runs]:
    """Return the executions by the place that they came from, those aside of which nobody knows it."""
    sites = column(runs, SITE)
    if sites and sites.count(sites[0]) == len(sites):
        return {} if sites[0] is None else {place_of(sites[0]): runs}
    found: dict[str, list[Run]] = {}
    for run in each(runs):
        if run.site is not None:
            found.setdefault(place_of(run.site), []).append(run)
    return {place: some(runs, own) for place, own in found.items()}


def _again(runs: Runs, known: Iterable[object] = ()) -> Runs:
    """Return the executions that repeat an earlier one, or one of `known`, with all its parameters."""
    seen = set(known)
    return some(runs, [run for run in each(runs) if run.mark in seen or seen.add(run.mark)])  # type: ignore[func-returns-value]


def watch_of(trace: Trace) -> StatementWatch:
    """Return what watches the statements of a request; it begins to with the first that is worth it."""
    if not isinstance(trace.watch, StatementWatch):
        trace.watch = StatementWatch()
    return trace.watch


def add_finding(trace: Trace, name: str, sent: Sent, tally: Tally) -> None:
    """Add one finding to the measurements of a request."""
    shape, place = sent
    remedy = shape.remedies.get(place, "") if name in (findings.N_PLUS_ONE, findings.DUPLICATE) else ""
    labels = (name, shape.alias, shape.sql, place, remedy)
    trace.add((FINDING.name, *labels), (tally.ns // 1000,), (tally.calls, tally.rows))


def _add_call_site(trace: Trace, sent: Sent, tally: Tally) -> None:
    """Say what the statements from one line took together, if anybody knows the line."""
    shape, place = sent
    if place:
        trace.add((CALL_SITE.name, *shape.key[1:], place), (tally.ns // 1000,), (tally.calls, tally.rows))


def _learn_remedy(shape: Shape, place: str) -> None:
    """Look at the frames once in the life of the process; where that fails, it would fail each time."""
    if place not in shape.remedies and len(shape.remedies) < _MAX_REMEDIES:
        shape.remedies[place] = ""
        shape.remedies[place] = remedy_of(sys._getframe(2))
