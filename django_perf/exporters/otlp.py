"""Hand families to an OpenTelemetry collector over OTLP/HTTP; the extra `otlp` is imported on first use."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .. import __version__
from .families import Distribution, Family, Labels, Value

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import DataPointT, DataT, Metric, MetricsData

_UNITS = {"seconds": "s", "bytes": "By", "": "1", "ratio": "1"}
# "Unknown", says the protocol: totals are older than any process, and than what any retention remembers.
_START_NS = 0


def is_installed() -> bool:
    """Tell whether the packages of the extra are there."""
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:  # of a parent
        return False


class Pusher:
    """Push to one address: the whole one, as http://collector:4318/v1/metrics.

    Headers, certificates and the time limit come from OTEL_EXPORTER_OTLP_*, the resource from OTEL_RESOURCE_ATTRIBUTES
    and OTEL_SERVICE_NAME.
    """

    def __init__(self, url: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        self._exporter = OTLPMetricExporter(endpoint=url)

    def push(self, families: Iterable[Family]) -> bool:
        """Push once; False where that failed, after retries, of which the exporter's logger tells."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        return self._exporter.export(metrics_data(families, time.time_ns())) is MetricExportResult.SUCCESS

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()


def metrics_data(families: Iterable[Family], now_ns: int) -> MetricsData:
    """Return families as the SDK hands them to an exporter: cumulative, since an unknown beginning."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = [_metric(family, now_ns) for family in families if family.points]
    scope = ScopeMetrics(InstrumentationScope("django_perf", __version__), metrics, schema_url="")
    return MetricsData([ResourceMetrics(Resource.create(), [scope], schema_url="")])


def _metric(family: Family, now_ns: int) -> Metric:
    from opentelemetry.sdk.metrics.export import Metric

    points = [_point(family, labels, value, now_ns) for labels, value in family.points.items()]
    return Metric(family.name, family.help, _UNITS[family.unit], _data(family.type, points))


def _data(type_: str, points: Sequence[DataPointT]) -> DataT:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Sum

    if type_ == "gauge":
        return Gauge(points)  # type: ignore[arg-type]
    cumulative = AggregationTemporality.CUMULATIVE
    if type_ == "histogram":
        return Histogram(points, cumulative)  # type: ignore[arg-type]
    return Sum(points, cumulative, is_monotonic=True)  # type: ignore[arg-type]


def _point(family: Family, labels: Labels, value: Value, now_ns: int) -> DataPointT:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

    attributes = dict(zip(family.labels, labels, strict=True))
    if not isinstance(value, Distribution):
        return NumberDataPoint(attributes, _START_NS, now_ns, value)
    return HistogramDataPoint(
        attributes,
        _START_NS,
        now_ns,
        count=value.count,
        sum=value.sum,
        bucket_counts=[high - low for low, high in pairwise((0, *value.below, value.count))],
        explicit_bounds=family.bounds,
        # Of all time they would say nothing, and both are optional in the protocol.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )
