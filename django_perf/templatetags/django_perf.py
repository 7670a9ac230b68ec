"""Format values and build links in the pages of the dashboard."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Any

from django import template
from django.utils.safestring import SafeString

from ..dashboard.page import Note
from ..dashboard.views import address
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
    first = next((column["name"] for column in table.columns if column["name"] not in table.details), "")
    return SafeString("\n".join(_cell(table, column, row, since, first) for column in table.columns))


def _cell(table: Table, column: dict[str, str], row: dict[str, Value], since: str, first: str) -> str:
    name, unit = column["name"], column["unit"]
    text = escape(text_of(row[name], unit))
    classes = f"perf-{unit}"
    if name == "sql":
        text, classes = f"<code>{escape(short_sql(text_of(row[name], unit)))}</code>", "perf-text perf-sql"
    if (target := table.links.get(name)) and (link := _link(target, row, since)):
        text = f'<a href="{escape(link)}">{text}</a>'
    if name in table.details:
        classes += " perf-detail"
    is_header = name == first and unit == "text"
    return f'<th scope="row" class="{classes}">{text}</th>' if is_header else f'<td class="{classes}">{text}</td>'


def _link(target: str, row: dict[str, Value], since: str) -> str:
    """Return the address of the page that a row leads to, "" for none: the rest of a query has no page."""
    if target == "endpoint":
        route = row["endpoint"] if "endpoint" in row else row["name"]
        return address("endpoint", route=str(route), method=str(row["method"]), since=since)
    id_ = row.get("query_id") or row.get("id")
    if target == "query" and not row.get("sql"):
        return ""
    return address(target, id=str(id_), since=since)


@register.simple_tag
def page_address(name: str, since: str, **params: str) -> str:
    """Return the address of a page of ours."""
    return address(name, **params, since=since)


@register.simple_tag
def note_link(note: Note, since: str) -> str:
    """Return the address that a note leads to, "" for none."""
    return address(note.page, **note.params, since=since) if note.page else ""


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
