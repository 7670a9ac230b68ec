"""Answer the requests for the pages; permission is checked by the ModelAdmin that routes here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.response import TemplateResponse

from ..exceptions import PerfError
from ..metrics.names import clean
from ..metrics.recorder import recorder
from ..reports.requests import REQUESTS
from ..reports.window import PRESETS
from ..requests.measure import ignore_request
from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from . import pages
from .charts import HEIGHT, WIDTH

_DEFAULT_RANGE = PRESETS[0]


def overview(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the whole site."""
    since, sort = request.GET.get("since") or _DEFAULT_RANGE, request.GET.get("sort")
    context = {"title": "Performance", "page_name": "overview", "sort": sort or REQUESTS.order}
    return _respond(request, site, "overview", since, context, lambda snapshot: pages.overview(snapshot, since, sort))


def endpoint(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show one endpoint, named by ?route= and ?method=."""
    since, route, method = (request.GET.get(name, "") for name in ("since", "route", "method"))
    since = since or _DEFAULT_RANGE
    context = {"title": f"{clean(method)} {clean(route)}", "page_name": "endpoint", "route": route, "method": method}
    return _respond(
        request, site, "endpoint", since, context, lambda snapshot: pages.endpoint(snapshot, since, route, method)
    )


def pool(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the connection pools."""
    since = request.GET.get("since") or _DEFAULT_RANGE
    context = {"title": "Connection pools", "page_name": "pool"}
    return _respond(request, site, "pool", since, context, lambda snapshot: pages.pool(snapshot, since))


def cache(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the caches."""
    since = request.GET.get("since") or _DEFAULT_RANGE
    context = {"title": "Caches", "page_name": "cache"}
    return _respond(request, site, "cache", since, context, lambda snapshot: pages.cache(snapshot, since))


def compression(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show compression."""
    since = request.GET.get("since") or _DEFAULT_RANGE
    context = {"title": "Compression", "page_name": "compression"}
    return _respond(request, site, "compression", since, context, lambda snapshot: pages.compression(snapshot, since))


def _respond(
    request: HttpRequest,
    site: AdminSite,
    template: str,
    since: str,
    context: dict[str, Any],
    read: Callable[[Snapshot], pages.Page],
) -> HttpResponse:
    """Render a page; a store that cannot be read gives a page that says so, with what to do."""
    ignore_request()
    page, trouble = None, ""
    try:
        with recorder.paused():
            page = consistent(store_alias(), read)
    except (KeyError, ValueError) as error:
        return HttpResponseBadRequest(clean(str(error.args[0]), 500), content_type="text/plain; charset=utf-8")
    except DatabaseError as error:
        trouble = f"The store cannot be read ({type(error).__name__}). Has manage.py migrate been run?"
    except PerfError as error:
        trouble = str(error)
    shown = {"page": page, "trouble": trouble, "presets": PRESETS, "since": since, "width": WIDTH, "height": HEIGHT}
    return TemplateResponse(request, f"django_perf/{template}.html", {**site.each_context(request), **context, **shown})
