"""Delivery as a whole: modes, restarts, reloads, with real receivers and real files."""

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import structlog
from structlog.testing import LogCapture

from agent.alerts.notice import AlertNotice, Notification
from agent.delivery.delivery import Delivery, DeliveryTools
from agent.delivery.metrics import delivery_families
from agent.delivery.notification_channel import NotificationChannel
from agent.delivery.record import DeliveryRecord, GateRecord, decode, encode
from agent.delivery.record_file import RECORD
from agent.delivery.scrapers import Scrapes
from agent.delivery.settings import (
    AlertmanagerSettings,
    AppriseSettings,
    DeliverySettings,
    Mode,
    WebhookSettings,
)
from agent.state_directory import StateDirectory
from agent.state_file import StateFile
from agent.versioned import DamagedState
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from tests.unit.delivery_samples import WALL, alert, notification
from tests.unit.http_receiver import Receiver, eventually, receiving


class Run:
    """One run of delivery in a state directory; its channels' threads are real."""

    def __init__(self, directory: Path, settings: DeliverySettings) -> None:
        self.lines = LogCapture()
        self.scrapes = Scrapes()
        self.clock = SystemClock()
        self.runner = ProcessGroupRunner()
        log = structlog.wrap_logger(None, processors=[self.lines])
        self.state = StateDirectory(str(directory))
        self.file = StateFile(RECORD, self.state, log)
        tools = DeliveryTools(
            clock=self.clock,
            log=log,
            environ={},
            instance="db1:10390",
            runner=self.runner,
            scrapes=lambda: self.scrapes,
        )
        self.delivery = Delivery(settings, tools, self.file)
        self.settled: set[str] = set()

    def offer(self, *notifications: Notification, active: tuple[AlertNotice, ...] = ()) -> None:
        self.delivery.offer(notifications, active)

    def all_settled(self, *identities: str) -> bool:
        self.settled |= self.delivery.settled()
        return self.settled == set(identities)

    def delivered(self, channel: str) -> int:
        status = self.delivery.status()
        assert status is not None
        (account,) = [one for one in status.channels if one.name == channel]
        return account.outcomes.get("delivered", 0)

    def close(self) -> None:
        self.delivery.close(5.0)
        self.state.close()

    def events(self) -> list[str]:
        return [entry["event"] for entry in self.lines.entries]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def settings(mode: Mode, *receivers: Receiver) -> DeliverySettings:
    return DeliverySettings(
        mode=mode,
        webhooks=tuple(
            WebhookSettings(one.url, name=f"hook{index}") for index, one in enumerate(receivers)
        ),
    )


def ids(receiver: Receiver) -> list[str]:
    return [one.headers["webhook-id"] for one in receiver.requests]


def test_off_starts_nothing_and_wants_nothing(tmp_path: Path) -> None:
    """The default: Prometheus raises the alerts."""
    run = Run(tmp_path, DeliverySettings())
    run.offer(notification("a"), active=(alert(),))

    assert run.all_settled("a")
    assert run.delivery.status() is None
    run.close()
    assert list(tmp_path.iterdir()) == []


def test_always_tells_every_receiver_and_every_alertmanager(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """Changes to webhooks, states to all replicas."""
    with receiving() as replica:
        wanted = msgspec.structs.replace(
            settings("always", receiver),
            alertmanagers=(AlertmanagerSettings(other.url), AlertmanagerSettings(replica.url)),
        )
        run = Run(tmp_path, wanted)
        run.offer(notification("a"), active=(alert(),))
        eventually(lambda: ids(receiver) == ["a"], "the webhook")
        eventually(lambda: bool(other.requests and replica.requests), "both replicas")
        eventually(lambda: run.all_settled("a"), "its settlement")
        run.close()

    labels = other.requests[0].json[0]["labels"]
    assert (labels["job"], labels["instance"], labels["source"]) == ("smaxd", "db1:10390", "smaxd")


def test_a_notification_is_settled_when_every_receiver_has_it(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """Until then the alert book keeps it."""
    other.status = 500
    run = Run(tmp_path, settings("always", receiver, other))
    run.offer(notification("a"))
    eventually(lambda: ids(receiver) == ["a"] and len(other.requests) > 1, "both attempts")
    assert run.all_settled()

    other.status = 200
    eventually(lambda: run.all_settled("a"), "its settlement")
    run.close()
    assert set(ids(other)) == {"a"}


def test_a_restart_repeats_nothing_to_whoever_was_told_and_loses_nothing_for_the_other(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """The engine offers again what was not settled; one receiver has had it."""
    other.status = 500
    first = Run(tmp_path, settings("always", receiver, other))
    first.offer(notification("a"))
    eventually(lambda: first.delivered("hook0") == 1 and bool(other.requests), "the attempts")
    first.close()

    other.status = 200
    other.requests.clear()
    second = Run(tmp_path, settings("always", receiver, other))
    second.offer(notification("a"))
    eventually(lambda: second.all_settled("a"), "its settlement")
    second.close()

    assert (ids(receiver), ids(other)) == (["a"], ["a"])


def test_fallback_is_silent_while_prometheus_scrapes_and_tells_when_it_is_gone(
    tmp_path: Path, receiver: Receiver
) -> None:
    """What began in between is told, too; the log says that the scraper is absent, and back."""
    run = Run(tmp_path, settings("fallback", receiver))
    now = run.clock.monotonic()
    run.scrapes = Scrapes().saw("10.0.0.1", now - 1.0).saw("10.0.0.1", now)
    run.offer(notification("a"))
    assert run.all_settled()
    assert run.delivery.status().scraper_absent is False  # type: ignore[union-attr]

    run.scrapes = Scrapes().saw("10.0.0.1", now - 100.0).saw("10.0.0.1", now - 99.0)
    run.offer(notification("b"), active=(alert(),))
    eventually(lambda: run.all_settled("a", "b"), "their settlement")
    assert run.delivery.status().scraper_absent is True  # type: ignore[union-attr]

    run.scrapes = run.scrapes.saw("10.0.0.1", run.clock.monotonic())
    run.offer(notification("c", alert(db="users")))
    run.close()

    assert ids(receiver) == ["a", "b"]
    assert run.events() == ["scraper_absent", "scraper_back"]


def test_a_reload_keeps_what_did_not_change_and_what_waits(
    tmp_path: Path, receiver: Receiver, other: Receiver
) -> None:
    """A new address for a receiver that was down gets what the old one did not."""
    with receiving() as down:
        down.status = 500
        run = Run(tmp_path, settings("always", receiver, down))
        run.offer(notification("a"))
        eventually(lambda: run.delivered("hook0") == 1 and bool(down.requests), "the attempts")
        run.delivery.configure(settings("always", receiver, other))
        eventually(lambda: run.all_settled("a"), "its settlement")
        status = run.delivery.status()
        run.close()

    assert (ids(receiver), ids(other)) == (["a"], ["a"])
    assert status is not None
    assert [one.outcomes.get("delivered") for one in status.channels] == [1, 1]


def test_a_reload_that_removes_a_receiver_says_what_it_did_not_get(
    tmp_path: Path, receiver: Receiver
) -> None:
    """And nothing waits for it any more."""
    receiver.status = 500
    run = Run(tmp_path, settings("always", receiver))
    run.offer(notification("a"))
    eventually(lambda: bool(receiver.requests), "the first attempt")
    run.delivery.configure(DeliverySettings())

    assert run.all_settled("a")
    assert run.delivery.status() is None
    assert "delivery_channel_removed" in run.events()
    run.close()


def test_a_defect_on_the_way_to_the_channels_settles_nothing(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alert book keeps what no channel has, for the next run."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    run = Run(tmp_path, settings("always", receiver))
    with monkeypatch.context() as patch:
        patch.setattr(NotificationChannel, "offer", broken)
        with pytest.raises(RuntimeError):
            run.offer(notification("a"))
    run.offer(notification("b"))
    eventually(lambda: run.all_settled("b"), "what came after it")
    run.close()


def test_a_file_that_cannot_be_used_is_told_of_at_once(tmp_path: Path, receiver: Receiver) -> None:
    """Not when the first alert cannot be delivered."""
    hook = WebhookSettings(receiver.url, bearer_token_file="/nonexistent/token")  # noqa: S106 - a path
    run = Run(tmp_path, DeliverySettings(mode="always", webhooks=(hook,)))
    run.close()

    assert run.events() == ["delivery_file_unusable"]
    assert run.lines.entries[0]["problem"] == (
        "alerting.delivery.webhooks[0].bearer_token_file: /nonexistent/token: cannot be read: "
        "No such file or directory"
    )


def test_a_child_that_ends_with_the_agent_is_no_failure_of_its_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run tells it; the log of this one has nothing to say."""
    child, begun, url = tmp_path / "child.py", tmp_path / "begun", tmp_path / "url"
    child.write_text(f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(60)")
    url.write_text("mail://nobody\n")
    monkeypatch.setattr("agent.delivery.apprise_sender._CHILD", str(child))
    wanted = DeliverySettings(mode="always", apprise=(AppriseSettings("mail", str(url)),))
    run = Run(tmp_path, wanted)
    run.offer(notification("a"))
    eventually(begun.exists, "the child")

    run.delivery.retire()
    run.runner.stop()
    eventually(lambda: "to mail" not in {one.name for one in threading.enumerate()}, "its end")
    run.close()

    assert run.events() == []
    assert run.delivery.settled() == frozenset()
    assert json.loads((tmp_path / RECORD.file_name).read_text())["settled"] == {"mail": []}


def test_a_damaged_record_is_set_aside_and_costs_no_alert(
    tmp_path: Path, receiver: Receiver
) -> None:
    """At worst somebody is told twice."""
    (tmp_path / RECORD.file_name).write_text("{")
    run = Run(tmp_path, settings("always", receiver))
    run.offer(notification("a"))
    eventually(lambda: run.all_settled("a"), "its settlement")
    run.close()

    assert run.events() == ["state_unusable"]
    assert (tmp_path / f"{RECORD.file_name}.damaged").read_text() == "{"
    assert json.loads((tmp_path / RECORD.file_name).read_text())["settled"] == {"hook0": ["a"]}


def test_a_record_that_could_not_be_saved_is_saved_at_the_latest_at_the_end(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is room again; both is told once."""
    run = Run(tmp_path, settings("always", receiver))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        run.offer(notification("a"))
        eventually(lambda: run.all_settled("a"), "its settlement")
        eventually(lambda: bool(run.events()), "the warning")
    run.close()

    assert run.events() == ["state_not_saved", "state_saved_again"]
    assert json.loads((tmp_path / RECORD.file_name).read_text())["settled"] == {"hook0": ["a"]}


def test_a_run_with_nothing_to_tell_writes_nothing(tmp_path: Path, receiver: Receiver) -> None:
    """What was loaded lies there already."""
    first = Run(tmp_path, settings("always", receiver))
    first.offer(notification("a"))
    eventually(lambda: first.all_settled("a"), "its settlement")
    first.close()
    before = (tmp_path / RECORD.file_name).stat().st_ino
    second = Run(tmp_path, settings("always", receiver))
    second.close()

    assert (tmp_path / RECORD.file_name).stat().st_ino == before


def test_a_directory_of_another_agent_is_left_alone(tmp_path: Path, receiver: Receiver) -> None:
    """What that one was told is its own; this one delivers all the same."""
    owner = StateDirectory(str(tmp_path))
    owner.take()
    (tmp_path / RECORD.file_name).write_text("{")
    run = Run(tmp_path, settings("always", receiver))
    run.offer(notification("a"))
    eventually(lambda: run.all_settled("a"), "its settlement")
    run.close()
    owner.close()

    assert [entry.name for entry in tmp_path.iterdir()] == [RECORD.file_name]
    assert (tmp_path / RECORD.file_name).read_text() == "{"


def test_a_handover_goes_on_over_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    """Alertmanager keeps what it has from us until Prometheus has had its time."""
    wanted = DeliverySettings(mode="fallback", alertmanagers=(AlertmanagerSettings(receiver.url),))
    first = Run(tmp_path, wanted)
    now = first.clock.monotonic()
    gone = Scrapes().saw("10.0.0.1", now - 100.0).saw("10.0.0.1", now - 99.0)
    first.scrapes = gone
    first.offer(active=(alert(),))
    first.scrapes = gone.saw("10.0.0.1", now)
    first.offer(active=(alert(),))
    first.close()
    before = len(receiver.requests)

    second = Run(tmp_path, wanted)
    second.scrapes = gone.saw("10.0.0.1", now)
    second.offer(active=(alert(), alert(db="new")))
    eventually(lambda: len(receiver.requests) > before, "the alert")
    second.close()

    assert [one["labels"]["db"] for one in receiver.requests[-1].json] == ["orders"]


def test_a_record_says_the_same_after_writing_and_reading() -> None:
    """Nothing is lost on the way."""
    record = DeliveryRecord(
        gate=GateRecord(("a",), ("alert@1.000",), True, ("alert@1.000",), WALL),
        settled={"hook": ("a", "b")},
    )

    assert decode(encode(record)) == record


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'{"version": 2}', b"[" * 100_000])
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    """With one kind of error, whatever it is."""
    with pytest.raises(DamagedState):
        decode(raw)


def test_a_failing_channel_shows_in_the_metrics(tmp_path: Path, receiver: Receiver) -> None:
    """Every outcome has its line from the start, so that rates exist."""
    run = Run(tmp_path, settings("always", receiver))
    run.offer(notification("a"))
    eventually(lambda: run.all_settled("a"), "its settlement")
    samples = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in delivery_families(run.delivery.status())
        for sample in family.samples
    }
    run.close()

    assert samples["smaxd_notifications_total", "delivered"] == 1.0
    assert samples["smaxd_notifications_total", "rejected"] == 0.0
    assert samples["smaxd_delivery_circuit_open", None] == 0.0
    assert samples["smaxd_notification_queue_length", None] == 0.0
    assert samples["smaxd_notification_latency_seconds_count", None] == 1.0
    assert samples["smaxd_scraper_absent", None] == 0.0
