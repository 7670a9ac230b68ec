"""The documentation and the Grafana dashboard name what an exposition has, and all of it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from django_perf.exporters.families import HOST
from tests.exporters.data import PARSERS, scrape

pytestmark = pytest.mark.django_db(databases=["default", "sqlite"])

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `(django_perf_\w+)` \| (\w+) \|([^|]*)\|([^|]*)\|", re.MULTILINE)
# Functions and words of PromQL; everything else in an expression is a metric or a label.
WORDS = {"sum", "by", "rate", "histogram_quantile"}


@pytest.fixture
def metrics(filled):
    """Every family of a full exposition: name -> (type, unit, labels), and sample name -> labels."""
    ((_, parse),) = list(PARSERS.items())[:1]
    families, samples = {}, {}
    for family in parse(io.StringIO(scrape())):
        labels = {label for sample in family.samples for label in sample.labels}
        name = family.name + ("_total" if family.type == "counter" else "")
        families[name] = family.type, family.unit, labels - {"le"}
        samples |= {sample.name: set(sample.labels) for sample in family.samples}
    return families, samples


def test_every_exported_metric_is_documented_with_its_type_its_unit_and_its_labels(metrics):
    text = (DOCS / "exports.md").read_text()
    documented = {
        name: (type_, unit.strip(), set(re.findall(r"`(\w+)`", labels)))
        for name, type_, unit, labels in ROW.findall(text)
    }
    assert documented == metrics[0]


def expressions():
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return found + [one["query"]["query"] for one in dashboard["templating"]["list"] if isinstance(one["query"], dict)]


def test_the_dashboard_asks_for_nothing_that_is_not_exported(metrics):
    _, samples = metrics
    for expression in expressions():
        bare = re.sub(r'"[^"]*"|\[\$\w+\]|\b[\d.]+\b', "", expression.removeprefix("label_values"))
        words = set(re.findall(r"[a-z_]\w*", bare)) - WORDS
        names = {word for word in words if word.startswith("django_perf_")}
        assert names
        assert names <= set(samples), expression
        assert words - names <= set.union(*[samples[name] for name in names]), expression


def test_legends_name_labels_that_are_left(metrics):
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            assert wanted <= (kept or {HOST}), panel["title"]


def test_the_dashboard_covers_requests_database_pool_cache_and_processes():
    text = " ".join(expressions())
    for part in ("request", "database", "pool", "cache", "process", "exceptions", "losses"):
        assert f"django_perf_{part}" in text


def test_panels_have_places_and_numbers_of_their_own():
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
