"""A small site on SQLite, on which test_without_extras.py tries everything: `bare_site.py FILE`.

The packages that MISSING names are not to be had.
"""

from __future__ import annotations

import io
import os
import sys

for missing in os.environ["MISSING"].split():
    sys.modules[missing] = None  # what the import system itself leaves for what is not there

import django  # noqa: E402
from django.conf import settings  # noqa: E402

SITE = "django.contrib."
APPS = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
MIDDLEWARE = (("sessions", "Session"), ("auth", "Authentication"), ("messages", "Message"))
PROCESSORS = [
    "django.template.context_processors.request",
    f"{SITE}auth.context_processors.auth",
    f"{SITE}messages.context_processors.messages",
]
settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF="__main__",
    USE_TZ=True,
    STATIC_URL="static/",
    INSTALLED_APPS=[*(f"{SITE}{name}" for name in APPS), "django_perf"],
    MIDDLEWARE=[
        "django_perf.middleware.TimingMiddleware",
        "django_perf.middleware.CompressionMiddleware",
        *(f"{SITE}{name}.middleware.{kind}Middleware" for name, kind in MIDDLEWARE),
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": PROCESSORS},
        }
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
)
django.setup()

from django.apps import apps  # noqa: E402 - needs the apps, as all that follows
from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command, get_commands, load_command_class  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import include, path  # noqa: E402

from django_perf.dashboard.pages import VIEWS  # noqa: E402

urlpatterns = [
    path("hello", lambda request: HttpResponse(str(User.objects.count()))),
    path("admin/", admin.site.urls),
    path("perf/", include("django_perf.urls")),
]


def visit(client, address, expected, **parameters):
    response = client.get(address, parameters)
    assert response.status_code == expected, (address, response.status_code)
    return response.content.decode()


def main():
    call_command("migrate", verbosity=0)
    call_command("check", fail_level="WARNING", stdout=io.StringIO())
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    visit(client, "/hello", 200)
    assert apps.get_app_config("django_perf").flusher.flush(final=True)
    about = {"endpoint": {"route": "hello", "method": "GET"}}
    for view in VIEWS:
        expected = 404 if view.name in ("query", "sample") else 200
        visit(client, f"/admin/django_perf/performance/{view.path}", expected, **about.get(view.name, {}))
    assert "hello" in visit(client, "/admin/django_perf/performance/", 200)
    visit(client, "/perf/metrics", 404)
    visit(client, "/perf/readyz", 200)
    out = io.StringIO()
    call_command("perfstats", "requests", stdout=out)
    assert "hello" in out.getvalue()
    for name in sorted(name for name in get_commands() if name.startswith("perf")):
        try:
            load_command_class("django_perf", name)
        except ImportError as error:
            print("not loaded:", name, error.name)


if __name__ == "__main__":
    main()
