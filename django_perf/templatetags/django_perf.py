"""Format values and build links in the pages of the dashboard."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from django import template
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from ..reports.report import Table, Value
from ..reports.text import short_sql, text_of

register = template.Library()


@register.filter
def human(value: Value, unit: str) -> str:
    """Return a value as text, by the unit of its column."""
    return text_of(value, unit)


@register.simple_tag
def cells(table: Table, row: dict[str, Value], since: str) -> SafeString:
    """Return the cells of one row: a page has hundreds, and those a template makes take several times as long.

    Every text in them goes through escape(), the one that Django's own templates use.
    """
    return SafeString("\n".join(_cell(table, column, row, since) for column in table.columns))


def _cell(table: Table, column: dict[str, str], row: dict[str, Value], since: str) -> str:
    name, unit = column["name"], column["unit"]
    text = text_of(row[name], unit)
    if table.name == "requests" and name == "name":
        link = escape(_endpoint_url(row, since))
        return f'<th scope="row" class="perf-text"><a href="{link}">{escape(text)}</a></th>'
    if name == "route":
        return f'<th scope="row" class="perf-text">{escape(text)}</th>'
    if name == "sql":
        return f'<td class="perf-text perf-sql"><code>{escape(short_sql(text))}</code></td>'
    detail = " perf-detail" if name in table.details else ""
    return f'<td class="perf-{unit}{detail}">{escape(text)}</td>'


def _endpoint_url(row: dict[str, Value], since: str) -> str:
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
