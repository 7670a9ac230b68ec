"""Nothing that users can meet is undocumented: kinds, commands, and each page is in the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_perf.metrics.catalog import KINDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def rows(page):
    """Return the rows of the first table of a page, less its head, as lists of cells."""
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_every_kind_is_documented_as_it_is():
    documented = {
        name.strip("`"): (unit, re.findall(r"`(\w+)`", labels), re.findall(r"`(\w+)`", counters), total)
        for name, _, unit, labels, counters, _, total in rows("kinds.md")
    }
    expected = {
        kind.name: (kind.unit or "count", [*kind.labels], [*kind.counters], "yes" if kind.is_total else "no")
        for kind in KINDS.values()
    }
    assert documented == expected


def test_every_command_is_documented_and_no_other():
    commands = {path.stem for path in (ROOT / "django_perf" / "management" / "commands").glob("perf*.py")}
    assert {cells[0].strip("`").split()[0] for cells in rows("commands.md")} == commands


def test_every_page_is_in_the_site_and_in_its_index():
    pages = {path.name for path in DOCS.glob("*.md")}
    navigation = set(re.findall(r"\b([\w-]+\.md)\b", (ROOT / "mkdocs.yml").read_text()))
    assert navigation == pages
    assert set(re.findall(r"\(([\w-]+\.md)\)", (DOCS / "index.md").read_text())) == pages - {"index.md"}


def anchors(page):
    """Return what a page's headings can be linked by."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", [*sorted(DOCS.glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name)
def test_every_link_to_another_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target
