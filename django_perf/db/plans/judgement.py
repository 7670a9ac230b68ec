"""Say in words what is wrong with a plan; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .indexes import Index, missing
from .plan import Node, Plan

# Below this, reading a table whole is as good as anything.
_MANY_ROWS = 1_000
# A scan that keeps more than this part of the rows would not use an index.
_FEW = 0.2
_TIMES_WRONG = 10
_LOOPS = 1_000
_SCANS = ("Seq Scan", "Parallel Seq Scan", "Scan")


@dataclass(frozen=True, slots=True)
class Remark:
    """Hold one thing that is wrong with a plan; `index` is what would mend it, where an index would."""

    text: str
    index: Index | None = None


def judge(plan: Plan) -> list[Remark]:
    """Return what is wrong, in the order of the tree."""
    found: list[Remark] = []
    for node, above in _with_parents(plan.root, ()):
        found += [*_scan(plan, node, above), *_estimate(node), *_sort(plan, node), *_loop(node)]
    return found


def _with_parents(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    yield node, above
    for child in node.children:
        yield from _with_parents(child, (*above, node))


def _scan(plan: Plan, node: Node, above: tuple[Node, ...]) -> Iterator[Remark]:
    table = plan.tables.get(node.table)
    if node.kind not in _SCANS or node.index or table is None or table.rows < _MANY_ROWS:
        return
    sort = _order_of_first_rows(above)
    keeps = "" if node.rows is None else f" to keep {node.rows:,.0f}"
    if node.filter and (node.rows is None or node.rows <= _FEW * table.rows):
        text = f"Sequential scan: reads all {table.rows:,.0f} rows of {table.name}{keeps} (filter: {node.filter})"
        yield Remark(text, missing(table, node.filter, sort))
    elif sort:
        text = f"Sequential scan: reads and sorts all {table.rows:,.0f} rows of {table.name} to return the first few"
        yield Remark(text, None if node.filter else missing(table, "", sort))
    elif plan.vendor == "sqlite":
        yield Remark(f"Scan: reads all of some {table.rows:,.0f} rows of {table.name}; no index is used")


def _order_of_first_rows(above: tuple[Node, ...]) -> tuple[str, ...]:
    """Return the sort key under a LIMIT, when only parallel workers stand between it and the scan."""
    steps = [node for node in above if not node.kind.startswith("Gather")]
    if len(steps) >= 2 and steps[-1].kind == "Sort" and steps[-2].kind == "Limit":
        return steps[-1].sort
    return ()


def _estimate(node: Node) -> Iterator[Remark]:
    if node.rows is None or node.actual_rows is None:
        return
    low, high = sorted((max(node.rows, 1.0), max(node.actual_rows, 1.0)))
    if high >= _TIMES_WRONG * low and high >= _MANY_ROWS:
        text = f"Wrong estimate: {node.rows:,.0f} rows were expected of {node.describe()}, {node.actual_rows:,.0f} came"
        yield Remark(f"{text}; run ANALYZE, or raise the statistics target of its columns")


def _sort(plan: Plan, node: Node) -> Iterator[Remark]:
    if node.disk_kb:
        yield Remark(f"Sort on disk: {node.disk_kb:,} kB did not fit into work_mem ({plan.work_mem_kb:,} kB)")
    elif node.kind == "Sort" and not plan.is_executed and plan.work_mem_kb and node.rows is not None:
        needed_kb = node.rows * node.width / 1024
        if needed_kb > plan.work_mem_kb:
            text = f"Sort on disk: some {needed_kb:,.0f} kB will not fit into work_mem ({plan.work_mem_kb:,} kB)"
            yield Remark(f"{text}; sort fewer rows, fewer columns, or by an index")


def _loop(node: Node) -> Iterator[Remark]:
    if node.kind != "Nested Loop" or len(node.children) != 2:
        return
    outer, inner = node.children
    count = outer.actual_rows if outer.actual_rows is not None else outer.rows
    if count is not None and count >= _LOOPS and node.is_expensive:
        yield Remark(f"Nested loop: {inner.describe()} runs {count:,.0f} times, once for each row of the outer side")
