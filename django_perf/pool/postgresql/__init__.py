"""Hold the database engine: ENGINE = "django_perf.pool.postgresql"."""
