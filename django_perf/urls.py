"""Route what visitors' browsers fetch from django_perf: path("perf/", include("django_perf.urls"))."""

from __future__ import annotations

from django.urls import path

from .compression.views import dictionary

app_name = "django_perf"

urlpatterns = [path("dictionary/<str:sha256>", dictionary, name="dictionary")]
