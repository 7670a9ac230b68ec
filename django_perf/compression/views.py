"""Serve dictionaries, and nothing that nobody has approved."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from .dictionary import MAX_AGE_S
from .models import CompressionDictionary

_State = CompressionDictionary.State


@require_safe
def dictionary(request: HttpRequest, sha256: str) -> HttpResponse:
    """Return a dictionary in use, or one whose readers may still ask for it; 404 for any other."""
    lately = timezone.now() - timedelta(seconds=MAX_AGE_S)
    is_readable = Q(state=_State.ACTIVE) | Q(state=_State.RETIRED, retired__gte=lately)
    found = get_object_or_404(CompressionDictionary, is_readable, sha256=sha256)
    response = HttpResponse(bytes(found.content), content_type="text/plain; charset=utf-8")
    response.headers["Cache-Control"] = f"public, max-age={MAX_AGE_S}, immutable"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if found.state == _State.ACTIVE:
        response.headers["Use-As-Dictionary"] = f'match="{found.match}"'
    return response
