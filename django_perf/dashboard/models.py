"""Give the dashboard its place in the admin."""

from __future__ import annotations

from django.db import models
from django.utils.translation import pgettext_lazy


class Performance(models.Model):
    """Stand for the page in the admin index, with its permissions and no table.

    view_performance shows the pages; explain_queries has the database plan a statement; manage_performance clears
    caches and measurements and retires connections.
    """

    class Meta:
        app_label = "django_perf"
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("explain_queries", "Can have the database explain how it runs a query"),
            ("manage_performance", "Can clear caches and measurements, and retire connections"),
        ]
        verbose_name = pgettext_lazy("django_perf", "performance")
        verbose_name_plural = pgettext_lazy("django_perf", "performance")
