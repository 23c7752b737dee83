"""The real daemon tells a real receiver of a database whose writes RocksDB has stopped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.alerting_stack import wait_until, writes
from tests.integration.daemon import daemon, write_config
from tests.unit.http_receiver import Receiver, receiving

pytestmark = pytest.mark.slow

CONFIG = """
fio: {{enabled: false}}
secondary: {{enabled: false}}
databases: [{{path: {database}, name: orders}}]
alerting:
  group_wait_seconds: 0
  cooldown_seconds: 0
  delivery:
    mode: always
    webhooks: [{{url: '{url}', name: hook}}]
"""

ALERT = "RocksdbWriteStopped"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def configured(place: Path, receiver: Receiver) -> str:
    text = CONFIG.format(database=place / "db", url=receiver.url)
    return write_config(place, text, tick_seconds=0.5)


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """(identity, status) of every request that told of the alert."""
    return [
        (request.headers["webhook-id"], alert["status"])
        for request in list(receiver.requests)
        for alert in request.json["alerts"]
        if alert["labels"]["alertname"] == ALERT
    ]


def test_what_a_killed_daemon_could_not_deliver_is_delivered_by_the_next_one_once(
    place: Path, receiver: Receiver
) -> None:
    """The receiver answers 500, the daemon is killed; both come back, and it restarts once more."""
    config = configured(place, receiver)
    receiver.status = 500
    with writes(place / "db", stopped=True):
        with daemon(place, "--config", config) as first:
            wait_until(lambda: told(receiver), "the first attempt")
            first.process.kill()
            first.process.wait(10)
        refused = {identity for identity, _ in told(receiver)}
        receiver.requests.clear()
        receiver.status = 200
        with daemon(place, "--config", config) as second:
            wait_until(lambda: told(receiver), "the delivery")
            second.wait_until(
                lambda page: page.value(
                    "smaxd_notifications_total", channel="hook", outcome="delivered"
                ),
                "its count",
            )
            assert second.stop() == 0
        delivered = told(receiver)
        assert {identity for identity, _ in delivered} == refused
        assert [status for _, status in delivered] == ["firing"]
        with daemon(place, "--config", config) as third:
            third.wait_until(
                lambda page: page.value(
                    "smax_alert_active", db="orders", alert=ALERT, severity="critical"
                ),
                "the alert goes on",
            )
            ticks = third.page().value("smaxd_ticks_total") or 0.0
            third.wait_until(
                lambda page: (page.value("smaxd_ticks_total") or 0.0) >= ticks + 5, "five ticks"
            )
            assert third.stop() == 0

    assert told(receiver) == delivered


def test_a_receiver_that_hangs_delays_neither_a_tick_nor_the_end(
    place: Path, receiver: Receiver
) -> None:
    """It accepts the request and sends its answer a byte at a time."""
    config = configured(place, receiver)
    receiver.drip_seconds = 0.05
    with writes(place / "db", stopped=True), daemon(place, "--config", config) as running:
        wait_until(lambda: told(receiver), "the request")
        ticks = running.page().value("smaxd_ticks_total") or 0.0
        page = running.wait_until(
            lambda page: (page.value("smaxd_ticks_total") or 0.0) >= ticks + 5, "five ticks"
        )
        assert running.stop() == 0
        log = running.log_file.read_text()

    assert (page.value("smaxd_notification_queue_length", channel="hook") or 0.0) >= 1.0
    assert "Traceback" not in log
