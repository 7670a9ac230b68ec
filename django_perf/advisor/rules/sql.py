"""Judge statements and transactions: what the requests found in them, what they cost, what the databases say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...db import findings as found
from ...db.fingerprint import shape_id
from ...db.health import checks
from ...metrics.catalog import FINDING
from ...reports.database import vitals
from ...reports.findings import Finding, findings
from ...reports.queries import statements
from ...reports.requests import endpoints
from ...reports.text import short_sql
from ...reports.window import Window
from ...store.reader import Snapshot
from ..advice import HIGH, LOW, MEDIUM, Advice
from .reading import by_scope, once

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
        evidence = (
            f"{_endpoint(row)} sends one query {row.per_request('calls'):,.0f} times a request, {_each_ms(row)} of it "
            f"({share:.0%} of its time), at {row.place}: {_sql(row.sql)}"
        )
        severity = HIGH if share >= _MOST else MEDIUM if share >= _MUCH else LOW
        yield _advice(severity, N_PLUS_ONE, row, evidence, row.remedy or "one statement for all of them")


def unbounded_result(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find results that grow with the table."""
    for row in _findings(snapshot, window, found.UNBOUNDED):
        evidence = (
            f"{_endpoint(row)} fetches {row.per_request('rows'):,.0f} rows a request without a limit, "
            f"at {row.place}: {_sql(row.sql)}"
        )
        yield _advice(MEDIUM, UNBOUNDED_RESULT, row, evidence, "paginate it, or take it in pieces with iterator()")


def open_transaction(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find transactions that wait for something else than the database."""
    for row in _findings(snapshot, window, found.OPEN_TRANSACTION):
        evidence = (
            f"{_endpoint(row)} holds a transaction open for {_each_ms(row)} a request in which the database has "
            f"nothing to do, at {row.place}"
        )
        remedy = "wait, compute and call others before the transaction or behind it: it keeps its locks meanwhile"
        yield _advice(HIGH, OPEN_TRANSACTION, row, evidence, remedy)


def duplicate_query(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find questions whose answer is known already."""
    for row in _findings(snapshot, window, found.DUPLICATE):
        if (row.share() or 0.0) >= _MUCH:
            evidence = (
                f"{_endpoint(row)} asks the very same again {row.per_request('calls'):,.0f} times a request, "
                f"{_each_ms(row)} of it, at {row.place}: {_sql(row.sql)}"
            )
            yield _advice(LOW, DUPLICATE_QUERY, row, evidence, row.remedy or "keep the answer, or use cache_result")


def slow_query(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find slow statements on which much of the time of all databases is spent."""
    rows = once(statements, snapshot, window)
    whole = sum(row.sum.total for row in rows)
    for row in rows:
        share = row.sum.total / whole if whole else 0.0
        if share >= _MUCH and (mean_ms := row.sum.mean / 1_000) >= _SLOW_MS:
            evidence = (
                f"{share:.0%} of the time of all queries is spent in one: {row.sum.count:,} calls, {mean_ms:,.0f} ms "
                f"on average, {row.sum.max / 1_000:,.0f} ms at most: {_sql(row.sql)}"
            )
            remedy = f"see its plan: manage.py perfexplain {row.id}"
            severity = HIGH if share >= _MOST else MEDIUM
            yield Advice(severity, SLOW_QUERY, evidence, remedy, "query", {"id": row.id}, row.sum.total / 1_000)


def chatty_endpoint(snapshot: Snapshot, window: Window) -> Iterator[Advice]:
    """Find endpoints that send very many queries for each request, those of an N+1 aside: it has advice of its own."""
    looped: Counter[tuple[str, str]] = Counter()
    for finding in once(findings, snapshot, window):
        if finding.name == found.N_PLUS_ONE:
            looped[finding.route, finding.method] += finding.sum.counter(FINDING, "calls")
    for row in once(endpoints, snapshot, window):
        count, db_ms = row.per_request("queries"), row.per_request("db_us") / 1_000
        if row.sum.count and count - looped[row.route, row.method] / row.sum.count >= _CHATTY:
            evidence = f"{row.method} {row.route} sends {count:,.0f} queries a request, {db_ms:,.0f} ms of it"
            remedy = "look at its queries: fetch related rows together, and keep what seldom changes in a cache"
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
    asked = once(by_scope, snapshot, window)
    for row in once(findings, snapshot, window):
        if row.name == name:
            if endpoint := asked.get((row.route, row.method)):
                row.requests, row.endpoint_us = endpoint.sum.count, endpoint.sum.total
            yield row


def _advice(severity: str, rule: str, row: Finding, evidence: str, remedy: str) -> Advice:
    page, params = "query", {"id": shape_id(row.alias, row.sql)}
    if not row.sql:
        page, params = "endpoint", {"route": row.route, "method": row.method}
    return Advice(severity, rule, evidence, remedy, page, params, row.sum.total / 1_000)


def _endpoint(row: Finding) -> str:
    return f"{row.method} {row.route}"


def _each_ms(row: Finding) -> str:
    return f"{row.sum.mean / 1_000:,.0f} ms"


def _sql(sql: str) -> str:
    short = short_sql(sql)
    return short if len(short) <= _SHOWN_SQL else f"{short[:_SHOWN_SQL]}…"
