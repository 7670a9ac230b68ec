"""Put the page "Performance" into the admin index, for those who have its one permission."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path

from .dashboard import views
from .dashboard.models import Performance

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Performance]
else:
    _Base = admin.ModelAdmin  # takes a parameter in the type stubs only

View = Callable[[HttpRequest, admin.AdminSite], HttpResponse]


@admin.register(Performance)
class PerformanceAdmin(_Base):
    """Route to the pages; there is nothing to add, change or delete."""

    def get_urls(self) -> list[URLPattern]:
        """Return the pages instead of a change list."""
        return [
            path("", self._guarded(views.overview), name="django_perf_performance_changelist"),
            path("endpoint/", self._guarded(views.endpoint), name="django_perf_performance_endpoint"),
            path("pool/", self._guarded(views.pool), name="django_perf_performance_pool"),
            path("cache/", self._guarded(views.cache), name="django_perf_performance_cache"),
            path("compression/", self._guarded(views.compression), name="django_perf_performance_compression"),
        ]

    def _guarded(self, view: View) -> Callable[[HttpRequest], HttpResponse]:
        """Ask for a login, and for the permission: being staff is not enough."""

        def guarded(request: HttpRequest) -> HttpResponse:
            if not self.has_view_permission(request):
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
