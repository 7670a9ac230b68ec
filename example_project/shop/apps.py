"""Install the shop: cache invalidation on every save, and the check of its settings."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import register


class ShopAppConfig(AppConfig):
    """Wire the shop when Django starts."""

    name = "example_project.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signals; nothing is read or opened."""
        from example_project.shop import checks, invalidation, warming  # noqa: F401 - registers its warmers

        invalidation.connect()
        register(checks.check_faults)
