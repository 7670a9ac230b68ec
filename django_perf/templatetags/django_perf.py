"""Format values and build links in the pages of the dashboard."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils.http import urlencode

from ..reports.report import Value
from ..reports.text import short_sql, text_of

register = template.Library()


@register.filter
def human(value: Value, unit: str) -> str:
    """Return a value as text, by the unit of its column."""
    return text_of(value, unit)


@register.filter
def brief(sql: str) -> str:
    """Return SQL without a long list of columns."""
    return short_sql(sql)


@register.filter
def get(row: dict[str, Value], name: str) -> Value:
    """Return a cell of a row."""
    return row[name]


@register.simple_tag
def endpoint_url(row: dict[str, Value], since: str) -> str:
    """Return the address of the page of an endpoint: our own, the recorded name is only a parameter of it."""
    query = urlencode({"route": str(row["name"]), "method": str(row["method"]), "since": since})
    return f"{reverse('admin:django_perf_performance_endpoint')}?{query}"


@register.simple_tag(takes_context=True)
def with_query(context: dict[str, Any], **changes: str) -> str:
    """Return the query string of this page with some parameters changed."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        query[name] = value
    return f"?{query.urlencode()}"


@register.filter
def clock(moment: datetime) -> str:
    """Return a time as the page writes it; it is in UTC, and the page says so."""
    return f"{moment:%Y-%m-%d %H:%M}"
