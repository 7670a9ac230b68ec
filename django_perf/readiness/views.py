"""Answer the probes of a balancer: one word, and details for who may have them."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from ..access import has_token
from ..metrics.guard import count_fault
from ..requests.measure import ignore_request
from .state import State, readiness

_PERMISSION = "django_perf.view_performance"
_YES, _NO = "ok", "unavailable"


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Return 200: the process lives. Touches nothing: a restart would mend no database."""
    ignore_request()
    return _word(200)


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Return 200 where requests may come, else 503."""
    ignore_request()
    state = readiness.state()
    status = 200 if state.is_ready else 503
    response = _detail(state, status) if _may_see(request, state) else _word(status)
    # What a probe is told is no error of ours: Django would log it, and mail it to the admins, with every probe.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


# Whoever asks has no session: Django's mark for LoginRequiredMiddleware.
healthz.login_required = readyz.login_required = False  # type: ignore[attr-defined]


def _word(status: int) -> HttpResponse:
    text = _YES if status == 200 else _NO
    headers = {"Cache-Control": "no-store"}
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8", headers=headers)


def _detail(state: State, status: int) -> HttpResponse:
    checks = {name: trouble or _YES for name, trouble in state.troubles.items()}
    body = {"status": _YES if state.is_ready else _NO, "checks": checks}
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})


def _may_see(request: HttpRequest, state: State) -> bool:
    # To know the user takes the database, perhaps the cache: not while one of them may hang this thread too.
    return has_token(request) or (not state.hangs and _is_permitted(request))


def _is_permitted(request: HttpRequest) -> bool:
    try:
        user = getattr(request, "user", None)
        return user is not None and user.is_active and user.is_staff and user.has_perm(_PERMISSION)
    except Exception as fault:  # whatever keeps the sessions is away: that is what is being told
        count_fault("readiness", fault)
        return False
