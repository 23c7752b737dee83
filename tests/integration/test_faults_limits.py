"""Little is given to the daemon: 64 descriptors, 128 MB, a tenth of a processor.

It goes on, serves its page, and names what it could not do.
"""

import contextlib
import http.client
import os
import resource
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.integration.control_group import ControlGroup, cpu_group, memory_group
from tests.integration.daemon import Page, daemon, write_config
from tests.integration.demands import demands
from tests.integration.faults import eventually, executable, probe, ticks

pytestmark = pytest.mark.long
DESCRIPTORS = 64
MEMORY_BYTES = 128 * 1024 * 1024

ALL_PROGRAMS = (
    "fio: {size_mib: 8, runtime_seconds: 1, rate_mib_per_second: 16, interval_seconds: 10}\n"
    "secondary: {interval_seconds: 2, cpu_share_ratio: 1}\n"
)
NO_FIO = "fio: {enabled: false}\nsecondary: {interval_seconds: 2, cpu_share_ratio: 1}\n"


def works(page: Page, *probes: str) -> bool:
    """Whether these probes, of which there is one each, succeeded when they last ran."""
    return all(
        [value for _, value in page.samples("smax_probe_success", probe=name)] == [1.0]
        for name in probes
    )


def inside(group: ControlGroup, place: Path) -> str:
    """An interpreter that goes into the group before it begins."""
    script = f'echo $$ > {group.members} && exec {sys.executable} "$@"'
    return str(executable(place / "confined", script))


def test_64_descriptors_are_enough_for_a_database_and_all_programs(
    place: Path, database: Path
) -> None:
    """fio, secondary, simulator and page: nothing is missing."""
    config = write_config(place, ALL_PROGRAMS if shutil.which("fio") else NO_FIO)
    with (
        daemon(place, "--config", config, "--db", str(database)) as running,
        demands(running, place, database),
    ):
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        running.wait_until(lambda page: works(page, "secondary", "wal", "log"), "all probes work")
    assert "Too many open files" not in running.log_file.read_text()


def test_clients_that_take_all_descriptors_cost_probes_their_answers_for_so_long_only(
    place: Path, database: Path
) -> None:
    """Whoever is connected already still gets a page; and everything returns when they go."""
    config = write_config(place, NO_FIO)
    with (
        daemon(place, "--config", config, "--db", str(database)) as running,
        demands(running, place, database),
    ):
        running.wait_until(lambda page: works(page, "secondary", "wal", "log"), "all probes work")
        taken = len(os.listdir(f"/proc/{running.process.pid}/fd"))
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (taken + 8, taken + 8))
        host, port = running.address.split(":")
        early = http.client.HTTPConnection(host, int(port), timeout=10)
        early.request("GET", "/healthz")
        assert early.getresponse().read() == b"ok\n"
        with contextlib.ExitStack() as crowd:
            for _ in range(16):
                crowd.enter_context(socket.create_connection((host, int(port)), timeout=10))

            def seen() -> Page:
                early.request("GET", "/metrics")
                return Page(early.getresponse().read().decode())

            eventually(
                lambda: (
                    seen().reasons(str(database)).get("observed_puts_per_second") is not None
                    or not works(seen(), "fingerprint", "wal", "secondary")
                ),
                "probes lack descriptors",
            )
            crowded = seen()
        early.close()
        running.wait_until(
            lambda page: (
                ticks(page) > ticks(crowded) + 3 and works(page, "fingerprint", "wal", "secondary")
            ),
            "all probes work again",
        )
        # Once, not for each of them whenever it is tried again.
        assert len(running.events("listener_failing")) == 1


def test_128_mb_are_enough_or_a_program_goes_and_not_the_daemon(
    place: Path, database: Path
) -> None:
    """By a control group that counts the daemon with its programs; the peak is printed."""
    with memory_group(MEMORY_BYTES) as group:
        config = write_config(place, NO_FIO)
        arguments = ("--config", config, "--db", str(database))
        with (
            daemon(place, *arguments, python=inside(group, place)) as running,
            demands(running, place, database) as demanded,
        ):
            running.wait_until(
                lambda page: (
                    ticks(page) > 40 and probe(running, "secondary").get("success") is not None
                ),
                "many ticks and a secondary",
            )
            page = demanded.others_go_on()
            peak = group.peak_bytes()
            secondary = probe(running, "secondary")
            resident = page.value("process_resident_memory_bytes")
            assert resident is not None
            print(f"peak {peak / 1e6:.0f} MB in the group, the daemon {resident / 1e6:.0f} MB")
            assert secondary["success"] or secondary["reason"] in {"killed", "memory_limit"}


def test_a_tenth_of_a_processor_makes_ticks_late_and_nothing_else(
    place: Path, database: Path
) -> None:
    """No tick is made up for, no number goes wrong; what takes too long is named."""
    with cpu_group(0.1) as group:
        config = write_config(place, NO_FIO, tick_seconds=1.0)
        arguments = ("--config", config, "--db", str(database))
        with (
            daemon(place, *arguments, python=inside(group, place)) as running,
            demands(running, place, database),
        ):
            assert {
                state["reason"]
                for state in running.status()["probes"]
                if state["success"] is False and not state["absent"]
            } <= {"timeout"}
