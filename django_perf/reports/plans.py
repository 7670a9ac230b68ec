"""Find a recorded statement by its id, have it explained, and print that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from ..db.plans.explain import explain
from ..db.plans.judgement import Remark, judge
from ..db.plans.plan import Node, Plan
from ..exceptions import NotRecorded
from ..metrics.catalog import QUERY
from ..store.alias import store_alias
from ..store.reader import Snapshot, consistent
from .terminal import console_for

_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Explained:
    """Hold a statement with its plan and what is wrong with that."""

    alias: str
    sql: str
    plan: Plan
    remarks: Sequence[Remark]

    def notes(self) -> list[str]:
        """Return what has to be known to read the plan."""
        found = []
        if self.plan.is_executed and self.plan.parameters:
            found.append(gettext("It was executed with NULL for each parameter: what came says little."))
        elif self.plan.parameters:
            text = gettext("A generic plan: made without the values of its parameters, which nobody has kept.")
            found.append(text)
        return found


def find_statement(snapshot: Snapshot, id_: str) -> tuple[str, str]:
    """Return the alias and the shape of a recorded statement; raises NotRecorded when there is none of that id."""
    found = snapshot.find(QUERY, id_) if _ID.fullmatch(id_) else None
    if found is None:
        raise NotRecorded(gettext("no query of that id is recorded; `perfstats queries` lists them"))
    return found[0], found[1]


def explained(id_: str) -> Explained:
    """Have the database of a recorded statement explain it. Raises Unexplainable or NotRecorded."""
    alias, sql = consistent(store_alias(), lambda snapshot: find_statement(snapshot, id_))
    plan = explain(alias, sql)
    return Explained(alias, sql, plan, judge(plan))


def print_explained(found: Explained, out: Any) -> None:
    """Print the statement, its plan as a tree, and the remarks."""
    from rich.text import Text

    console = console_for(out)
    console.print(Text(f"{found.sql}\n", style="dim"))
    console.print(_tree(found.plan.root))
    for note in found.notes():
        console.print(Text(f"\n{note}", style="dim"))
    for remark in found.remarks:
        console.print(Text(f"\n{remark.text}", style="yellow"))
        if remark.index is not None:
            for line in (remark.index.sql(), remark.index.django()):
                console.print(Text(f"  {line}"), soft_wrap=True)
    if not found.remarks:
        console.print(Text("\nNothing stands out.", style="green"))


def _tree(node: Node) -> Any:
    from rich.text import Text
    from rich.tree import Tree

    def label(node: Node) -> Text:
        details = ", ".join(node.details())
        text = Text(node.describe(), style="bold yellow" if node.is_expensive else "")
        return text.append(f"  ({details})" if details else "", style="dim")

    def grow(tree: Any, node: Node) -> None:
        for child in node.children:
            grow(tree.add(label(child)), child)

    tree = Tree(label(node))
    grow(tree, node)
    return tree
