"""Route what browsers and machines fetch from django_perf: path("perf/", include("django_perf.urls"))."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections, transaction
from django.http import HttpResponse
from django.urls import path

from .compression.views import dictionary
from .exporters.views import metrics
from .readiness.views import healthz, readyz

app_name = "django_perf"

View = Callable[..., HttpResponse]


def _outside_transactions(view: View) -> View:
    """Keep ATOMIC_REQUESTS from opening a connection before the view: it may hang, which is what a probe asks."""
    for alias in list(connections.settings):
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


urlpatterns = [
    path("dictionary/<str:sha256>", dictionary, name="dictionary"),
    path("metrics", _outside_transactions(metrics), name="metrics"),
    path("healthz", _outside_transactions(healthz), name="healthz"),
    path("readyz", _outside_transactions(readyz), name="readyz"),
]
