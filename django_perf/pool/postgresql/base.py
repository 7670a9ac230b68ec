"""Lend Django connections from a pool: one backend for Django 5.2, 6.0 and 6.1, by way of its `pool` property."""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel, is_psycopg3
from django.db.utils import OperationalError

from ... import exceptions
from ...metrics.worker import gunicorn_threads, is_command
from .. import observer
from ..options import PoolOptions, read
from ..pool import ConnectionPool

if is_psycopg3:
    raise ImproperlyConfigured(
        "django_perf.pool works on psycopg2, but psycopg 3 is installed too, and Django prefers it. Uninstall psycopg, "
        "or use Django's own ENGINE with its own pool."
    )

from .connection import Connection
from .driver import PostgresDriver

logger = logging.getLogger("django_perf.pool")

_MOST_THREADS = 20
# -c name=value or --name=value
_NAME = re.compile(r"(?:-c\s*|--)([\w.-]+)\s*=")
# libpq parameters that a firewall on the way and a dead server ask for; the user's own come first. Clouds drop idle
# flows after 350 s. tcp_user_timeout (ms) is the only one that ends a statement whose packets nobody acknowledges.
_NETWORK = {
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "connect_timeout": 5,
    "application_name": "django_perf",
}


class PoolError(exceptions.PoolError, OperationalError):
    """Report a refusal of the pool, as a database error of Django."""


class PoolTimeout(exceptions.PoolTimeout, PoolError):
    """Report that no connection came in time."""


class TooManyRequests(exceptions.TooManyRequests, PoolError):
    """Refuse to wait because enough others wait already."""


class PoolClosed(exceptions.PoolClosed, PoolError):
    """Refuse the use of a pool that was closed."""


_ERRORS: dict[type[exceptions.PoolError], type[exceptions.PoolError]] = {
    exceptions.PoolError: PoolError,
    exceptions.PoolTimeout: PoolTimeout,
    exceptions.TooManyRequests: TooManyRequests,
    exceptions.PoolClosed: PoolClosed,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold what follows from the settings of a database, until they change under our feet (tests do that)."""

    source: dict[str, Any]
    zone: str | None
    parameters: dict[str, Any]
    options: PoolOptions | None
    guards: dict[str, int]
    isolation: IsolationLevel | None

    def fits(self, settings: dict[str, Any], zone: str | None) -> bool:
        """Tell whether the settings are still those."""
        return self.source == settings and self.zone == zone


class DatabaseWrapper(base.DatabaseWrapper):
    """Work with a connection of the pool from the first query of a request to its end.

    Pools are keyed by class, alias, connection parameters and time zone. `OPTIONS["pool"]`: a dict of options, False
    for none.
    """

    _pools: dict[tuple[Any, ...], ConnectionPool] = {}
    _pools_lock = Lock()
    _plan: Plan | None = None
    _own_pool: ConnectionPool | None = None
    # Of Django's base class; its stubs leave them out.
    health_check_enabled: bool
    health_check_done: bool

    # --- settings -------------------------------------------------------------------------------------------------

    def _planned(self) -> Plan:
        plan = self._plan
        if plan is None or not plan.fits(self.settings_dict, self.timezone_name):
            plan = self._plan = self._make_plan()
            self._own_pool = None
        return plan

    def _make_plan(self) -> Plan:
        # settings_dict itself stays as it is: Django's parallel tests update it in place.
        source = {name: dict(value) if isinstance(value, dict) else value for name, value in self.settings_dict.items()}
        raw = source["OPTIONS"].get("pool", True)
        try:
            options = read(raw)
        except ValueError as error:
            raise ImproperlyConfigured(f"database {self.alias!r}: {error}") from None
        plain = copy(self)
        plain.settings_dict = {**source, "OPTIONS": {k: v for k, v in source["OPTIONS"].items() if k != "pool"}}
        parameters = super(DatabaseWrapper, plain).get_connection_params()
        guards = _guards(options, _startup(parameters)) if options else {}
        if options is not None and self.alias != NO_DB_ALIAS:
            parameters = _with_network({**parameters, "connection_factory": Connection}, guards)
        return Plan(source, self.timezone_name, parameters, options, guards, _isolation(source["OPTIONS"]))

    def get_connection_params(self) -> dict[str, Any]:
        """Return libpq's parameters: Django's, the network's and the guards'."""
        return dict(self._planned().parameters)

    # --- the pool -------------------------------------------------------------------------------------------------

    @property
    def pool(self) -> ConnectionPool | None:
        """Return the pool of this database; None when it is switched off, and for work without a database."""
        plan = self._planned()
        if plan.options is None or self.alias == NO_DB_ALIAS:
            return None
        own = self._own_pool
        if own is None or own.is_closed:
            own = self._own_pool = self._find_pool(plan)
        return own

    def _key(self, plan: Plan) -> tuple[Any, ...]:
        return type(self), self.alias, plan.zone, repr(sorted(plan.parameters.items())), repr(plan.options)

    def _find_pool(self, plan: Plan) -> ConnectionPool:
        key = self._key(plan)
        with self._pools_lock:
            found = self._pools.get(key)
            if found is None or found.is_closed:
                assert plan.options is not None
                found = self._pools[key] = self._make_pool(plan, plan.options)
                observer.publish(found)
            return found

    def _make_pool(self, plan: Plan, options: PoolOptions) -> ConnectionPool:
        # A copy: the pool must not work with a wrapper that belongs to one thread, which may change its settings.
        template: Any = self.copy()
        parameters = template.get_connection_params()
        driver = PostgresDriver(options, plan.guards, template._configure_connection, plan.isolation)
        pool = ConnectionPool(
            partial(self.Database.connect, **parameters),
            name=self.alias,
            min_size=options.min_size,
            max_size=options.max_size or max(options.min_size, _found_size(self.alias)),
            timeout=options.timeout,
            max_waiting=options.max_waiting,
            max_idle=options.max_idle,
            max_lifetime=options.max_lifetime,
            max_uses=options.max_uses,
            keepalive=options.keepalive,
            leak_after=options.leak_after,
            driver=driver,
            error_class=_ERRORS.__getitem__,
        )
        driver.pool = pool
        return pool

    @classmethod
    def evict_pools(cls, alias: str) -> None:
        """Have the pools of an alias in this process replace every connection, as it comes back."""
        with cls._pools_lock:
            own = [pool for key, pool in cls._pools.items() if key[1] == alias]
        for pool in own:
            pool.evict()

    def close_pool(self) -> None:
        """Close all pools of this alias: a database that others still hold cannot be dropped."""
        with self._pools_lock:
            own = [key for key in self._pools if key[:2] == (type(self), self.alias)]
            closed = [self._pools.pop(key) for key in own]
        for pool in closed:
            pool.close()

    # --- what Django does with a connection -----------------------------------------------------------------------

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take a connection out of the pool, or open one where there is no pool."""
        pool = self.pool
        if pool is None:
            return super().get_new_connection(conn_params)
        self.isolation_level = self._planned().isolation or IsolationLevel.READ_COMMITTED
        connection = pool.getconn()
        connection.cursor_factory = self._planned().parameters["cursor_factory"]
        connection.hold_for(self)
        return connection

    def _set_autocommit(self, autocommit: bool) -> None:
        """Tell psycopg2 only what changes: its setter lets go of the GIL, which costs a turn among busy threads."""
        connection: Any = self.connection
        if connection is None or connection.autocommit != autocommit:
            super()._set_autocommit(autocommit)  # type: ignore[misc]

    def _configure_role(self, connection: Any) -> bool:
        """Set the role without compose_sql(), which would ask the pool for a second connection."""
        role = self.settings_dict["OPTIONS"].get("assume_role")
        if role:
            with connection.cursor() as cursor:
                cursor.execute("SET ROLE %s", [role])
        return bool(role)

    def _close(self) -> None:
        connection: Any = self.connection
        pool = getattr(connection, "_pool", None)
        if pool is None:
            super()._close()  # type: ignore[misc]  # the stubs know public names only
            return
        if self.errors_occurred:  # Django has just found it unusable
            connection.slot.doom = "broken"
        connection.hold_for(None)
        self.connection = None
        with self.wrap_database_errors:
            pool.putconn(connection)

    def close_if_health_check_failed(self) -> None:
        """Look after a connection that the thread keeps (CONN_MAX_AGE); the pool looks at those that it lends."""
        if self.connection is None or not self.health_check_enabled or self.health_check_done:
            return
        if not self.is_usable():
            self.errors_occurred = True
            self.close()
        self.health_check_done = True


def _with_network(parameters: dict[str, Any], guards: dict[str, int]) -> dict[str, Any]:
    """Add timeouts of the network, and the session guards as startup options; what the user gave wins."""
    merged = {**_NETWORK, **parameters}
    startup = [*(f"-c {name}={value}" for name, value in guards.items()), _startup(parameters)]
    if any(startup):
        merged["options"] = " ".join(startup).strip()
    return merged


def _guards(options: PoolOptions, given: str) -> dict[str, int]:
    """Return the session guards, less those that the user's own startup options set.

    None for a management command, which may migrate or build an index for hours.
    """
    if is_command():
        return {}
    own = {name.replace("-", "_") for name in _NAME.findall(given.lower())}
    return {name: value for name, value in options.guards().items() if name not in own}


def _startup(parameters: dict[str, Any]) -> str:
    """Return the user's own startup options; libpq takes the environment's where there is no parameter."""
    return str(parameters.get("options", os.environ.get("PGOPTIONS", "")))


def _isolation(options: dict[str, Any]) -> IsolationLevel | None:
    if "isolation_level" not in options:
        return None
    try:
        return IsolationLevel(options["isolation_level"])
    except ValueError:
        raise ImproperlyConfigured(
            f"Invalid transaction isolation level {options['isolation_level']} specified. Use one of the "
            "psycopg.IsolationLevel values."
        ) from None


def _found_size(alias: str) -> int:
    threads = gunicorn_threads()
    if threads is None and not is_command():
        text = "pool %r: the number of threads of this process is unknown, so max_size is %d; set OPTIONS['pool']"
        logger.warning(text, alias, _MOST_THREADS)
    return min(_MOST_THREADS, threads or _MOST_THREADS)


def _forget_inherited() -> None:
    """Take inherited connections away from the wrappers of a forked child, without touching them."""
    with suppress(Exception):
        for wrapper in connections.all(initialized_only=True):
            if isinstance(wrapper, DatabaseWrapper) and getattr(wrapper.connection, "_pool", None) is not None:
                wrapper.connection = None
                # In the middle of a transaction that is the parent's: nothing may go on in it.
                wrapper.closed_in_transaction = wrapper.needs_rollback = wrapper.in_atomic_block


os.register_at_fork(after_in_child=_forget_inherited)
