"""Answer a scrape: to who may ask, with the figures of the whole site, once a second at the most."""

from __future__ import annotations

from functools import partial

from django.db import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from ..access import may_read_metrics
from ..exceptions import PerfError
from ..metrics.guard import count_fault
from ..requests.measure import ignore_request
from .kept import Kept
from .prometheus import OPENMETRICS, TEXT, exposition, is_installed, negotiated
from .reading import read_families

_KEEP_S = 1.0
# Who waits longer for another one's scrape is told to come again: a store that hangs must not take thread after thread.
_PATIENCE_S = 5.0


def _made(content_type: str) -> bytes:
    return exposition(read_families(), content_type)


kept = {one: Kept(partial(_made, one), _KEEP_S, _PATIENCE_S) for one in (OPENMETRICS, TEXT)}


def metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics; to who may not have them there is no such page."""
    if not may_read_metrics(request) or not is_installed():
        raise Http404
    ignore_request()
    return _answer(request)


# Who asks shows a token and no session: Django's mark for LoginRequiredMiddleware.
metrics.login_required = False  # type: ignore[attr-defined]


@require_safe
def _answer(request: HttpRequest) -> HttpResponse:
    content_type = negotiated(request.META.get("HTTP_ACCEPT", ""))
    try:
        body = kept[content_type].get()
    except (DatabaseError, PerfError) as fault:
        count_fault("metrics", fault)
        body = None
    if body is None:
        response = HttpResponse(status=503)
        # Counted, and said once a minute: Django would log it, and mail it to the admins, with every scrape.
        response._has_been_logged = True  # type: ignore[attr-defined]
    else:
        response = HttpResponse(body, content_type=content_type, headers={"Vary": "Accept"})
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
