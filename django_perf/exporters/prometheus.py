"""Write families in the two formats that Prometheus reads; needs prometheus_client, which is imported on first use."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .families import Distribution, Family, Labels

if TYPE_CHECKING:
    from prometheus_client import Metric

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
_ACCEPT_LIMIT = 1_000


def is_installed() -> bool:
    """Tell whether prometheus_client is there."""
    return importlib.util.find_spec("prometheus_client") is not None


def negotiated(accept: str) -> str:
    """Return the content type for an Accept header: OpenMetrics where it is named, as prometheus_client decides.

    Nothing else is taken from the header, neither a version nor an escaping: what is kept for others stays two texts.
    """
    types = (part.partition(";")[0].strip().lower() for part in accept[:_ACCEPT_LIMIT].split(","))
    return OPENMETRICS if OPENMETRICS.partition(";")[0] in types else TEXT


def exposition(families: Iterable[Family], content_type: str) -> bytes:
    """Return the families as text of a content type."""
    from prometheus_client import exposition as text
    from prometheus_client.openmetrics import exposition as openmetrics

    metrics = _Metrics([_metric(family) for family in families])
    if content_type == OPENMETRICS:
        return bytes(openmetrics.generate_latest(metrics))  # type: ignore[no-untyped-call]
    return text.generate_latest(metrics)


class _Metrics:
    """Look like a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._metrics


def _metric(family: Family) -> Metric:
    from prometheus_client import Metric

    metric = Metric(family.name, family.help, family.type, family.unit)
    suffix = "_total" if family.type == "counter" else ""
    bounds = _texts(family.bounds)
    for labels, value in family.points.items():
        named = dict(zip(family.labels, labels, strict=True))
        if isinstance(value, Distribution):
            _add_histogram(metric, named, value, bounds)
        else:
            metric.add_sample(family.name + suffix, named, value)
    return metric


def _texts(bounds: Iterable[float]) -> Labels:
    from prometheus_client.utils import floatToGoString

    return tuple(map(floatToGoString, bounds))


def _add_histogram(metric: Metric, labels: dict[str, str], value: Distribution, bounds: Labels) -> None:
    for bound, below in zip((*bounds, "+Inf"), (*value.below, value.count), strict=True):
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, below)
    metric.add_sample(f"{metric.name}_count", labels, value.count)
    metric.add_sample(f"{metric.name}_sum", labels, value.sum)
