"""The page as a request of OTLP, the OpenTelemetry protocol, and what is answered to it. Pure.

The schema is opentelemetry-proto's, in its binary encoding, which every receiver must understand.
The OpenTelemetry SDK is not used: it keeps values of its own in instruments that are written to,
where here all values come from the latest snapshot, as for a scrape; and it would bring three more
libraries and a thread for what is one message and one POST.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1 import metrics_pb2

SCOPE = "smaxd"
MAX_COMPLAINT = 200
"""Characters of a receiver's complaint that are shown."""


def encode_request(
    families: Iterable[Metric], resource: Mapping[str, str], version: str, now: float
) -> bytes:
    """An ExportMetricsServiceRequest with the values of ``now`` (Unix seconds). ImportError where
    the extra ``otlp`` is not installed.

    Gauges are gauges, counters cumulative monotonic sums, summaries summaries; names and labels
    are those of /metrics. A sum's start is left out, "unknown": some totals are older than the
    process.
    """
    from opentelemetry.proto.collector.metrics.v1 import (  # noqa: PLC0415 - the extra's
        metrics_service_pb2,
    )
    from opentelemetry.proto.metrics.v1 import metrics_pb2  # noqa: PLC0415 - the extra's

    request = metrics_service_pb2.ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    _add(of_resource.resource.attributes, resource)
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name, of_scope.scope.version = SCOPE, version
    nanoseconds = int(now * 1e9)
    for family in families:
        if family.type == "summary" and family.samples:
            _add_summary(of_scope.metrics.add(), family, nanoseconds)
            continue
        samples = _samples(family)
        if not samples:
            continue
        metric = of_scope.metrics.add(name=samples[0].name, description=family.documentation)
        if family.type == "counter":
            metric.sum.is_monotonic = True
            metric.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
            points = metric.sum.data_points
        else:
            points = metric.gauge.data_points
        for sample in samples:
            point = points.add(time_unix_nano=nanoseconds, as_double=sample.value)
            _add(point.attributes, sample.labels)
    encoded: bytes = request.SerializeToString()
    return encoded


def partial_success(body: bytes) -> tuple[int, str]:
    """How many points the receiver did not take of a push that it accepted, and what it says about
    that, out of an ExportMetricsServiceResponse. Nothing where the answer is something else: some
    receivers answer with a word."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - the extra's
    from opentelemetry.proto.collector.metrics.v1 import (  # noqa: PLC0415 - the extra's
        metrics_service_pb2,
    )

    response = metrics_service_pb2.ExportMetricsServiceResponse()
    try:
        response.ParseFromString(body)
    except DecodeError:
        return 0, ""
    told = response.partial_success
    shown = "".join(one if one.isprintable() else " " for one in told.error_message)
    return max(0, told.rejected_data_points), " ".join(shown.split())[:MAX_COMPLAINT]


def _add_summary(metric: "metrics_pb2.Metric", family: Metric, nanoseconds: int) -> None:
    """Counts and sums by their labels; the page has no quantiles."""
    metric.name, metric.description = family.name, family.documentation
    by_labels: dict[tuple[tuple[str, str], ...], dict[str, float]] = {}
    for sample in family.samples:
        key = tuple(sorted(sample.labels.items()))
        by_labels.setdefault(key, {})[sample.name.removeprefix(family.name)] = sample.value
    for labels, values in by_labels.items():
        point = metric.summary.data_points.add(time_unix_nano=nanoseconds)
        point.count, point.sum = int(values.get("_count", 0.0)), values.get("_sum", 0.0)
        _add(point.attributes, dict(labels))


def _samples(family: Metric) -> list[Sample]:
    """The family's values, without what only belongs to the text format."""
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return [sample for sample in family.samples if sample.name == family.name + suffix]


def _add(attributes: "Any", values: Mapping[str, str]) -> None:  # noqa: ANN401 - protobuf's container
    for key, value in values.items():
        attribute: KeyValue = attributes.add(key=key)
        attribute.value.string_value = value
