"""Configure the example project; everything that differs between machines comes from the environment.

DATABASE_URL   postgres://user:password@host:port/name or sqlite:///file; absent: a SQLite file next to manage.py
REDIS_URL      redis://host:port/0; absent: one cache per process
SHOP_CACHE_TABLE  the table below the cache, made by `perfcache createtable`; absent: none
SECRET_KEY     absent: a key that everybody knows
SHOP_FAULTS    the planted faults to switch on, comma separated, or `all`
SHOP_DEBUG     1 switches DEBUG on
METRICS_TOKEN  who sends it may read /perf/metrics and the details of /perf/readyz; absent: nobody
"""

from __future__ import annotations

import os
from pathlib import Path

from example_project.environment import cache_from_url, comma_separated, database_from_url, with_small_pool
from example_project.shop.conf import ShopConfig

BASE_DIR = Path(__file__).resolve().parent

SECRET_KEY = os.environ.get("SECRET_KEY") or "example-project-secret-key-for-this-machine-only"
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

SHOP = ShopConfig()
SHOP_FAULTS = comma_separated(os.environ.get("SHOP_FAULTS", ""))

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_perf",
    "example_project.shop",
]

MIDDLEWARE = [
    # First, so that it times all the others and sees the answer that leaves, compressed and with its final headers.
    "django_perf.middleware.TimingMiddleware",
    "django_perf.middleware.CompressionMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# A demo wants to see its figures move; a site with many workers keeps the default of 10 s.
DJANGO_PERF = {
    "FLUSH_INTERVAL": 2.0,
    "METRICS_TOKEN": os.environ.get("METRICS_TOKEN") or None,
    "COMPRESSION": {"MIN_SIZE": SHOP.compression_threshold, "DICTIONARIES": True},
}

DATABASES = with_small_pool(
    {"default": database_from_url(os.environ.get("DATABASE_URL", ""), BASE_DIR / "db.sqlite3")}, SHOP_FAULTS
)
CACHES = {
    "default": cache_from_url(
        os.environ.get("REDIS_URL", ""), SHOP.pool_max_size, os.environ.get("SHOP_CACHE_TABLE", "")
    )
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "django_perf": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        # Django itself shows errors on the console only under DEBUG; a 404 is no news to an API.
        "django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}
