"""Judge what was measured: each rule is one function over the rows of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...reports.window import Window
from ...store.reader import Snapshot
from ..advice import Advice
from . import sql

Rule = Callable[[Snapshot, Window], Iterator[Advice]]

# What the store knows, and what the databases have to be asked.
STORED: tuple[Rule, ...] = (
    sql.n_plus_one,
    sql.unbounded_result,
    sql.open_transaction,
    sql.duplicate_query,
    sql.slow_query,
    sql.chatty_endpoint,
)
LIVE: tuple[Rule, ...] = (sql.database,)
