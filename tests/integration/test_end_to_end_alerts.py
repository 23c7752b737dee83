"""From a database that cannot write to the person who is told: every program in between is real.

A database whose device is throttled stops its writes; the daemon sees it; Prometheus with the
shipped rules raises the alert, Alertmanager with the shipped routes tells a webhook. Then
Prometheus is away: the daemon tells Alertmanager, and a webhook of its own, itself.
"""

import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.alerting_stack import (
    Program,
    alertmanager,
    free_port,
    prometheus,
    wait_until,
)
from tests.integration.daemon import Daemon, daemon, workplace, write_config
from tests.integration.stalling_disk import StallingDisk, stalling_disk
from tests.unit.http_receiver import Receiver, receiving

ALERT = "RocksdbWriteStopped"

SEVERAL_GROUP_INTERVALS_SECONDS = 10.0
"""Whatever Alertmanager is going to tell, it has told then."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    *(
        pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")
        for program in ("prometheus", "prometheus-alertmanager")
    ),
]

CONFIG = """
fio: {{enabled: false}}
secondary: {{enabled: false}}
databases: [{{path: {database}, name: orders}}]
alerting:
  group_wait_seconds: 0
  cooldown_seconds: 0
  delivery:
    mode: fallback
    external_labels: {{{labels}}}
    fallback: {{absent_intervals: 5, startup_grace_seconds: 300, handover_seconds: 60}}
    alertmanagers: [{{url: '{alertmanager}', name: alertmanager}}]
    webhooks: [{{url: '{webhook}', name: own-webhook}}]
"""


@dataclass
class Stack:
    """The parts, and what receivers were told of the one alert that the test is about.

    ``copy`` is the label ``source`` of the agent's own alerts; "prometheus": they have none, and to
    Alertmanager they are the same as Prometheus's.
    """

    place: Path
    disk: StallingDisk
    running: Daemon
    instance: str
    alertmanager: Program
    pager: Receiver
    own: Receiver
    copy: str

    def told(self, receiver: Receiver) -> list[tuple[str, str]]:
        """(status, source) of the alert in every request that told of it, in their order."""
        return [
            (alert["status"], alert["labels"].get("source", "prometheus"))
            for request in list(receiver.requests)
            for alert in request.json["alerts"]
            if alert["labels"]["alertname"] == ALERT
        ]

    def known(self) -> list[dict[str, Any]]:
        """The alert as Alertmanager knows it now, both copies."""
        alerts = self.alertmanager.ask("/api/v2/alerts") or []
        return [one for one in alerts if one["labels"]["alertname"] == ALERT]

    def sources(self) -> set[str]:
        return {one["labels"].get("source", "prometheus") for one in self.known()}

    def heard(self) -> list[str]:
        """The copies that fire and are not inhibited."""
        return [
            one["labels"].get("source", "prometheus")
            for one in self.known()
            if one["status"]["state"] == "active"
        ]

    def prometheus(self) -> Any:
        return prometheus(self.place, self.running.address, self.instance, self.alertmanager.url)


@pytest.fixture(params=["", "source: ''"], ids=["inhibited", "identical"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Everything but Prometheus. The agent's copy is another alert, which the
    shipped rules inhibit, or, without the label ``source``, the same one."""
    port = free_port()
    with (
        workplace() as place,
        stalling_disk(place) as disk,
        receiving() as pager,
        receiving() as own,
        alertmanager(place, pager) as running_alertmanager,
    ):
        config = write_config(
            place,
            CONFIG.format(
                database=disk.database,
                labels=request.param,
                alertmanager=running_alertmanager.url,
                webhook=own.url,
            ),
            tick_seconds=1.0,
        )
        listen = ("--web.listen-address", f"127.0.0.1:{port}")
        with daemon(place, "--config", config, *listen) as running:
            instance = f"{socket.gethostname()}:{port}"
            copy = "prometheus" if request.param else "smaxd"
            yield Stack(place, disk, running, instance, running_alertmanager, pager, own, copy)


def firing(program: Program) -> list[Any]:
    """What Prometheus says of the alert."""
    query = f'ALERTS{{alertname="{ALERT}", alertstate="firing"}}'
    answer = program.ask("/api/v1/query", query=query)
    return list(answer["data"]["result"]) if answer else []


def test_a_stopped_database_is_told_of_once_whoever_tells(stack: Stack) -> None:
    """With Prometheus, without it, and with it again while the alert goes on."""
    disk, copy = stack.disk, stack.copy
    with stack.prometheus() as first:
        disk.stall()
        wait_until(lambda: firing(first), "Prometheus raises the alert")
        wait_until(lambda: stack.told(stack.pager), "the webhook is told")
        (raised,) = stack.known()
        labels = {name: raised["labels"][name] for name in ("severity", "db", "instance")}
        assert labels == {"severity": "critical", "db": "orders", "instance": stack.instance}
        assert raised["annotations"]["runbook_url"].endswith(f"{ALERT}.md")
        disk.recover()
        wait_until(lambda: not firing(first), "Prometheus ends the alert")
        wait_until(lambda: len(stack.told(stack.pager)) == 2, "the webhook is told of the end")
    assert stack.told(stack.pager) == [("firing", "prometheus"), ("resolved", "prometheus")]
    assert stack.told(stack.own) == []
    stack.pager.requests.clear()

    stack.running.wait_until(
        lambda page: page.value("smaxd_scraper_absent") == 1.0, "Prometheus is missed"
    )
    disk.stall()
    wait_until(lambda: stack.told(stack.pager), "Alertmanager's webhook is told")
    wait_until(lambda: stack.told(stack.own), "the agent's own webhook is told")
    assert stack.told(stack.pager) == [("firing", copy)]
    with stack.prometheus() as second:
        wait_until(lambda: firing(second), "Prometheus raises its own")
        wait_until(lambda: "prometheus" in stack.sources(), "Alertmanager knows it")
        time.sleep(SEVERAL_GROUP_INTERVALS_SECONDS)
        assert stack.told(stack.own) == [("firing", copy)]
        assert stack.heard() == ["prometheus"]
        disk.recover()
        wait_until(lambda: not firing(second), "Prometheus ends the alert")
        wait_until(lambda: not stack.heard(), "Alertmanager knows of the end")
        wait_until(lambda: len(stack.told(stack.own)) == 2, "so does the own webhook")
        time.sleep(SEVERAL_GROUP_INTERVALS_SECONDS)

    # Nobody was told twice that it fires: Alertmanager's receiver by each of the two at most once.
    told = stack.told(stack.pager)
    assert {one: told.count(one) for one in told} == {
        ("firing", "prometheus"): 1,
        ("resolved", "prometheus"): 1,
    } | ({} if copy == "prometheus" else {("firing", copy): 1, ("resolved", copy): 1})
    assert stack.told(stack.own) == [("firing", copy), ("resolved", copy)]
