"""Hold the database engine for GeoDjango: ENGINE = "django_perf.pool.postgis"."""
