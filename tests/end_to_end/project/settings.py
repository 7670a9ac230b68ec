"""Settings of the small site; DATABASE_URL, OWN_LIST and FLUSH_INTERVAL come from the environment.

Its mark of a drain lies beside its own list. THEME may name an app that dresses the admin; such a theme needs scripts
that the strict policy forbids.
"""

from __future__ import annotations

import os
from pathlib import Path

from example_project.environment import database_from_url
from example_project.settings import INSTALLED_APPS as EXAMPLE_APPS
from example_project.settings import MIDDLEWARE as EXAMPLE_MIDDLEWARE
from example_project.settings import TEMPLATES  # noqa: F401

SECRET_KEY = "end to end"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [app for app in EXAMPLE_APPS if app != "example_project.shop"]
FIRST, *OTHERS = [name for name in EXAMPLE_MIDDLEWARE if not name.startswith("example_project.")]
MIDDLEWARE = [
    FIRST,
    "tests.end_to_end.project.clocks.OwnClockMiddleware",
    "tests.end_to_end.project.csp.StrictPolicyMiddleware",
    *OTHERS,
]
if theme := os.environ.get("THEME"):
    INSTALLED_APPS.insert(0, theme)
    MIDDLEWARE.remove("tests.end_to_end.project.csp.StrictPolicyMiddleware")
ROOT_URLCONF = "tests.end_to_end.project.urls"
DATABASES = {"default": database_from_url(os.environ["DATABASE_URL"], Path("/nonexistent"))}
DJANGO_PERF = {
    "FLUSH_INTERVAL": float(os.environ.get("FLUSH_INTERVAL", "1")),
    "METRICS_TOKEN": "a-token-of-the-tests",
    "STATE_FOLDER": Path(os.environ["OWN_LIST"]).parent / "state",
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
USE_TZ = True
# Errors are part of these tests; their tracebacks would bury what matters in a log that a failing test shows.
LOGGING = {"version": 1, "disable_existing_loggers": False, "loggers": {"django.request": {"level": "CRITICAL"}}}
