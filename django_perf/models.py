"""Collect the models of the app where Django looks for them."""

from __future__ import annotations

from django.db import models

from .store.models import Delta, Lease, Process, Rollup, Series

__all__ = ["Delta", "Lease", "Performance", "Process", "Rollup", "Series"]


class Performance(models.Model):
    """Stand for the page in the admin index, with one permission, view_performance, and no table."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "performance"
        verbose_name_plural = "performance"
