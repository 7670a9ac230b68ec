"""What the pages of SQL show, made by hand: series of one endpoint and one query, and examples of requests."""

from __future__ import annotations

from django_perf.db.fingerprint import shape_id
from django_perf.metrics.names import clean
from django_perf.metrics.recorder import recorder
from django_perf.metrics.statement import Shape
from django_perf.metrics.trace import Trace
from django_perf.reports.marks import set_mark
from django_perf.requests import remarkable
from django_perf.store import samples
from django_perf.store.models import Sample

SQL = 'SELECT "products"."id" FROM "products" WHERE "products"."name" = ?'
OTHER_SQL = 'SELECT "categories"."id", "categories"."name", "categories"."slug" FROM "categories"'
_MS = 1_000_000
# What is stored of a request.
EXAMPLE = {
    "route": "list",
    "method": "GET",
    "status": 500,
    "duration_us": 400_000,
    "queries": 31,
    "db_us": 250_000,
    "request_id": "0123456789abcdef",
    "exception": "KeyError",
    "raised_at": "shop/views.py:12 in listing",
    "left_out": 3,
    "findings": [
        {
            "finding": "n_plus_one",
            "calls": 30,
            "us": 200_000,
            "place": "shop/views.py:9 in listing",
            "remedy": 'select_related("category")',
        }
    ],
    "spans": [
        {"kind": "template", "name": "list.html", "start_us": 0, "us": 400_000},
        {"kind": "database", "name": SQL, "alias": "default", "start_us": 100_000, "us": 200_000, "busy_us": 150_000}
        | {"calls": 30, "rows": 60, "place": "shop/views.py:9 in listing"},
        {"kind": "database", "name": "SELECT a lot …", "alias": "default", "start_us": 399_999, "us": 1},
        {"kind": "cache", "name": "get product:*", "start_us": 390_000, "us": 900_000},
    ],
}


class Fill:
    """Store what the pages of SQL show; `name` is whatever comes from outside, `about` the parameters of each page."""

    def __init__(self, store):
        self._store = store
        self.about = {}

    def __call__(self, name="list", sql=SQL, alias="default"):
        scope, statement = (name, "GET"), (clean(alias), clean(sql, 4_000))
        for kind, labels, us, counters in (
            ("request", (*scope, "2xx"), [100_000] * 10, {"queries": 600, "db_us": 600_000}),
            ("endpoint_query", (*scope, *statement), [4_000] * 150, {"errors": 3, "rows": 300}),
            ("finding", (*scope, "n_plus_one", *statement, name, name), [40_000] * 10, {"calls": 500, "rows": 500}),
            ("finding", (*scope, "open_transaction", alias, "", name, ""), [30_000], {}),
            ("finding", (*scope, name, *statement, name, name), [20_000], {"calls": 1}),
            ("call_site", (*scope, *statement, name), [50_000] * 10, {"calls": 500}),
            ("query_error", (*statement, name), [1] * 3, {}),
            ("transaction", (*scope, name), [70_000], {"rollbacks": 1}),
            ("exception", (*scope, name), [1], {}),
        ):
            self._store((kind, *labels), *us, **counters)
        self._keep_samples((clean(name), "GET"), statement, name)
        if name.strip():
            set_mark("default", name)
        id_ = {"id": shape_id(*statement)}
        example = {"id": Sample.objects.latest("id").pk}
        self.about = {"endpoint": {"route": name, "method": "GET"}, "query": id_, "explain": id_, "sample": example}

    def _keep_samples(self, scope, statement, name):
        """Keep a request of 400 ms as an example of all that it can be one of."""
        trace, shape = Trace(0), Shape(("query", *statement))
        trace.error = trace.error_place = trace.given_id = name
        trace.watch = object()
        trace.spans = []
        for number, kind in enumerate(("block", "cache", "template")):
            trace.add_span(kind, name, number * 10 * _MS, _MS)
        trace.spans.append(trace.spans[0]._replace(place=name, started_ns=50 * _MS))
        # When it began, nanoseconds, rows, place, a mark.
        trace.statements[shape] = [shape, 100 * _MS, 200 * _MS, 7, name, 0]
        trace.add(("finding", "n_plus_one", *statement, name, name), [40_000], [50, 50])
        recorder.samples.reset()
        remarkable.offer(scope, trace, 500, 400 * _MS, is_slow=True)
        samples.insert("default", recorder.samples.take())
