"""Tell a developer before the start what would not work; every id is explained in docs/checks.md and never reused."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings as django_settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DatabaseError
from django.urls import NoReverseMatch, reverse

from . import conf
from .alerts.checks import check_alerts
from .cache import options as cache_options
from .compression import codecs
from .exceptions import PerfError
from .exporters import prometheus
from .pool import options
from .reports.pool import fleets
from .reports.window import last
from .store.alias import OWN_ALIAS, store_alias
from .store.models import Delta
from .store.reader import consistent

_CACHE_BACKENDS = ("django_perf.cache.MultiLevelCache", "django_perf.cache.multilevel.MultiLevelCache")
_CACHE_TABLE = "django_perf_cache"
_POOL_ENGINES = ("django_perf.pool.postgresql", "django_perf.pool.postgis")
# Fewer connections than that, and a worker of any size is short of them while requests hold theirs to the end.
_SMALL_POOL = 4
MIDDLEWARE = "django_perf.middleware.TimingMiddleware"
_COMPRESSION = "django_perf.middleware.CompressionMiddleware"
_CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"
_OTHER_COMPRESSION = {
    "django.middleware.gzip.GZipMiddleware",
    "compression_middleware.middleware.CompressionMiddleware",
    "django_http_compression.middleware.HttpCompressionMiddleware",
}


def register() -> None:
    """Register the checks of the app; called by apps.ready()."""
    checks.register(check_settings, "django_perf")
    checks.register(check_middleware, "django_perf")
    checks.register(check_compression, "django_perf")
    checks.register(check_metrics, "django_perf")
    checks.register(check_alerts, "django_perf")
    checks.register(check_pools, "django_perf")
    checks.register(check_caches, Tags.caches)
    checks.register(check_tables, Tags.database)
    checks.register(check_cache_tables, Tags.database)
    checks.register(check_fleet, Tags.database)


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


def check_compression(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Find what compresses twice or in the wrong place (W008 to W010), and what cannot work (E008, E009)."""
    installed = list(django_settings.MIDDLEWARE)
    if _COMPRESSION not in installed or check_settings():
        return []
    return [*_check_order(installed), *_check_codings(), *_check_dictionaries(), *_check_variants()]


def _check_order(installed: list[str]) -> Iterator[CheckMessage]:
    place = installed.index(_COMPRESSION)
    for name in set(installed) & _OTHER_COMPRESSION:
        yield Warning(
            f"{name!r} and CompressionMiddleware are both in MIDDLEWARE: only the lower one compresses",
            hint=f"Take {name!r} out.",
            id="django_perf.W008",
        )
    for name in installed[:place]:
        if name == _CONDITIONAL:
            yield Warning(
                "ConditionalGetMiddleware stands above CompressionMiddleware: its ETags differ by coding",
                hint=f"Put {_COMPRESSION!r} above it.",
                id="django_perf.W009",
            )


def _check_codings() -> Iterator[CheckMessage]:
    given = getattr(django_settings, conf.NAME, {}).get("COMPRESSION", {}).get("ENCODINGS", ())
    for coding in given:
        if not codecs.is_installed(coding):
            yield Warning(
                f"COMPRESSION['ENCODINGS'] names {coding!r}, whose library is not installed: it is not offered",
                hint="pip install django-perf-suite[compression]",
                id="django_perf.W010",
            )


def _check_dictionaries() -> Iterator[CheckMessage]:
    if not conf.get_settings().compression.dictionaries:
        return
    if not _is_routed("dictionary", "0" * 64):
        yield Error(
            "COMPRESSION['DICTIONARIES'] is on, and no URL leads to the dictionaries",
            hint='Add path("perf/", include("django_perf.urls")) to the urlpatterns.',
            id="django_perf.E008",
        )
    if not codecs.is_installed("zstd"):
        yield Error(
            "COMPRESSION['DICTIONARIES'] is on, and zstd is not installed",
            hint="pip install django-perf-suite[compression]",
            id="django_perf.E008",
        )


def _check_variants() -> Iterator[CheckMessage]:
    alias = conf.get_settings().compression.variant_cache
    if alias is not None and alias not in django_settings.CACHES:
        yield Error(
            f"COMPRESSION['VARIANT_CACHE'] is {alias!r}, which is not in CACHES",
            hint=f"There are {', '.join(django_settings.CACHES)}.",
            id="django_perf.E009",
        )


def _is_routed(name: str, *args: str) -> bool:
    try:
        reverse(f"django_perf:{name}", args=args)
    except NoReverseMatch:
        return False
    return True


def check_metrics(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Find metrics that somebody may read and nobody can write (E010)."""
    if check_settings() or prometheus.is_installed():
        return []
    settings = conf.get_settings()
    if not (settings.metrics_token or settings.metrics_networks) or not _is_routed("metrics"):
        return []
    text = "METRICS_TOKEN or METRICS_NETWORKS lets somebody read the metrics, and prometheus_client is not installed"
    hint = "pip install django-perf-suite[prometheus]; without it the page is a 404."
    return [Error(text, hint=hint, id="django_perf.E010")]


def check_pools(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Find wrong options of a pool (E004), and settings that defeat one (W004, W005)."""
    found: list[CheckMessage] = []
    for alias, database in connections.settings.items():
        raw = database.get("OPTIONS", {}).get("pool", True)
        if database.get("ENGINE") not in _POOL_ENGINES or raw is False:
            continue
        wrong = [
            Error(f"DATABASES[{alias!r}]: {text}", hint=hint, id="django_perf.E004")
            for text, hint in options.problems(raw)
        ]
        found += wrong or _check_use(alias, database, raw)
    return found


def _check_use(alias: str, database: dict[str, Any], raw: object) -> Iterator[CheckMessage]:
    if database.get("CONN_MAX_AGE", 0) != 0:
        yield Warning(
            f"DATABASES[{alias!r}] has CONN_MAX_AGE and a pool: each thread keeps its connection, and none is lent",
            hint="Leave CONN_MAX_AGE out, or switch the pool off with OPTIONS = {'pool': False}.",
            id="django_perf.W004",
        )
    max_size = raw.get("max_size") if isinstance(raw, dict) else None
    if database.get("ATOMIC_REQUESTS") and max_size is not None and max_size < _slots():
        yield Warning(
            f"DATABASES[{alias!r}] has ATOMIC_REQUESTS and a pool of {max_size}: each request holds a connection from "
            "its beginning to its end, and the others wait",
            hint="Raise max_size to the threads of a worker, or use transaction.atomic() where it is needed.",
            id="django_perf.W005",
        )


def _slots() -> int:
    try:
        return conf.get_settings().worker_slots or _SMALL_POOL
    except ImproperlyConfigured:
        return _SMALL_POOL


def check_caches(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Find wrong options of a cache (E005), one that cannot be tracked (E006), and what it lacks (E007)."""
    found: list[CheckMessage] = []
    for alias, location, params in _multi_level_caches():
        name = f"CACHES[{alias!r}]"
        found += [
            Error(f"{name}: {text}", hint="docs/cache.md lists the options.", id="django_perf.E005")
            for text in cache_options.problems(location, params)
        ]
        if cache_options.is_untrackable(location, params):
            found.append(
                Error(
                    f"{name} has no KEY_PREFIX: Redis would have to tell every process of every key there is",
                    hint="Give it a KEY_PREFIX of its own, or OPTIONS = {'coherence': 'ttl'}.",
                    id="django_perf.E006",
                )
            )
        found += [
            Error(f"{name}: {text}", hint=hint, id="django_perf.E007") for text, hint in _missing(location, params)
        ]
    return found


def _multi_level_caches() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for alias, params in django_settings.CACHES.items():
        if params.get("BACKEND") in _CACHE_BACKENDS:
            yield alias, params.get("LOCATION", ""), params


def _missing(location: Any, params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    options = params.get("OPTIONS") or {}
    if location and importlib.util.find_spec("django_redis") is None:
        yield "a LOCATION needs django-redis", "pip install django-perf-suite[redis]"
    if options.get("serializer") == "msgpack" and importlib.util.find_spec("msgpack") is None:
        yield "the serializer 'msgpack' needs msgpack", "pip install msgpack"
    alias, _ = _table_of(params)
    if alias is not None and alias not in connections.settings:
        yield f"L3['alias'] is {alias!r}, which is not in DATABASES", f"Known are {', '.join(connections.settings)}."


def _table_of(params: dict[str, Any]) -> tuple[str | None, str]:
    """Return the database and the table of level 3; None without one."""
    given = (params.get("OPTIONS") or {}).get("L3", False)
    if given is False:
        return None, ""
    own = given if isinstance(given, dict) else {}
    return own.get("alias", DEFAULT_DB_ALIAS), own.get("table", _CACHE_TABLE)


def check_cache_tables(databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when the table of a cache is missing (W007)."""
    found: list[CheckMessage] = []
    for cache, _, params in _multi_level_caches():
        alias, name = _table_of(params)
        if alias is None or alias not in (databases or ()):
            continue
        try:
            is_missing = name not in connections[alias].introspection.table_names()
        except DatabaseError:
            continue  # an unreachable database is reported by Django itself
        if is_missing:
            text = f"The table {name!r} of CACHES[{cache!r}] is missing in the database {alias!r}: it has no level 3"
            hint = f"Run `manage.py perfcache --cache {cache} createtable`."
            found.append(Warning(text, hint=hint, id="django_perf.W007"))
    return found


def check_fleet(databases: Iterable[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when the processes that run may open more connections than the server has (W006)."""
    try:
        alias = store_alias()
        if alias not in connections.settings or alias not in (databases or ()):
            return []
        rows = consistent(alias, lambda snapshot: fleets(snapshot, last("5m")))
    except (ImproperlyConfigured, DatabaseError, PerfError):
        return []  # the other checks say why
    return [
        Warning(
            f"{len(row.pools)} processes may open {row.level('max_size')} connections to {row.alias!r}, "
            f"the server takes {server_max}",
            hint=f"Lower max_size to {max(1, server_max // len(row.pools))}, or raise the server's max_connections.",
            id="django_perf.W006",
        )
        for row in rows
        if row.pools and (server_max := row.server_max()) is not None and row.level("max_size") > server_max
    ]


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
