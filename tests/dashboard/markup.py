"""Read the HTML of a page the way a browser does: elements with their attributes, and tables as rows of texts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Element:
    """A start tag with the text up to the next one."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


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
        self.elements.append(Element(tag, attributes))
        name = attributes.get("id") or ""
        if tag == "h2" and name.startswith("table-"):
            self._table = self.tables[name.removeprefix("table-")] = []
        elif self._table is not None and tag == "tr":
            self._table.append([])
        elif self._table is not None and tag in {"td", "th"}:
            self._table[-1].append("")

    def handle_endtag(self, tag):
        if tag == "section":
            self._table = None

    def handle_data(self, data):
        if self.elements:
            self.elements[-1].text += data
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
