"""Give the dashboard its place in the admin."""

from __future__ import annotations

from django.db import models


class Performance(models.Model):
    """Stand for the page in the admin index, with one permission, view_performance, and no table."""

    class Meta:
        app_label = "django_perf"
        managed = False
        default_permissions = ("view",)
        verbose_name = "performance"
        verbose_name_plural = "performance"
