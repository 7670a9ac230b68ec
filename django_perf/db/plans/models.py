"""Find the Django model of a table, and the field of each of its columns."""

from __future__ import annotations

from functools import lru_cache

from django.apps import apps


@lru_cache(maxsize=1)
def models_by_table() -> dict[str, tuple[str, dict[str, str]]]:
    """Return {table: ("shop.Product", {column: field})} of all models that are installed."""
    return {
        model._meta.db_table: (model._meta.label, {str(field.column): field.name for field in model._meta.local_fields})
        for model in apps.get_models(include_auto_created=True)
    }
