"""The push to an OpenTelemetry receiver, decoded by a real one's message types."""

import gzip
import math
import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    SummaryMetricFamily,
)

from agent.config import OtlpSettings
from agent.delivery.settings import TlsSettings
from agent.exports import Arrived, ExportFailed
from agent.loop import Published
from agent.otlp import OtlpExporter
from agent.otlp_receiver import (
    HeadersUnusable,
    otlp_problems,
    read_headers,
    unchecked_otlp_files,
)
from agent.otlp_request import MAX_COMPLAINT, encode_request
from tests.unit import snapshots
from tests.unit.certificates import authority, needs_openssl


class Receiver:
    """Takes what is posted, and answers what it is told to."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.headers, self.body = 200, dict[str, str](), b""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append((self.path, dict(self.headers), body))
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(receiver.body)))
                self.end_headers()
                self.wfile.write(receiver.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


def exporter_to(
    url: str,
    headers_file: Path | None = None,
    tls: TlsSettings | None = None,
    published: Published | None = None,
) -> OtlpExporter:
    headers = None if headers_file is None else str(headers_file)
    return OtlpExporter(
        OtlpSettings(url, headers_file=headers, tls=tls or TlsSettings()),
        published or snapshots.published(),
        snapshots.FixedClock(),
        "0.0.0.0:10390",
        {},
    )


def decoded(body: bytes) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    request.ParseFromString(body)
    return request


def test_the_whole_page_arrives(receiver: Receiver) -> None:
    """Every series of the page with its value, as the receiver's own types read it."""
    assert exporter_to(receiver.url).export()
    ((path, headers, body),) = receiver.posts
    (of_resource,) = decoded(gzip.decompress(body)).resource_metrics
    attributes = {one.key: one.value.string_value for one in of_resource.resource.attributes}
    (of_scope,) = of_resource.scope_metrics
    metrics = {metric.name: metric for metric in of_scope.metrics}

    assert path == "/v1/metrics"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert attributes["service.name"] == "smaxd"
    assert attributes["service.instance.id"] == f"{socket.gethostname()}:10390"
    on_the_page = {
        line.partition("{")[0].partition(" ")[0]
        for line in snapshots.page().splitlines()
        if line.startswith("smax")
    }
    parts = {f"{name}_{part}" for name in metrics for part in ("count", "sum")}
    assert on_the_page <= metrics.keys() | parts
    points = metrics["smax_observed_puts_per_second"].gauge.data_points
    assert points
    assert {one.key for one in points[0].attributes} == {"db"}
    assert points[0].time_unix_nano == int(snapshots.FixedClock().wall() * 1e9)


def test_counters_are_cumulative_sums() -> None:
    """Under the name that /metrics has; without what only the text format has."""
    counter = CounterMetricFamily("smaxd_runs", "Runs.", labels=["device"], created=1.0)
    counter.add_metric(["vda"], 7.0, created=1.0)
    request = decoded(encode_request([counter], {}, "1", 2.5))
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics

    assert (metric.name, metric.description) == ("smaxd_runs_total", "Runs.")
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = metric.sum.data_points
    assert (point.as_double, point.time_unix_nano, point.start_time_unix_nano) == (
        7.0,
        2_500_000_000,
        0,
    )


def test_a_summary_has_its_count_and_sum() -> None:
    summary = SummaryMetricFamily("smaxd_latency_seconds", "Latency.", labels=["channel"])
    summary.add_metric(["a"], 3, 1.5)
    summary.add_metric(["b"], 0, 0.0)
    request = decoded(encode_request([summary], {}, "1", 1.0))
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics

    points = {one.attributes[0].value.string_value: one for one in metric.summary.data_points}
    assert metric.name == "smaxd_latency_seconds"
    assert {name: (one.count, one.sum) for name, one in points.items()} == {
        "a": (3, 1.5),
        "b": (0, 0.0),
    }


def test_infinite_and_missing_numbers_and_any_text_arrive() -> None:
    """A time to stall may be infinite, a path any bytes that are text."""
    gauge = GaugeMetricFamily("smax_x", "X.", labels=["db"])
    for name, value in (("a", math.inf), ("b", math.nan), ('ü"\n', -0.0)):
        gauge.add_metric([name], value)
    info = InfoMetricFamily("smaxd_build", "Version.", value={"version": "1"})
    empty = GaugeMetricFamily("smax_none", "None.")
    request = decoded(encode_request([gauge, info, empty], {"a": "b"}, "1", 0.0))
    x, build = request.resource_metrics[0].scope_metrics[0].metrics

    values = [point.as_double for point in x.gauge.data_points]
    assert values[0] == math.inf
    assert math.isnan(values[1])
    assert x.gauge.data_points[2].attributes[0].value.string_value == 'ü"\n'
    assert (build.name, build.gauge.data_points[0].as_double) == ("smaxd_build_info", 1.0)


def test_a_path_of_its_own_is_used_as_it_is(receiver: Receiver) -> None:
    exporter_to(f"{receiver.url}/api/v1/otlp/v1/metrics").export()
    assert receiver.posts[0][0] == "/api/v1/otlp/v1/metrics"


def test_headers_are_read_for_each_push(receiver: Receiver, tmp_path: Path) -> None:
    """A token that is renewed needs no restart."""
    file = tmp_path / "headers"
    exporter = exporter_to(receiver.url, file)
    for token in ("one", "two"):
        file.write_text(f"# from the vault\nAuthorization: Bearer {token}\n\nX-Tenant:db\n")
        exporter.export()

    seen = [headers["Authorization"] for _, headers, _ in receiver.posts]
    assert seen == ["Bearer one", "Bearer two"]
    assert receiver.posts[0][1]["X-Tenant"] == "db"


@pytest.mark.parametrize(
    "text",
    ["secret", "Bad Name: secret", "Content-Type: secret", "A: b\nX: secret\x01\n", "X: sécret"],
)
def test_a_line_that_is_no_header_is_told_by_its_number(tmp_path: Path, text: str) -> None:
    """Not by its content."""
    file = tmp_path / "headers"
    file.write_text(text)
    with pytest.raises(HeadersUnusable, match=r"line \d is no header") as caught:
        read_headers(str(file), {})
    assert "cret" not in str(caught.value)


def test_a_file_of_headers_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Nobody waits for a pipe."""
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("none", "No such file"), ("pipe", "not a regular file")):
        with pytest.raises(HeadersUnusable, match=f"{tmp_path}/{name} cannot be read: {why}"):
            read_headers(str(tmp_path / name), {})


def test_headers_that_cannot_be_read_fail_the_push(receiver: Receiver, tmp_path: Path) -> None:
    """Without its authorization it would be refused anyway."""
    with pytest.raises(ExportFailed, match=f"headers_file: {tmp_path}/none cannot be read"):
        exporter_to(receiver.url, tmp_path / "none").export()
    assert receiver.posts == []


def partial(rejected: int, complaint: str) -> bytes:
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = rejected
    response.partial_success.error_message = complaint
    answer: bytes = response.SerializeToString()
    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", Arrived()),
        (ExportMetricsServiceResponse().SerializeToString(), Arrived()),
        (partial(0, ""), Arrived()),
        (partial(2, "no label\n\x1b db"), Arrived(2, "no label db")),
        (partial(0, "deprecated"), Arrived(0, "deprecated")),
        (partial(-1, ""), Arrived()),
        (partial(1, "x" * 5000), Arrived(1, "x" * MAX_COMPLAINT)),
        (b"OK", Arrived()),
        (b"{}", Arrived()),
        (partial(1, "x" * 100_000), Arrived()),
    ],
)
def test_what_a_receiver_leaves_out_is_told(
    receiver: Receiver, answer: bytes, expected: Arrived
) -> None:
    """By those that answer as the protocol says; other answers of success are one, too."""
    receiver.body = answer
    assert exporter_to(receiver.url).export() == expected


@pytest.mark.parametrize(
    ("status", "headers", "asked"),
    [
        (503, {"Retry-After": "30"}, 30.0),
        (429, {}, 0.0),
        (400, {}, 0.0),
        (301, {"Location": "http://127.0.0.1:1/"}, 0.0),
    ],
)
def test_an_answer_that_is_no_success_is_a_failure(
    receiver: Receiver, status: int, headers: dict[str, str], asked: float
) -> None:
    """With what the receiver asks for; redirects are not followed."""
    receiver.status, receiver.headers = status, headers
    with pytest.raises(ExportFailed, match=f"answered {status} ") as caught:
        exporter_to(receiver.url).export()
    assert caught.value.asked_seconds == asked


def test_nobody_there_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ExportFailed, match=f"http://127.0.0.1:{port}: Connection refused"):
        exporter_to(f"http://127.0.0.1:{port}").export()


def test_a_receiver_that_repeats_the_authorization_does_not_bring_it_into_the_log(
    receiver: Receiver, tmp_path: Path
) -> None:
    """Gateways quote what they refuse."""
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer 0123456789abcdef\n")
    headers.chmod(0o600)
    receiver.status, receiver.body = 403, b"no such token: 0123456789abcdef"

    with pytest.raises(ExportFailed, match=r"no such token: \*\*\*") as failed:
        exporter_to(receiver.url, headers).export()

    assert "0123456789abcdef" not in str(failed.value)


def test_an_aborted_push_ends(receiver: Receiver) -> None:
    """A receiver that never answers does not delay the end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = exporter_to(f"http://127.0.0.1:{silent.getsockname()[1]}")
        failures: list[str] = []

        def push() -> None:
            try:
                exporter.export()
            except ExportFailed as error:
                failures.append(str(error))

        pushing = threading.Thread(target=push)
        pushing.start()
        accepted, _ = silent.accept()
        with accepted:
            accepted.recv(1)
            exporter.abort()
            pushing.join(9.0)
        assert not pushing.is_alive()
    assert len(failures) == 1
    assert receiver.posts == []


def test_before_the_first_tick_nothing_is_pushed(receiver: Receiver) -> None:
    assert not exporter_to(receiver.url, published=Published()).export()
    assert receiver.posts == []


def test_the_extra_that_is_missing_is_named(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon goes on without it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.proto.collector.metrics.v1", None)
    with pytest.raises(ExportFailed, match=r"pip install 'smaxd\[otlp\]'"):
        exporter_to(receiver.url).export()
    assert receiver.posts == []


def test_what_keeps_pushes_from_being_made_is_found_before_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it, for check-config; nothing of it matters where nothing is pushed."""
    missing = str(tmp_path / "none")
    settings = OtlpSettings("http://a", headers_file=missing, tls=TlsSettings(ca_file=missing))
    monkeypatch.setattr("agent.otlp_receiver.importlib.util.find_spec", lambda _: None)

    assert otlp_problems(settings, {}) == [
        "otlp.endpoint: opentelemetry-proto is not installed; pip install 'smaxd[otlp]'",
        f"otlp.headers_file: {missing} cannot be read: No such file or directory",
        f"otlp.tls: {missing}: No such file or directory",
    ]
    assert otlp_problems(OtlpSettings(headers_file=missing), {}) == []


def test_the_libraries_of_the_extra_are_found_where_they_are() -> None:
    """As they are where tests run."""
    assert otlp_problems(OtlpSettings("http://a"), {}) == []


def test_credentials_of_the_service_are_checked_by_the_service_only(tmp_path: Path) -> None:
    """Elsewhere it is said that they were not."""
    settings = OtlpSettings("http://a", headers_file="token", tls=TlsSettings(ca_file="ca"))
    service = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    assert (otlp_problems(settings, {}), unchecked_otlp_files(settings, {})) == (
        [],
        ["ca", "token"],
    )
    assert len(otlp_problems(settings, service)) == 2
    assert unchecked_otlp_files(settings, service) == []


@needs_openssl
def test_a_receiver_with_tls_is_checked(tmp_path: Path) -> None:
    """Against the authority of the configuration."""
    ours = authority(tmp_path)
    server = ours.signs("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    running = Receiver(context)
    try:
        trusted = TlsSettings(ca_file=str(ours.pair.certificate))
        assert exporter_to(running.url, tls=trusted).export()
        with pytest.raises(ExportFailed, match="certificate is not accepted"):
            exporter_to(running.url).export()
    finally:
        running.stop()
    assert len(running.posts) == 1
