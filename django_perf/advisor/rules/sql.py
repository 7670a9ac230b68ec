"""Judge statements and transactions: what the requests found in them, what they cost, what the databases say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from django.utils.translation import gettext

from ...db import findings as found
from ...db.fingerprint import shape_id
from ...db.health import checks
from ...metrics.catalog import FINDING
from ...reports.database import vitals
from ...reports.findings import Finding, findings
from ...reports.queries import Statement, statements
from ...reports.requests import endpoints
from ...reports.sentence import figure
from ...reports.text import short_sql
from ...reports.window import Window
from ...store.reader import Snapshot
from ..advice import HIGH, LOW, MEDIUM, Advice
from .reading import by_scope

N_PLUS_ONE, UNBOUNDED_RESULT, OPEN_TRANSACTION = "n_plus_one", "unbounded_result", "open_transaction"
DUPLICATE_QUERY, SLOW_QUERY, CHATTY_ENDPOINT = "duplicate_query", "slow_query", "chatty_endpoint"
MISSING_INDEX, OTHER_VITAL = "missing_index", "database"
NAMES = (
    N_PLUS_ONE,
    UNBOUNDED_RESULT,
    OPEN_TRANSACTION,
    DUPLICATE_QUERY,
    SLOW_QUERY,
    CHATTY_ENDPOINT,
    MISSING_INDEX,
    OTHER_VITAL,
)

# Of the time of an endpoint, or of all databases.
_MUCH, _MOST = 0.1, 0.3
# A statement with an index takes less than a tenth of it; only with a share of the time besides.
_SLOW_MS = 20.0
# A page of Django's admin sends some ten; 30 round trips to another host are 15 ms before anything is computed.
_CHATTY = 30
_SHOWN_SQL = 120


def n_plus_one(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find one query for each row of another."""
    for row in _findings(snapshot, window, found.N_PLUS_ONE):
        share = row.share() or 0.0
        text = gettext(
            "%(endpoint)s sends one query %(calls)s times a request, %(ms)s ms of it (%(share)s of its time), at "
            "%(place)s: %(sql)s"
        )
        evidence = text % {**_figures(row), "share": f"{share:.0%}"}
        severity = HIGH if share >= _MOST else MEDIUM if share >= _MUCH else LOW
        yield _advice(severity, N_PLUS_ONE, row, evidence, row.remedy or gettext("one statement for all of them"))


def unbounded_result(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find results that grow with the table."""
    for row in _findings(snapshot, window, found.UNBOUNDED):
        text = gettext("%(endpoint)s fetches %(rows)s rows a request without a limit, at %(place)s: %(sql)s")
        remedy = gettext("paginate it, or take it in pieces with iterator()")
        yield _advice(MEDIUM, UNBOUNDED_RESULT, row, text % _figures(row), remedy)


def open_transaction(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find transactions that wait for something else than the database."""
    for row in _findings(snapshot, window, found.OPEN_TRANSACTION):
        text = gettext(
            "%(endpoint)s holds a transaction open for %(ms)s ms a request in which the database has nothing to do, at "
            "%(place)s"
        )
        remedy = gettext(
            "wait, compute and call others before the transaction or behind it: it keeps its locks meanwhile"
        )
        yield _advice(HIGH, OPEN_TRANSACTION, row, text % _figures(row), remedy)


def duplicate_query(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find questions whose answer is known already."""
    for row in _findings(snapshot, window, found.DUPLICATE):
        if (row.share() or 0.0) >= _MUCH:
            text = gettext(
                "%(endpoint)s asks the very same again %(calls)s times a request, %(ms)s ms of it, at %(place)s: "
                "%(sql)s"
            )
            remedy = row.remedy or gettext("keep the answer, or use cache_result")
            yield _advice(LOW, DUPLICATE_QUERY, row, text % _figures(row), remedy)


def slow_query(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find slow statements on which much of the time of all databases is spent."""
    rows = snapshot.once(statements, window)
    whole = sum(row.sum.total for row in rows)
    for row in rows:
        share = row.sum.total / whole if whole else 0.0
        if share >= _MUCH and row.sum.mean / 1_000 >= _SLOW_MS:
            remedy = gettext("see its plan: manage.py perfexplain %(id)s") % {"id": row.id}
            severity, evidence = HIGH if share >= _MOST else MEDIUM, _slow(row, share)
            yield Advice(severity, SLOW_QUERY, evidence, remedy, "query", {"id": row.id}, row.sum.total / 1_000)


def _slow(row: Statement, share: float) -> str:
    text = gettext(
        "%(share)s of the time of all queries is spent in one: %(calls)s calls, %(mean)s ms on average, %(max)s ms at "
        "most: %(sql)s"
    )
    return text % {
        "share": f"{share:.0%}",
        "calls": figure(row.sum.count),
        "mean": figure(row.sum.mean / 1_000, ",.0f"),
        "max": figure(row.sum.max / 1_000, ",.0f"),
        "sql": _sql(row.sql),
    }


def chatty_endpoint(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find endpoints that send very many queries for each request, those of an N+1 aside: it has advice of its own."""
    looped: Counter[tuple[str, str]] = Counter()
    for finding in snapshot.once(findings, window):
        if finding.name == found.N_PLUS_ONE:
            looped[finding.route, finding.method] += finding.sum.counter(FINDING, "calls")
    for row in snapshot.once(endpoints, window):
        count, db_ms = row.per_request("queries"), row.per_request("db_us") / 1_000
        if row.sum.count and count - looped[row.route, row.method] / row.sum.count >= _CHATTY:
            text = gettext("%(endpoint)s sends %(queries)s queries a request, %(ms)s ms of it")
            figures = {"queries": figure(count, ",.0f"), "ms": figure(db_ms, ",.0f")}
            evidence = text % {"endpoint": f"{row.method} {row.route}", **figures}
            remedy = gettext(
                "look at its queries: fetch related rows together, and keep what seldom changes in a cache"
            )
            params = {"route": row.route, "method": row.method}
            cost_ms = row.counter("db_us") / 1_000
            yield Advice(MEDIUM, CHATTY_ENDPOINT, evidence, remedy, "endpoint", params, cost_ms)


def database(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find what the databases themselves say must be done, a missing index first of all; asks them."""
    for vital in vitals(snapshot, window):
        if vital.state == checks.ACT:
            rule = MISSING_INDEX if vital.check == "missing index" else OTHER_VITAL
            evidence = (
                f"{vital.alias}: {vital.check}, {vital.what}: {vital.value}"
                if vital.what
                else (f"{vital.alias}: {vital.value}")
            )
            yield Advice(HIGH, rule, evidence, vital.advice, "database")


def _findings(snapshot: Snapshot, window: Window, name: str) -> Iterator[Finding]:
    """Yield findings of one name with what their endpoints took."""
    asked = snapshot.once(by_scope, window)
    for row in snapshot.once(findings, window):
        if row.name == name:
            if endpoint := asked.get((row.route, row.method)):
                row.requests, row.endpoint_us = endpoint.sum.count, endpoint.sum.total
            yield row


def _advice(severity: str, rule: str, row: Finding, evidence: str, remedy: str) -> Advice:
    page, params = "query", {"id": shape_id(row.alias, row.sql)}
    if not row.sql:
        page, params = "endpoint", {"route": row.route, "method": row.method}
    return Advice(severity, rule, evidence, remedy, page, params, row.sum.total / 1_000)


def _figures(row: Finding) -> dict[str, str]:
    """Return what a sentence may say of a finding."""
    return {
        "endpoint": f"{row.method} {row.route}",
        "calls": figure(row.per_request("calls"), ",.0f"),
        "rows": figure(row.per_request("rows"), ",.0f"),
        "ms": figure(row.sum.mean / 1_000, ",.0f"),
        "place": row.place,
        "sql": _sql(row.sql),
    }


def _sql(sql: str) -> str:
    short = short_sql(sql)
    return short if len(short) <= _SHOWN_SQL else f"{short[:_SHOWN_SQL]}…"
