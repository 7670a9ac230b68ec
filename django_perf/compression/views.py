"""Serve dictionaries, and nothing that nobody has approved."""

from __future__ import annotations

import re
from datetime import timedelta

from django.db import DatabaseError, connections, router
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from ..metrics.guard import count_fault
from .dictionary import MAX_AGE_S
from .models import CompressionDictionary

_State = CompressionDictionary.State
_HASH = re.compile(r"[0-9a-f]{64}")


@require_safe
def dictionary(request: HttpRequest, sha256: str) -> HttpResponse:
    """Return a dictionary in use, or one whose readers may still ask for it; 404 for any other."""
    if _HASH.fullmatch(sha256) is None:
        raise Http404
    try:
        found = _readable(sha256)
    except DatabaseError as fault:
        count_fault("compression dictionaries", fault)
        return HttpResponse(status=503, headers={"Cache-Control": "no-store"})
    finally:
        _close_own_file()
    response = HttpResponse(bytes(found.content), content_type="text/plain; charset=utf-8")
    is_active = found.state == _State.ACTIVE
    # A retired one may be taken into use again: nobody shall keep one that does not say what it is for.
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}, immutable" if is_active else "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if is_active:
        response.headers["Use-As-Dictionary"] = f'match="{found.match}"'
    return response


# Whoever may see the pages may see what they have in common: Django's mark for LoginRequiredMiddleware.
dictionary.login_required = False  # type: ignore[attr-defined]


def _readable(sha256: str) -> CompressionDictionary:
    lately = timezone.now() - timedelta(seconds=MAX_AGE_S)
    is_readable = Q(state=_State.ACTIVE) | Q(state=_State.RETIRED, retired__gte=lately)
    return get_object_or_404(CompressionDictionary, is_readable, sha256=sha256)


def _close_own_file() -> None:
    """Close the connection to the store where it is a file of its own: Django closes only those that it shows."""
    alias = router.db_for_read(CompressionDictionary)
    if alias not in list(connections.settings):
        connections[alias].close()
