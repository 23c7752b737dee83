"""The status document and the HTTP listener."""

import contextlib
import dataclasses
import http.client
import json
import socket
import threading
from collections.abc import Iterator

import msgspec
import pytest

from agent.alerts.lifecycle import Alerting, OrderInForce
from agent.alerts.standing import Standing
from agent.api import DATABASE_QUANTITIES, status_document
from agent.client import NoDaemon, fetch_status
from agent.http import HttpServer, ListenError, application
from agent.loop import Published
from agent.readings import Missing
from agent.snapshot import DatabaseSnapshot, Snapshot
from agent.status_documents import DatabaseDocument, DeviceDocument, StatusDocument
from tests.unit import snapshots
from tests.unit.alert_life import silence
from tests.unit.snapshots import AT, WALL, FixedClock

STATUS_KEYS = {
    "version",
    "config_hash",
    "time",
    "tick",
    "tick_seconds",
    "snapshot_age_seconds",
    "ready",
    "stalled",
    "hidden_databases",
    "databases",
    "devices",
    "probes",
    "alerts",
    "host_cpu_cores",
    "quantities",
}
DATABASE_KEYS = {
    "name",
    "path",
    "owner_pid",
    "rocksdb_version",
    "incarnation",
    "places",
    "recommended",
    "predictions",
    "phase",
    "quantities",
    "levels",
    "stalls",
    "stall_seconds",
    "background_error",
    "cpu_limit_cores",
}
DEVICE_KEYS = {
    "name",
    "devnum",
    "size_bytes",
    "filesystem_type",
    "filesystem_free_bytes",
    "layers",
    "limit_bytes_per_second",
    "capacity_is_lower_bound",
    "scratch_directory",
    "fio_written_bytes",
    "quantities",
}


@dataclasses.dataclass
class Served:
    """A listener on a free port, and what it serves."""

    published: Published
    clock: FixedClock
    address: str

    def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        """Status, content type and body."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            kind = response.headers.get("content-type", "")
            return response.status, kind.partition(";")[0], response.read().decode()


@pytest.fixture
def served() -> Iterator[Served]:
    published, clock = Published(), FixedClock()
    server = HttpServer(application(published, clock), "127.0.0.1", 0)
    server.start()
    yield Served(published, clock, server.address)
    server.stop()


def document(snapshot: Snapshot | None = None, now: float = AT + 2.0) -> StatusDocument:
    return status_document(snapshot or snapshots.snapshot(), now)


def ready() -> Snapshot:
    """The snapshot, without the probe that never answered."""
    answered = tuple(p for p in snapshots.probes() if p.success is not None)
    return dataclasses.replace(snapshots.snapshot(), probes=answered)


def test_the_document_keeps_its_keys() -> None:
    """Others build on them: keys may be added, none renamed or removed."""
    raw = msgspec.to_builtins(document())

    assert set(raw) >= STATUS_KEYS
    assert set(raw["databases"][0]) >= DATABASE_KEYS
    assert set(raw["devices"][0]) >= DEVICE_KEYS


def test_the_document_survives_the_way_through_json() -> None:
    """What the client decodes is what the daemon rendered."""
    rendered = document()

    assert msgspec.json.decode(msgspec.json.encode(rendered), type=StatusDocument) == rendered


def test_a_prediction_has_the_keys_of_the_predict_command() -> None:
    """One contract for both."""
    database = msgspec.to_builtins(document())["databases"][0]
    keys = {
        "puts_per_second",
        "model",
        "phase",
        "confidence",
        "utilization",
        "factor",
        "bandwidth_mib",
        "record_size",
    }

    assert set(database["predictions"][0]) == keys
    assert keys - set(database["recommended"]) == set()


def test_a_known_quantity_has_source_and_age() -> None:
    """And no reason."""
    quantity = document().databases[0].quantities["pending_compaction_bytes"]

    assert msgspec.to_builtins(quantity) == {
        "value": 2.0e9,
        "source": "secondary",
        "age_seconds": 32.0,
    }


def test_an_unknown_quantity_has_reason_and_detail() -> None:
    """Its value is null, never 0."""
    gone = msgspec.to_builtins(document().databases[1].quantities)

    assert set(gone) == {*DATABASE_QUANTITIES, "recommended_puts_per_second"}
    assert {json.dumps(quantity) for quantity in gone.values()} == {
        json.dumps(
            {"value": None, "reason": "database_missing", "detail": "/srv/idle does not exist"}
        )
    }


def test_a_database_that_is_gone_has_nulls_not_empty_lists() -> None:
    """An empty list of stalls would say that there is none."""
    lost: DatabaseDocument = document().databases[1]

    assert (lost.stalls, lost.levels, lost.stall_seconds, lost.phase) == (None, None, None, None)
    assert (lost.recommended, lost.predictions, lost.background_error) == (None, [], None)


def test_the_busy_database_is_told_completely() -> None:
    """Phase, stall, levels, error and places, each as the snapshot has it."""
    busy = document().databases[0]

    assert busy.phase is not None
    assert (busy.phase.name, busy.phase.for_seconds, busy.phase.candidate) == (
        "middle",
        902.0,
        "final",
    )
    assert busy.stalls is not None
    assert [(s.state, s.cause, s.since) for s in busy.stalls] == [
        ("delayed", "l0_files", snapshots.WALL - 5.0)
    ]
    assert busy.levels is not None
    assert [(level.level, level.files) for level in busy.levels["default"]] == [(0, 21), (1, 2)]
    assert busy.background_error == "IO error: No space left on device"
    assert [(place.role, place.device) for place in busy.places] == [
        ("data", "nvme0n1"),
        ("wal", None),
    ]


def test_the_device_tells_capacity_fio_and_the_agents_own_writes() -> None:
    """Each from its own source."""
    device: DeviceDocument = document().devices[0]

    assert device.quantities["capacity_bytes_per_second"].value == 2800 * 1048576.0
    assert device.quantities["fio_bytes_per_second"].value == 2700 * 1048576.0
    assert (device.fio_written_bytes, device.capacity_is_lower_bound) == (134_217_728, False)


def test_an_alert_says_how_it_stands_with_people() -> None:
    """Acknowledged and silenced until when, by the wall clock of the snapshot."""
    seen = snapshots.snapshot()
    firing = seen.alerts[2]
    standing = Standing("00ff", "firing", 3, 60.0, 3600.0)
    alerting = Alerting(
        standings={firing.key: standing},
        orders=(OrderInForce(silence(since=WALL - 10.0, database="orders"), 590.0),),
    )
    status = status_document(dataclasses.replace(seen, alerting=alerting), snapshots.AT)

    assert [alert.state for alert in status.alerts] == ["pending", "inactive", "firing"]
    alert, (order,) = status.alerts[2], status.alert_orders
    assert (alert.fingerprint, alert.occurrence) == ("00ff", 3)
    assert (alert.acknowledged_until, alert.silenced_until) == (WALL + 60.0, WALL + 3600.0)
    assert (order.kind, order.alert, order.database) == ("silence", None, "orders")
    assert (order.since, order.until) == (WALL - 10.0, WALL + 590.0)


def test_alerts_are_active_pending_or_quiet() -> None:
    """An active alert is not pending any more."""
    assert [(a.active, a.pending, a.data_missing) for a in document().alerts] == [
        (False, True, False),
        (False, False, True),
        (True, False, False),
    ]


def test_a_loop_that_hangs_shows_in_the_document() -> None:
    """The age is that of the moment of asking."""
    late = document(now=AT + 60.0)

    assert (late.stalled, late.snapshot_age_seconds) == (True, 60.0)
    assert document().stalled is False


def test_the_agent_is_ready_when_every_probe_has_answered_or_said_why_not() -> None:
    """A failure is an answer."""
    assert document().ready is False
    assert document(ready()).ready is True
    assert document(dataclasses.replace(ready(), probes=())).ready is False


def test_before_the_first_tick_only_health_and_pages_answer(served: Served) -> None:
    """Alive, not ready, no status; scraped all the same."""
    codes = {path: served.get(path)[0] for path in ("/", "/healthz", "/metrics")}

    assert codes == {"/": 200, "/healthz": 200, "/metrics": 200}
    assert [served.get(path)[0] for path in ("/readyz", "/api/v1/status")] == [503, 503]


def test_readiness_names_what_it_waits_for(served: Served) -> None:
    """And turns when nothing is left."""
    served.published.put(snapshots.snapshot(), 0.01)
    waiting = served.get("/readyz")
    served.published.put(ready(), 0.01)

    assert waiting == (503, "text/plain", "waiting for: secondary orders\n")
    assert served.get("/readyz") == (200, "text/plain", "ready\n")


def test_health_fails_when_the_loop_hangs(served: Served) -> None:
    """A supervisor may then restart the agent."""
    served.published.put(snapshots.snapshot(), 0.01)
    before = served.get("/healthz")[0]
    served.clock.now += 45.1

    assert (before, served.get("/healthz")[0]) == (200, 503)


def test_the_landing_page_links_everything(served: Served) -> None:
    """Each link leads somewhere."""
    served.published.put(ready(), 0.01)
    _, kind, text = served.get("/")
    links = [piece.partition('"')[0] for piece in text.split('href="')[1:]]

    assert kind == "text/html"
    assert links == ["/metrics", "/api/v1/status", "/api/v1/explain", "/healthz", "/readyz"]
    assert {served.get(link)[0] for link in links} == {200}


def test_the_status_is_served_as_json(served: Served) -> None:
    """The client gets both, typed and as it came."""
    served.published.put(snapshots.snapshot(), 0.01)
    served.clock.now += 2.0
    typed, raw = fetch_status(f"http://{served.address}")

    assert served.get("/api/v1/status")[1] == "application/json"
    assert typed == document()
    assert raw == msgspec.to_builtins(document())


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/status/", 307),
        ("POST", "/api/v1/status", 405),
        ("DELETE", "/metrics", 405),
        ("HEAD", "/healthz", 200),
    ],
)
def test_other_requests_are_refused(served: Served, method: str, path: str, code: int) -> None:
    """Nothing here changes anything."""
    assert served.get(path, method)[0] == code


def test_a_taken_port_is_a_listen_error(served: Served) -> None:
    """The message names the address and the flag."""
    port = int(served.address.rpartition(":")[2])
    with pytest.raises(ListenError, match=f"127.0.0.1:{port}: Address already in use; .*--web"):
        HttpServer(application(served.published, served.clock), "127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 80, "999.1.1.1"])
def test_a_host_that_cannot_be_listened_on_is_a_listen_error(host: str) -> None:
    """Whatever the resolver makes of it."""
    with pytest.raises(ListenError):
        HttpServer(application(Published(), FixedClock()), host, 0)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:1",
        "http://127.0.0.1:abc",
        "http://[::1",
        "http://127.0.0.1:99999",
        "http://",
        "",
        "ftp://x",
        "http://" + "x" * 80,
        "http://127.0.0.1:1/\udcff",
        "http://127.0.0.1:1/a b",
        "\x00",
        "::::",
    ],
)
def test_a_nonsense_address_has_no_daemon(url: str) -> None:
    """Each in one sentence."""
    with pytest.raises(NoDaemon):
        fetch_status(url)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\xff garbage",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnot json!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy",
        b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n",
    ],
)
def test_whoever_else_answers_is_no_daemon(answer: bytes) -> None:
    """Another program on the port is told apart, in one sentence."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        with pytest.raises(NoDaemon):
            fetch_status(f"http://127.0.0.1:{port}")
        thread.join(10)


def test_a_lost_quantity_does_not_take_others_with_it() -> None:
    """The device goes on although its capacity is unknown."""
    blind = dataclasses.replace(snapshots.device(), capacity=Missing("fio_missing", "install fio"))
    shown = document(dataclasses.replace(snapshots.snapshot(), devices=(blind,))).devices[0]

    assert shown.capacity_is_lower_bound is None
    assert shown.quantities["capacity_bytes_per_second"].reason == "fio_missing"
    assert shown.quantities["write_bytes_per_second"].value == 480 * 1048576.0


def test_no_database_is_a_document_too() -> None:
    """An empty host has a status."""
    databases: tuple[DatabaseSnapshot, ...] = ()
    empty = dataclasses.replace(snapshots.snapshot(), databases=databases, devices=())

    assert document(empty).databases == []
