"""Route the admin (with the dashboard in it), its static files, and the shop at the root."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

# "View site" in the admin leads here; the shop has no page at its root.
admin.site.site_url = "/products"

urlpatterns = [
    path("admin/", admin.site.urls),
    # A demo: Django's own file view, in Python and without caching headers, so that the admin has its styles under
    # gunicorn with DEBUG off. A real project runs collectstatic and serves the files from a web server or WhiteNoise.
    path("static/<path:path>", serve, {"insecure": True}),
    # Dictionaries, /perf/metrics (with METRICS_TOKEN), /perf/healthz and /perf/readyz.
    path("perf/", include("django_perf.urls")),
    path("", include("example_project.shop.urls")),
]

handler404 = "example_project.shop.errors.not_found"
handler500 = "example_project.shop.errors.server_error"
