"""Every rule stands in the documentation, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_perf.advisor import rules
from django_perf.advisor.advice import SEVERITIES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "advice.md").read_text()
ROWS = re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", TEXT, re.MULTILINE)
SOURCES = [path.read_text() for path in Path(rules.__file__).parent.glob("*.py")]


def test_every_rule_has_a_row_and_no_other():
    names = [name for name, _ in ROWS]
    assert sorted(names) == sorted(rules.NAMES)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[name for name, _ in ROWS])
def test_a_row_says_what_when_how_severe_and_when_it_is_wrong(name, row):
    cells = row.split(" | ")
    assert len(cells) == 4
    assert all(cells)
    assert any(severity in cells[2] for severity in SEVERITIES)


def test_no_rule_has_a_name_that_is_no_constant():
    """A name as a literal in the place where advice is made would be in no list."""
    made = "".join(re.findall(r"Advice\((?:[^()]|\([^()]*\))*\)", "\n".join(SOURCES)))
    assert not set(re.findall(r'"([a-z_]+)"', made)) & (set(rules.NAMES) - {"database", "compression"})


def test_the_index_leads_there():
    assert "(advice.md)" in (DOCS / "index.md").read_text()
