"""Clients that misbehave, and a real daemon that may open hardly any files."""

import os
import socket
import sys
from pathlib import Path

from tests.integration.daemon import Daemon, daemon, workplace, write_config, writing

DESCRIPTORS = 64
CLIENTS = 200


def with_few_descriptors(place: Path) -> str:
    """A Python that may have few files open."""
    script = place / "python"
    script.write_text(f'#!/bin/sh\nulimit -n {DESCRIPTORS}\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    return str(script)


def half_sent_request(running: Daemon) -> socket.socket:
    host, _, port = running.address.rpartition(":")
    client = socket.create_connection((host, int(port)), timeout=30)
    try:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    except ConnectionError:
        pass  # it had to make room already
    return client


def descriptors_of(running: Daemon) -> int:
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def test_half_sent_requests_cost_neither_scrapes_nor_probes() -> None:
    """Three times as many clients as the daemon may have files open: they share a quarter of it."""
    with workplace() as place:
        database = place / "db"
        text = f"fio: {{enabled: false}}\ndatabases:\n  - path: {database}\n"
        with (
            writing(database),
            daemon(
                place,
                "--config",
                write_config(place, text),
                python=with_few_descriptors(place),
            ) as running,
        ):
            running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(database)),
                "the put rate",
            )
            before, failures = descriptors_of(running), running.events("probe_no_data")
            clients = [half_sent_request(running) for _ in range(CLIENTS)]
            try:
                seen = running.page().value("smaxd_ticks_total") or 0.0
                page = running.wait_until(
                    lambda page: (page.value("smaxd_ticks_total") or 0.0) > seen + 10,
                    "ten more ticks",
                )
                during = descriptors_of(running)
            finally:
                for client in clients:
                    client.close()

            assert page.value("smax_observed_puts_per_second", db=str(database)) is not None
            assert running.events("probe_no_data") == failures
            assert during < DESCRIPTORS
            running.wait_until(
                lambda _: descriptors_of(running) <= before + 2, "the clients' descriptors to go"
            )
            assert "Traceback" not in running.log_file.read_text()
            assert running.stop() == 0
