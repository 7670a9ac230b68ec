"""Tell the client how long its request took."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..metrics.trace import Trace


def set_server_timing(request: HttpRequest, response: HttpResponseBase, trace: Trace, elapsed_ns: int) -> None:
    """Set `Server-Timing` where only a developer reads it: in DEBUG, or for staff and in no shared cache.

    The public never gets it: the time of the database tells whether a user exists (Django CVE-2024-39329 and kin).
    """
    if not (django_settings.DEBUG or (_is_known_staff(request) and _keep_private(response))):
        return
    total_ms, db_ms, cache_ms = elapsed_ns / 1e6, trace.query_ns / 1e6, trace.cache_ns / 1e6
    parts = {"total": total_ms, "db": db_ms, "cache": cache_ms, "app": max(0.0, total_ms - db_ms - cache_ms)}
    response.headers["Server-Timing"] = ", ".join(f"{name};dur={value:.1f}" for name, value in parts.items())


def _is_known_staff(request: HttpRequest) -> bool:
    """Look only at a user whom the view has already loaded: a header is not worth a query."""
    user = getattr(request, "_cached_user", None)
    return bool(user and user.is_active and user.is_staff)


def _keep_private(response: HttpResponseBase) -> bool:
    """Tell whether no shared cache will store the response; one that says nothing of caching is made private."""
    control = response.headers.get("Cache-Control", "").lower()
    if not control and "Expires" not in response.headers:
        response.headers["Cache-Control"] = "private"
        return True
    return "private" in control or "no-store" in control
