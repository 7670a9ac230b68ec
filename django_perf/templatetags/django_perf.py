"""Format values and build links in the pages of the dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import pgettext

from ..dashboard.charts import Chart
from ..dashboard.heat import HeatMap
from ..dashboard.page import Asked, Note
from ..dashboard.views import address
from ..dashboard.words import OURS
from ..metrics.names import clean
from ..reports.report import Table, Value
from ..reports.text import short_sql, text_of

register = template.Library()

_COMPARISONS = {"previous": "the time before", "yesterday": "the day before", "week": "the week before"}


@register.filter
def human(value: Value, unit: str) -> str:
    """Return a value as text, by the unit of its column."""
    return text_of(value, unit)


@register.simple_tag
def headings(table: Table, asked: Asked) -> list[dict[str, str]]:
    """Return label, classes, direction and the order that a click asks for, of each column."""
    sort = asked.sort_of(table.name)
    return [_heading(table, column, sort) for column in table.columns]


def _heading(table: Table, column: dict[str, str], sort: str) -> dict[str, str]:
    name = column["name"]
    is_up, is_text = sort == f"-{name}", column["unit"] in ("text", "prose", "time")
    is_sorted = sort.removeprefix("-") == name
    direction = ("ascending" if is_up is not is_text else "descending") if is_sorted else ""
    return {
        "label": pgettext("django_perf", column["label"]),
        "classes": f"perf-{column['unit']}{' perf-detail' if name in table.details else ''}",
        "direction": direction,
        "sort": f"{table.name}.{'-' if is_sorted and not is_up else ''}{name}",
    }


@register.simple_tag
def cells(table: Table, row: dict[str, Value], range_: Mapping[str, str]) -> SafeString:
    """Return the cells of one row: a page has hundreds, and those a template makes take several times as long.

    Every text in them goes through escape(), the one that Django's own templates use.
    """
    first = next((column["name"] for column in table.columns if column["name"] not in table.details), "")
    return SafeString("\n".join(_cell(table, column, row, range_, first) for column in table.columns))


def _cell(table: Table, column: dict[str, str], row: dict[str, Value], range_: Mapping[str, str], first: str) -> str:
    name, unit = column["name"], column["unit"]
    written = text_of(row[name], unit)
    if (table.name, name) in OURS and written:
        written = pgettext("django_perf", written)
    text = clock(row[name]) if unit == "time" else escape(written)
    classes = f"perf-{unit}"
    if name == "sql":
        text, classes = f"<code>{escape(short_sql(written))}</code>", "perf-text perf-sql"
    if (target := table.links.get(name)) and (link := _link(target, row, range_)):
        text = f'<a href="{escape(link)}">{text}</a>'
    if name in table.details:
        classes += " perf-detail"
    is_header = name == first and unit == "text"
    return f'<th scope="row" class="{classes}">{text}</th>' if is_header else f'<td class="{classes}">{text}</td>'


def _link(target: str, row: dict[str, Value], range_: Mapping[str, str]) -> str:
    """Return the address of the page that a row leads to, "" for none: the rest of a query has no page."""
    if target == "endpoint":
        route = row["endpoint"] if "endpoint" in row else row["name"]
        return address("endpoint", route=str(route), method=str(row["method"]), **range_)
    id_ = row.get("query_id") or row.get("id")
    if target == "query" and not row.get("sql"):
        return ""
    return address(target, id=str(id_), **range_)


@register.simple_tag
def heat_cells(heat: HeatMap) -> SafeString:
    """Return the cells of a heat map, of which there are hundreds too; their texts go through escape() as well."""
    box = f'width="{heat.cell_width:.1f}" height="{heat.band_height}"'
    return SafeString(
        "".join(
            f'<rect x="{cell.x:.1f}" y="{cell.y}" {box} fill-opacity="{cell.shade:.2f}">'
            f"<title>{escape(cell.text)}</title></rect>"
            for cell in heat.cells
        )
    )


@register.simple_tag
def page_address(name: str, range_: Mapping[str, str], **params: str) -> str:
    """Return the address of a page of ours."""
    return address(name, **params, **range_)


@register.simple_tag
def note_link(note: Note, range_: Mapping[str, str]) -> str:
    """Return the address that a note leads to, "" for none."""
    return address(note.page, **note.params, **range_) if note.page else ""


@register.simple_tag(takes_context=True)
def with_query(context: dict[str, Any], **changes: object) -> str:
    """Return the query string of this page with some parameters changed, and those that are "" left out."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value == "":
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"?{query.urlencode()}"


@register.simple_tag(takes_context=True)
def hidden_query(context: dict[str, Any], *without: str) -> SafeString:
    """Return the parameters of this page's address as hidden fields of a form, less those that the form has itself."""
    given = [(name, clean(value, 2_000)) for name, value in context["request"].GET.items() if name not in without]
    return format_html_join("", '<input type="hidden" name="{}" value="{}">', given)


@register.filter
def clock(moment: datetime | str | float | None) -> SafeString:
    """Return a time (aware, ISO, or seconds since 1970) in UTC; the script writes it in the viewer's zone."""
    if moment is None:
        return SafeString("–")
    aware = _aware(moment)
    return format_html('<time datetime="{}">{} UTC</time>', aware.isoformat(), f"{aware:%Y-%m-%d %H:%M}")


@register.filter
def iso(moment: datetime | str | float) -> str:
    """Return a time as an address has it, to the minute."""
    return f"{_aware(moment):%Y-%m-%dT%H:%M}"


def _aware(moment: datetime | str | float) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)


@register.filter
def comparison(name: str) -> str:
    """Return what a range is compared with in words."""
    return pgettext("django_perf", _COMPARISONS[name])


@register.filter
def mark_lines(chart: Chart, marks: Sequence[tuple[float, str]]) -> list[str]:
    """Return where the marks stand in a chart."""
    return [f"{x:.1f}" for at, _ in marks if (x := chart.at(at)) is not None]
