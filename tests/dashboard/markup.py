"""Read the HTML of a page the way a browser does: elements with their attributes, and tables as rows of texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit


@dataclass
class Element:
    """A start tag with the text up to the next one; `own` ends where any element begins or ends."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""
    own: str = ""
    is_over: bool = False


@dataclass
class Markup(HTMLParser):
    """Hold the elements of a page in order, and its tables by name."""

    source: str
    elements: list[Element] = field(default_factory=list)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    _table: list[list[str]] | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self._end_last()
        self.elements.append(Element(tag, attributes))
        name = attributes.get("id") or ""
        if tag == "h2" and name.startswith("table-"):
            self._table = self.tables[name.removeprefix("table-")] = []
        elif self._table is not None and tag == "tr":
            self._table.append([])
        elif self._table is not None and tag in {"td", "th"}:
            self._table[-1].append("")

    def _end_last(self):
        if self.elements:
            self.elements[-1].is_over = True

    def handle_endtag(self, tag):
        self._end_last()
        if tag in {"section", "table"}:
            self._table = None

    def handle_data(self, data):
        if self.elements:
            self.elements[-1].text += data
            self.elements[-1].own += "" if self.elements[-1].is_over else data
        if self._table and self._table[-1]:
            self._table[-1][-1] += data.strip()

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return what a text must not change: the elements and the names of their attributes."""
        return [(element.tag, tuple(element.attributes)) for element in self.elements]

    def headers(self) -> set[str]:
        """Return the names of all columns of all tables."""
        return {text for rows in self.tables.values() for text in (rows[0] if rows else ())}

    def links(self) -> list[str]:
        """Return the targets of all links."""
        return [element.attributes["href"] for element in self.elements if "href" in element.attributes]

    def text_of(self, class_: str) -> list[str]:
        """Return the texts of the elements with a class."""
        found = [one for one in self.elements if class_ in (one.attributes.get("class") or "").split()]
        return [re.sub(r"[ \n]+", " ", element.text).strip(" ") for element in found]

    def named(self, tag: str) -> list[str]:
        """Return the texts of the elements with a name, less the white space at their ends."""
        return [element.own.strip() for element in self.elements if element.tag == tag]

    def notes(self) -> list[tuple[str, str, str | None]]:
        """Return how severe each note is, what it says, and where it leads."""
        tones = [one.attributes["class"].split()[-1] for one in self.elements if "perf-note " in str(one.attributes)]
        found = [one for one in self.elements if one.attributes.get("class") == "perf-evidence"]
        return [(tone, one.own, one.attributes.get("href")) for tone, one in zip(tones, found, strict=True)]


def asked(link: str) -> dict[str, str]:
    """Return the parameters of a link."""
    return {name: values for name, (values,) in parse_qs(urlsplit(link).query, keep_blank_values=True).items()}
