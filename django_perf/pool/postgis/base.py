"""Lend Django connections to a PostGIS database from a pool."""

from __future__ import annotations

from django.contrib.gis.db.backends.postgis import base

from ..postgresql.base import DatabaseWrapper as PooledWrapper


class DatabaseWrapper(PooledWrapper, base.DatabaseWrapper):
    """Work as the PostgreSQL engine of this package does, with PostGIS's types and functions."""
