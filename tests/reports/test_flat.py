"""Markdown and CSV: no cell ends its table, becomes markup, or runs."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from django_perf.reports.flat import write_csv, write_markdown
from django_perf.reports.report import Table

HOSTILE = [
    "a|b",
    "a\\|b",
    "a\nb\n\n# c",
    "a\r\nb",
    "<script>alert(1)</script>",
    "<int:pk>",
    "[a](javascript:alert(1))",
    "![a](http://x/y.png)",
    "**a** _b_ ~~c~~ `d`",
    "`|`",
    "&lt;b&gt;",
    "https://example.com/",
    "www.example.com",
    "#1",
    "$a$",
    "---",
    "| --- |",
    "\\",
    "",
    " ",
]


def table(*names, before=None):
    columns = [{"name": "name", "label": "Name", "unit": "text"}, {"name": "ms", "label": "Time", "unit": "ms"}]
    columns.append({"name": "hidden", "label": "Hidden", "unit": "text"})
    rows = [{"name": name, "ms": 1.5, "hidden": "x"} for name in names]
    return Table("blocks", "Blocks", columns, {"hidden"}, rows, {}, len(rows), before=before)


def markdown(*names, **more):
    out = io.StringIO()
    write_markdown(table(*names, **more), out)
    return out.getvalue()


def tokens_of(text):
    return MarkdownIt("gfm-like", {"linkify": False}).enable("table").parse(text)


def test_markdown_is_a_heading_and_a_table_without_details():
    assert markdown("shop").splitlines() == [
        "### Blocks",
        "",
        "| Name | Time |",
        "| --- | --: |",
        "| shop | 1.50\u00a0ms |",
    ]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_cell_ends_the_table_or_becomes_markup(name):
    tokens = tokens_of(markdown("first", name, "last"))
    assert [token.type for token in tokens].count("tr_open") == 4
    assert [token.type for token in tokens if token.level == 0][-1] == "table_close"
    assert [token.type for token in tokens].count("td_open") == 3 * 2
    texts = [child.type for token in tokens if token.type == "inline" for child in token.children]
    assert set(texts) <= {"text", "text_special"}
    cell = [token for token in tokens if token.type == "inline"][5]
    assert "".join(child.content for child in cell.children).split() == name.split()


@given(st.text(max_size=60))
def test_any_text_stays_in_its_cell(name):
    tokens = tokens_of(markdown(name))
    kinds = [token.type for token in tokens]
    assert (kinds.count("tr_open"), kinds.count("td_open"), kinds[-1]) == (2, 2, "table_close")
    assert {child.type for token in tokens if token.type == "inline" for child in token.children} <= {
        "text",
        "text_special",
    }


def test_a_change_stands_behind_its_number():
    text = markdown("shop", "new", before=[{"name": "shop", "ms": 1.0, "hidden": "x"}, None])
    assert "| shop | 1.50\u00a0ms (+50 %) |" in text
    assert "| new | 1.50\u00a0ms |" in text


def test_csv_has_what_was_before_in_columns_of_its_own():
    out = io.StringIO()
    write_csv(table("shop", "new", before=[{"name": "shop", "ms": 1.0, "hidden": "x"}, None]), out)
    rows = list(csv.DictReader(out.getvalue().splitlines()))
    assert [(row["name"], row["ms"], row["ms_before"]) for row in rows] == [("shop", "1.5", "1.0"), ("new", "1.5", "")]
