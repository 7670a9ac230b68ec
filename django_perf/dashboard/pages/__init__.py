"""List the pages: what each is called, where it is, and who gathers what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...store.reader import Snapshot
from ..page import Asked, Page
from .cache import cache
from .compression import compression
from .database import advice, database
from .pool import pool
from .queries import queries, query
from .requests import endpoint, overview
from .samples import sample


@dataclass(frozen=True, slots=True)
class View:
    """Declare a page. `nav` is its name in the navigation, "" for one that is reached by a link only.

    `sortable` names the report that ?sort= applies to; `title` may use the fields of Asked.
    """

    name: str
    title: str
    read: Callable[[Snapshot, Asked], Page]
    nav: str = ""
    template: str = "page"
    sortable: str = ""

    @property
    def path(self) -> str:
        """Return its address below the first page."""
        return "" if self.name == "overview" else f"{self.name}/"

    @property
    def url_name(self) -> str:
        """Return the name of its URL; the first page takes the place of a change list."""
        return f"django_perf_performance_{'changelist' if self.name == 'overview' else self.name}"


VIEWS = (
    View("overview", "Performance", overview, "Overview", sortable="requests"),
    View("endpoint", "{method} {route}", endpoint),
    View("queries", "Queries", queries, "Queries", sortable="queries"),
    View("query", "Query {id}", query, template="query"),
    View("sample", "Example {id}", sample, template="sample"),
    View("database", "Databases", database, "Database"),
    View("pool", "Connection pools", pool, "Pool"),
    View("cache", "Caches", cache, "Cache"),
    View("compression", "Compression", compression, "Compression"),
    View("advice", "Advice", advice, "Advice"),
)
BY_NAME = {view.name: view for view in VIEWS}
