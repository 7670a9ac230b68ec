"""Read a query plan into a tree, and mark what is expensive in it; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...metrics.names import clean

# A step that takes this part of the cost of all is what to look at, unless all of it is next to nothing.
_EXPENSIVE = 0.25
_CHEAP = 100.0
# A view or a policy may hold any text, and a condition then has it.
_MOST_TEXT = 4_000


@dataclass(frozen=True, slots=True)
class Table:
    """Hold what the database knows of a table: rows (an estimate), and the columns of each index, first to last.

    `model` is the Django model that it belongs to, with the field of each column; "" and {} where there is none.
    """

    name: str
    rows: float = 0.0
    indexes: Sequence[tuple[str, ...]] = ()
    model: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Node:
    """Hold one step: what it does, to which table, how many rows it is expected to give, and what it costs.

    `cost` includes that of the steps below, in the planner's units; None where a database gives no figures.
    `actual_rows`, `actual_ms` and `disk_kb` are there only where the statement was executed.
    """

    kind: str
    table: str = ""
    index: str = ""
    filter: str = ""
    condition: str = ""
    sort: tuple[str, ...] = ()
    rows: float | None = None
    width: int = 0
    cost: float | None = None
    actual_rows: float | None = None
    actual_ms: float | None = None
    disk_kb: int = 0
    children: list[Node] = field(default_factory=list)
    share: float = 0.0

    @property
    def is_expensive(self) -> bool:
        """Tell whether much of the cost of the whole is this step's own."""
        return self.share >= _EXPENSIVE and self.own_cost >= _CHEAP

    @property
    def own_cost(self) -> float:
        """Return its cost without that of the steps below, in the planner's units."""
        return max(0.0, (self.cost or 0.0) - sum(child.cost or 0.0 for child in self.children))

    def walk(self) -> Iterator[Node]:
        """Yield this step and those below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def describe(self) -> str:
        """Return the step in a line: "Index Scan on products using products_newest"."""
        on = f" on {self.table}" if self.table else ""
        using = f" using {self.index}" if self.index else ""
        return f"{self.kind}{on}{using}"

    def details(self) -> list[str]:
        """Return what it looks for, by which order, and what it is expected to give."""
        parts = [f"filter: {self.filter}" if self.filter else "", f"by: {self.condition}" if self.condition else ""]
        parts.append(f"order: {', '.join(self.sort)}" if self.sort else "")
        if self.rows is not None:
            parts.append(f"rows expected: {self.rows:,.0f}")
        if self.actual_rows is not None:
            parts.append(f"rows that came: {self.actual_rows:,.0f}")
        if self.cost is not None:
            parts.append(f"cost {self.cost:,.0f}, {self.share:.0%} of it here")
        return [part for part in parts if part]


@dataclass(slots=True)
class Plan:
    """Hold the plan of a statement, and the tables that it reads, by name.

    `is_executed` says that there are actual figures; `parameters` how many values were left open, as NULL.
    """

    root: Node
    tables: dict[str, Table]
    vendor: str
    parameters: int = 0
    is_executed: bool = False
    work_mem_kb: int = 0


def from_postgresql(document: Mapping[str, Any], schema: str = "public") -> Node:
    """Read what EXPLAIN (VERBOSE, FORMAT JSON) says, and give each step its share of the cost.

    Tables outside of `schema` are named with theirs.
    """
    root = _node(document["Plan"], schema)
    # A LIMIT costs less than what it stops: the dearest step stands for all.
    whole = max((node.cost or 0.0 for node in root.walk()), default=0.0) or 1.0
    for node in root.walk():
        node.share = node.own_cost / whole
    return root


def _node(step: Mapping[str, Any], schema: str) -> Node:
    loops = step.get("Actual Loops", 1) or 1
    actual = step.get("Actual Rows")
    return Node(
        kind=_text(step, "Node Type"),
        table=_table(step, schema),
        index=_text(step, "Index Name"),
        filter=_text(step, "Filter"),
        condition=_text(step, "Index Cond") or _text(step, "Hash Cond") or _text(step, "Merge Cond"),
        sort=tuple(clean(str(key), _MOST_TEXT) for key in step.get("Sort Key", ())),
        rows=float(step.get("Plan Rows", 0)),
        width=int(step.get("Plan Width", 0)),
        cost=float(step.get("Total Cost", 0.0)),
        actual_rows=None if actual is None else float(actual) * loops,
        actual_ms=step.get("Actual Total Time"),
        disk_kb=int(step.get("Sort Space Used", 0)) if step.get("Sort Space Type") == "Disk" else 0,
        children=[_node(child, schema) for child in step.get("Plans", ())],
    )


def _table(step: Mapping[str, Any], schema: str) -> str:
    name, own = _text(step, "Relation Name"), _text(step, "Schema") or schema
    return name if own == schema or not name else f"{own}.{name}"


def _text(step: Mapping[str, Any], name: str) -> str:
    return clean(str(step.get(name) or ""), _MOST_TEXT)


def from_sqlite(rows: Sequence[tuple[int, int, str]]) -> Node:
    """Read what EXPLAIN QUERY PLAN says: (id, id of the parent, text) of each step."""
    root = Node("Query")
    nodes = {0: root}
    for id_, parent, text in rows:
        node = nodes[id_] = _sqlite_node(text)
        nodes.get(parent, root).children.append(node)
    return root.children[0] if len(root.children) == 1 else root


def _sqlite_node(text: str) -> Node:
    text = clean(text, _MOST_TEXT)
    words = text.split()
    if words[:1] in (["SCAN"], ["SEARCH"]) and len(words) > 1:
        _, _, index = text.partition("INDEX ")
        condition = text[text.index("(") + 1 : text.rindex(")")] if "(" in text and ")" in text else ""
        index = index.split()[0] if index else ""
        return Node(words[0].title(), table=words[1], index=index, condition=condition)
    return Node(text)
