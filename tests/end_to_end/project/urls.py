"""Views that are fast, that fail, that take a known time, and that query; and the admin."""

from __future__ import annotations

import time

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.views import serve
from django.http import HttpResponse
from django.urls import include, path


def fast(request):
    return HttpResponse("fast")


def broken(request):
    raise LookupError("a secret that must not be stored")


def slow(request, milliseconds):
    time.sleep(milliseconds / 1000)  # the work of this view
    return HttpResponse("slow")


def people(request):
    return HttpResponse(str(get_user_model().objects.count()))


urlpatterns = [
    path("fast", fast),
    path("broken", broken),
    path("slow/<int:milliseconds>", slow),
    path("people", people),
    path("perf/", include("django_perf.urls")),
    path("admin/", admin.site.urls),
    path("static/<path:path>", serve, {"insecure": True}),
]
