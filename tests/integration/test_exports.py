"""The real daemon's page where nothing scrapes it: read by node_exporter, pushed by OTLP."""

import gzip
import http.client
import shutil
import socket
import time
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Page,
    daemon,
    leftovers,
    process,
    write_config,
    writing,
)
from tests.unit.test_otlp import Receiver

pytestmark = pytest.mark.slow
needs_node_exporter = pytest.mark.skipif(
    shutil.which("prometheus-node-exporter") is None,
    reason="prometheus-node-exporter is not installed",
)


def page_of(port: int) -> Page:
    """What node_exporter shows; nothing while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return Page(connection.getresponse().read().decode())
    except OSError:
        return Page("")
    finally:
        connection.close()


@needs_node_exporter
def test_node_exporter_shows_what_the_daemon_writes(place: Path) -> None:
    """All of it without a complaint, as long as the daemon runs."""
    directory, database = place / "textfile", place / "db"
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = write_config(
        place,
        "fio: {enabled: false}\n"
        f"textfile: {{path: {directory}/smaxd.prom, interval_seconds: 1}}\n",
    )
    exporter = [
        "prometheus-node-exporter",
        f"--web.listen-address=127.0.0.1:{port}",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={directory}",
    ]
    with (
        (place / "node_exporter.log").open("wb") as log,
        process(exporter, stdout=log, stderr=log),
        writing(database),
    ):
        with daemon(place, "--config", config, "--db", str(database)) as running:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while not page_of(port).value("smax_observed_puts_per_second", db=str(database)):
                assert time.monotonic() < give_up, f"never: {page_of(port).text}"
                time.sleep(0.2)
            shown = page_of(port)
            own = running.wait_until(
                lambda page: page.samples("smaxd_written_bytes_total", purpose="textfile"),
                "the bytes of the textfile",
            )
            assert running.stop() == 0
        after = page_of(port)
        complaints = (place / "node_exporter.log").read_text()

    assert shown.value("node_textfile_scrape_error") == 0.0
    assert shown.value("smaxd_textfile_timestamp_seconds") == pytest.approx(time.time(), abs=60.0)
    assert shown.samples("smaxd_build_info")
    assert own.value("smaxd_export_failures_total", exporter="textfile") == 0.0
    assert after.samples("smaxd_build_info") == []
    assert list(directory.iterdir()) == []
    assert "level=error" not in complaints
    assert leftovers(place) == []


def test_what_the_daemon_pushes_is_what_it_shows(place: Path) -> None:
    """Through a receiver that refuses at first."""
    receiver = Receiver()
    receiver.status = 503
    config = write_config(
        place, f"fio: {{enabled: false}}\notlp: {{endpoint: {receiver.url}, interval_seconds: 1}}\n"
    )
    try:
        with daemon(place, "--config", config) as running:
            running.wait_until(
                lambda page: (page.value("smaxd_export_failures_total", exporter="otlp") or 0) > 0,
                "a refused push",
            )
            receiver.status = 200
            page = running.wait_until(
                lambda page: page.value(
                    "smaxd_export_last_success_timestamp_seconds", exporter="otlp"
                ),
                "a push that arrived",
            )
            assert running.stop() == 0
            events = [len(running.events(one)) for one in ("export_failed", "export_recovered")]
    finally:
        receiver.stop()
    request = ExportMetricsServiceRequest()
    request.ParseFromString(gzip.decompress(receiver.posts[-1][2]))
    metrics = {one.name for one in request.resource_metrics[0].scope_metrics[0].metrics}

    assert events == [1, 1]
    assert page.value("smaxd_ticks_total") is not None
    assert {"smaxd_ticks_total", "smaxd_build_info", "process_resident_memory_bytes"} <= metrics
