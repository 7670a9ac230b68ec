"""List the pages: what each is called, where it is, and who gathers what it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...store.reader import Snapshot
from ..page import Asked, Page
from .cache import cache
from .compression import compression
from .database import advice, database
from .exceptions import exceptions
from .own import own
from .pool import pool
from .processes import processes
from .queries import queries, query
from .requests import endpoint, overview, requests
from .samples import sample


@dataclass(frozen=True, slots=True)
class View:
    """Declare a page. `nav` is its name in the navigation, "" for one that is reached by a link only.

    `main` names the report that can be filtered and whose pages are turned; `title` may use the fields of Asked.
    """

    name: str
    title: str
    read: Callable[[Snapshot, Asked], Page]
    nav: str = ""
    template: str = "page"
    main: str = ""

    @property
    def path(self) -> str:
        """Return its address below the first page."""
        return "" if self.name == "overview" else f"{self.name}/"

    @property
    def url_name(self) -> str:
        """Return the name of its URL; the first page takes the place of a change list."""
        return f"django_perf_performance_{'changelist' if self.name == 'overview' else self.name}"


VIEWS = (
    View("overview", "Performance", overview, "Overview", main="requests"),
    View("advice", "Advice", advice, "Advice"),
    View("requests", "Requests", requests, "Requests", main="requests"),
    View("endpoint", "{method} {route}", endpoint, template="endpoint", main="queries"),
    View("queries", "Queries", queries, "Queries", main="queries"),
    View("query", "Query {id}", query, template="query"),
    View("sample", "Example {id}", sample, template="sample"),
    View("exceptions", "Exceptions", exceptions, "Exceptions", main="exceptions"),
    View("database", "Databases", database, "Database"),
    View("pool", "Connection pools", pool, "Pool"),
    View("cache", "Caches", cache, "Cache", main="cache_keys"),
    View("compression", "Compression", compression, "Compression", main="compression"),
    View("processes", "Processes", processes, "Processes", main="process"),
    View("health", "django_perf itself", own, "Health"),
)
BY_NAME = {view.name: view for view in VIEWS}
