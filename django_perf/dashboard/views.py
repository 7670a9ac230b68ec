"""Answer the requests for the pages; permission is checked by the ModelAdmin that routes here."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext, override, pgettext

from ..exceptions import NotRecorded, PerfError
from ..metrics.names import clean
from ..metrics.recorder import recorder
from ..reports.flat import write_csv
from ..reports.marks import last_mark, marks
from ..reports.plans import Explained, explained
from ..reports.window import COMPARISONS, PRESETS, window_of
from ..requests.measure import ignore_request
from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from . import actions
from .actions import ACTIONS
from .charts import HEIGHT, SPARK, WIDTH
from .page import Asked, Page, charted
from .pages import BY_NAME, VIEWS, View
from .pages.queries import pretty

EXPLAIN = "django_perf.explain_queries"
_NUMBER = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


def show(request: HttpRequest, site: AdminSite, view: View) -> HttpResponse:
    """Show a page; a store that cannot be read gives a page that says so, with what to do."""
    ignore_request()
    asked, page, trouble = Asked(), None, ""
    try:
        asked = _asked(request, view.main)
        with recorder.paused(), _language_of(asked):
            page = consistent(store_alias(), lambda snapshot: _read(snapshot, view, asked))
    except (KeyError, ValueError) as error:
        return HttpResponseBadRequest(clean(str(error.args[0]), 500), content_type="text/plain; charset=utf-8")
    except DatabaseError as error:
        trouble = _unreadable(error)
    except PerfError as error:
        trouble = str(error)
        if isinstance(error, NotRecorded):
            return _render(request, site, view, asked, None, trouble, status=404)
    if page is not None and asked.csv:
        return _csv(page, asked.csv)
    return _render(request, site, view, asked, page, trouble)


def _read(snapshot: Snapshot, view: View, asked: Asked) -> Page:
    page = view.read(snapshot, asked)
    found = marks(snapshot, charted(asked.window)) if page.charts else []
    return replace(page, marks=[(mark.at, mark.text) for mark in found], latest_mark=last_mark(snapshot.alias))


def _language_of(asked: Asked) -> AbstractContextManager[None]:
    """Return what reads a page in its language: a file is for programs, and in English for everybody."""
    return override(None) if asked.csv else nullcontext()


def _csv(page: Page, name: str) -> HttpResponse:
    """Answer with one table of a page, all rows of it. Raises Http404 where the page has no such table."""
    table = next((table for table in page.tables if table.name == name), None)
    if table is None:
        raise Http404
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "X-Content-Type-Options": "nosniff"}
    response = HttpResponse(content_type="text/csv; charset=utf-8", headers=headers)
    write_csv(table, response)
    return response


def explain(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the plan of the query whose id was posted: of a client only an id is taken, and a range for the links."""
    ignore_request()
    asked = Asked(range=_range(request.POST), id=clean(request.POST.get("id", "")))
    found, trouble = None, ""
    try:
        with recorder.paused():
            found = explained(asked.id)
    except DatabaseError as error:
        trouble = _unreadable(error)
    except PerfError as error:
        trouble = str(error)
    title = pgettext("django_perf", "Plan of query %(id)s") % {"id": asked.id}
    context = {**_context(request, site, title, "explain", asked), "trouble": trouble}
    return TemplateResponse(request, "django_perf/explain.html", {**context, **_plan(found)})


def act(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Do what was posted, and go back to the page that it was posted from."""
    ignore_request()
    given = request.POST
    action = ACTIONS.get(given.get("action", ""))
    if action is None or given.get("is_sure") != "1":
        return HttpResponseBadRequest("an action that exists, and is_sure=1, are needed", content_type="text/plain")
    try:
        messages.success(request, actions.act(request, action, given.get("target", ""), given.get("text", "")))
    except DatabaseError as error:
        messages.error(request, _unreadable(error))
    except PerfError as error:
        messages.error(request, clean(str(error), 500))
    return HttpResponseRedirect(address(action.page, **_range(given)))


def _plan(found: Explained | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {"root": found.plan.root, "remarks": found.remarks, "plan_notes": found.notes(), "sql": pretty(found.sql)}


def _range(given: QueryDict) -> dict[str, str]:
    return {name: value for name in ("since", "until", "against") if (value := given.get(name, "").strip())}


def _asked(request: HttpRequest, main: str) -> Asked:
    """Return what an address asks for; raises ValueError for a range that is none."""
    range_ = _range(request.GET)
    window = window_of(range_.get("since", PRESETS[0]), range_.get("until", ""), range_.get("against", ""))
    given = {name: request.GET.get(name, "") for name in ("sort", "text", "csv", "route", "method", "id")}
    number = request.GET.get("page", "")
    return Asked(window, range_, main, number=int(number) if _NUMBER.fullmatch(number) else 1, **given)


def _render(
    request: HttpRequest, site: AdminSite, view: View, asked: Asked, page: Page | None, trouble: str, status: int = 200
) -> HttpResponse:
    names = {name: clean(getattr(asked, name)) for name in ("route", "method", "id")}
    context = {
        **_context(request, site, pgettext("django_perf", view.title).format(**names), view.name, asked),
        "page": page,
        "trouble": trouble,
        "is_explainable": view.name == "query" and request.user.has_perm(EXPLAIN),
        "actions": actions.offered(view.name, page.targets) if page and request.user.has_perm(actions.MANAGE) else [],
    }
    # Without a page its own parts are missing too, and there is only what went wrong to be shown.
    template = view.template if page is not None else "page"
    return TemplateResponse(request, f"django_perf/{template}.html", context, status=status)


def _context(request: HttpRequest, site: AdminSite, title: str, name: str, asked: Asked) -> dict[str, Any]:
    return {
        **site.each_context(request),
        "title": title,
        "page_name": name,
        "nav": [(view.nav, address(view.name, **asked.range), view.name == name) for view in VIEWS if view.nav],
        "home": address("overview", **asked.range),
        "asked": asked,
        "range": asked.range,
        "since": asked.range.get("since", PRESETS[0]),
        "presets": PRESETS,
        "comparisons": COMPARISONS,
        "spark": SPARK,
        "width": WIDTH,
        "height": HEIGHT,
    }


def address(name: str, **params: str) -> str:
    """Return the address of a page; what was recorded is only ever a parameter of it."""
    query = f"?{urlencode(params)}" if params else ""
    return f"{reverse(f'admin:{BY_NAME[name].url_name}')}{query}"


def _unreadable(error: DatabaseError) -> str:
    text = gettext("The store cannot be read (%(error)s). Has manage.py migrate been run?")
    return text % {"error": type(error).__name__}
