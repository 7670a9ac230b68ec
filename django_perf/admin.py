"""Put the page "Performance" into the admin index, for those who have its one permission."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from .dashboard import views
from .dashboard.actions import MANAGE
from .dashboard.models import Performance
from .dashboard.pages import VIEWS

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Performance]
else:
    _Base = admin.ModelAdmin  # takes a parameter in the type stubs only

Answer = Callable[[HttpRequest, admin.AdminSite], HttpResponse]


@admin.register(Performance)
class PerformanceAdmin(_Base):
    """Route to the pages; there is nothing to add, change or delete."""

    def get_urls(self) -> list[URLPattern]:
        """Return the pages instead of a change list, and what can be done on them."""
        return [
            *(path(view.path, self._guarded(partial(views.show, view=view)), name=view.url_name) for view in VIEWS),
            path(
                "explain/",
                self._guarded(require_POST(views.explain), views.EXPLAIN),
                name="django_perf_performance_explain",
            ),
            path("act/", self._guarded(require_POST(views.act), MANAGE), name="django_perf_performance_act"),
        ]

    def _guarded(self, view: Answer, permission: str | None = None) -> Callable[[HttpRequest], HttpResponse]:
        """Ask for a login, and for the permissions: being staff is not enough."""

        def guarded(request: HttpRequest) -> HttpResponse:
            is_allowed = permission is None or request.user.has_perm(permission)
            if not (self.has_view_permission(request) and is_allowed):
                raise PermissionDenied
            return view(request, self.admin_site)

        return self.admin_site.admin_view(guarded)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Performance | None = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Performance | None = None) -> bool:
        """Refuse."""
        return False
