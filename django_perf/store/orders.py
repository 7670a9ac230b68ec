"""Tell every process of the cluster to do something: each looks for orders when it flushes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ..metrics.recorder import recorder
from .models import Order

# For how long an order is kept: longer than any pause between two flushes.
KEEP_S = 3_600.0


def give(alias: str, what: str, target: str) -> Order:
    """Give an order to all processes; the slowest follows it with its next flush."""
    return Order.objects.using(alias).create(at=time.time(), what=what, target=target)


class Follower:
    """Follow the orders that are given while this process lives; used by the flusher's thread.

    `handlers` are called with the target, by the name of the order. One that fails is counted and not tried again.
    A forked child follows what its parent had not yet.
    """

    def __init__(self, handlers: Mapping[str, Callable[[str], None]]) -> None:
        self._handlers = handlers
        self._last: int | None = None

    def __call__(self, alias: str) -> None:
        """Do what has been ordered since the last call; at the first one nothing, for all before is done."""
        rows = Order.objects.using(alias).order_by("id")
        if self._last is None:
            self._last = rows.values_list("id", flat=True).last() or 0
            return
        for order in rows.filter(id__gt=self._last):
            self._last = order.pk
            self._follow(order)

    def _follow(self, order: Order) -> None:
        handler = self._handlers.get(order.what)
        if handler is None:
            return  # of a newer version
        try:
            handler(order.target)
        except Exception as error:
            recorder.lost("error", f"order {order.what}: {type(error).__name__}")
