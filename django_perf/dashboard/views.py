"""Answer the requests for the pages; permission is checked by the ModelAdmin that routes here."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from ..exceptions import NotRecorded, PerfError
from ..metrics.names import clean
from ..metrics.recorder import recorder
from ..reports.plans import Explained, explained
from ..reports.window import PRESETS
from ..requests.measure import ignore_request
from ..store.alias import store_alias
from ..store.reader import consistent
from .charts import HEIGHT, WIDTH
from .page import Asked, Page
from .pages import BY_NAME, VIEWS, View
from .pages.queries import pretty

EXPLAIN = "django_perf.explain_queries"


def show(request: HttpRequest, site: AdminSite, view: View) -> HttpResponse:
    """Show a page; a store that cannot be read gives a page that says so, with what to do."""
    ignore_request()
    asked = _asked(request)
    page, trouble = None, ""
    try:
        with recorder.paused():
            page = consistent(store_alias(), lambda snapshot: view.read(snapshot, asked))
    except (KeyError, ValueError) as error:
        return HttpResponseBadRequest(clean(str(error.args[0]), 500), content_type="text/plain; charset=utf-8")
    except DatabaseError as error:
        trouble = _unreadable(error)
    except PerfError as error:
        trouble = str(error)
        if isinstance(error, NotRecorded):
            return _render(request, site, view, asked, page, trouble, status=404)
    return _render(request, site, view, asked, page, trouble)


def explain(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the plan of the query whose id was posted: of a client only an id is taken, and a range for the links."""
    ignore_request()
    asked = Asked(since=request.POST.get("since") or PRESETS[0], id=clean(request.POST.get("id", "")))
    found, trouble = None, ""
    try:
        with recorder.paused():
            found = explained(asked.id)
    except DatabaseError as error:
        trouble = _unreadable(error)
    except PerfError as error:
        trouble = str(error)
    title = f"Plan of query {asked.id}"
    context = {**_context(request, site, title, "explain", asked), "trouble": trouble}
    return TemplateResponse(request, "django_perf/explain.html", {**context, **_plan(found)})


def _plan(found: Explained | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {"root": found.plan.root, "remarks": found.remarks, "plan_notes": found.notes(), "sql": pretty(found.sql)}


def _asked(request: HttpRequest) -> Asked:
    given = {name: request.GET.get(name, "") for name in ("since", "sort", "route", "method", "id")}
    return Asked(
        since=given["since"] or PRESETS[0],
        sort=given["sort"] or None,
        route=given["route"],
        method=given["method"],
        id=given["id"],
    )


def _render(
    request: HttpRequest, site: AdminSite, view: View, asked: Asked, page: Page | None, trouble: str, status: int = 200
) -> HttpResponse:
    names = {name: clean(getattr(asked, name)) for name in ("route", "method", "id")}
    context = {
        **_context(request, site, view.title.format(**names), view.name, asked),
        "page": page,
        "trouble": trouble,
        "sortable": view.sortable,
        "is_explainable": view.name == "query" and request.user.has_perm(EXPLAIN),
    }
    # Without a page its own parts are missing too, and there is only what went wrong to be shown.
    template = view.template if page is not None else "page"
    return TemplateResponse(request, f"django_perf/{template}.html", context, status=status)


def _context(request: HttpRequest, site: AdminSite, title: str, name: str, asked: Asked) -> dict[str, Any]:
    return {
        **site.each_context(request),
        "title": title,
        "page_name": name,
        "nav": [(view.nav, address(view.name, since=asked.since), view.name == name) for view in VIEWS if view.nav],
        "home": address("overview", since=asked.since),
        "asked": asked,
        "since": asked.since,
        "sort": asked.sort,
        "presets": PRESETS,
        "width": WIDTH,
        "height": HEIGHT,
    }


def address(name: str, **params: str) -> str:
    """Return the address of a page; what was recorded is only ever a parameter of it."""
    return f"{reverse(f'admin:{BY_NAME[name].url_name}')}?{urlencode(params)}"


def _unreadable(error: DatabaseError) -> str:
    return f"The store cannot be read ({type(error).__name__}). Has manage.py migrate been run?"
