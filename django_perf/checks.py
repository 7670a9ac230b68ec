"""Tell a developer before the start what would not work; every id is explained in docs/checks.md and never reused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseError

from . import conf
from .store.alias import OWN_ALIAS, store_alias
from .store.models import Delta

MIDDLEWARE = "django_perf.middleware.TimingMiddleware"


def register() -> None:
    """Register the checks of the app; called by apps.ready()."""
    checks.register(check_settings, "django_perf")
    checks.register(check_middleware, "django_perf")
    checks.register(check_tables, Tags.database)


def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Find unknown and ill-typed settings (E001, E002) and a store alias that does not exist (E003)."""
    raw = getattr(django_settings, conf.NAME, {})
    found = [_problem(problem) for problem in conf.problems(raw)]
    return found or list(_check_alias())


def _problem(problem: conf.Problem) -> CheckMessage:
    return Error(problem.text, hint=problem.hint, id="django_perf.E001" if problem.unknown else "django_perf.E002")


def _check_alias() -> Iterator[CheckMessage]:
    alias = store_alias()
    if alias not in connections.settings:
        known = ", ".join(sorted(name for name in connections.settings if name != OWN_ALIAS))
        yield Error(
            f"{conf.NAME}['DATABASE'] is {alias!r}, which is not in DATABASES",
            hint=f"Known aliases are {known}; leave DATABASE out to use the default database.",
            id="django_perf.E003",
        )


def check_middleware(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when requests are not measured (W001), or not from their beginning (W002)."""
    installed = list(django_settings.MIDDLEWARE)
    if MIDDLEWARE not in installed:
        text, id_ = "TimingMiddleware is not in MIDDLEWARE: no request is measured", "django_perf.W001"
    elif installed[0] != MIDDLEWARE:
        text, id_ = f"TimingMiddleware stands behind {installed[0]!r}, whose time it cannot see", "django_perf.W002"
    else:
        return []
    return [Warning(text, hint=f"Put {MIDDLEWARE!r} first in MIDDLEWARE.", id=id_)]


def check_tables(databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when the tables of the store are missing (W003).

    A warning, for an error would stop the very `migrate` that makes them. Run by `check --database` and by `migrate`.
    """
    try:
        alias = store_alias()
    except ImproperlyConfigured:
        return []  # check_settings says why
    if alias not in connections.settings or alias not in (databases or ()):
        return []
    try:
        missing = Delta._meta.db_table not in connections[alias].introspection.table_names()
    except DatabaseError:
        return []  # an unreachable database is reported by Django itself
    hint = f"Run `manage.py migrate --database {alias}`." if alias != DEFAULT_DB_ALIAS else "Run `manage.py migrate`."
    text = f"The tables of django_perf are missing in the database {alias!r}: nothing is stored"
    return [Warning(text, hint=hint, id="django_perf.W003")] if missing else []
