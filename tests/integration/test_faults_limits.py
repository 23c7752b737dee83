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
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import (
    Page,
    daemon,
    leftovers,
    workplace,
    write_config,
    writing,
)
from tests.integration.faults import eventually, executable, probe, published_still, ticks

pytestmark = pytest.mark.long
CGROUPS = Path("/sys/fs/cgroup")
DESCRIPTORS = 64
MEMORY_BYTES = 128 * 1024 * 1024

ALL_PROGRAMS = (
    "fio: {size_mib: 8, runtime_seconds: 1, rate_mib_per_second: 16, interval_seconds: 10}\n"
    "secondary: {interval_seconds: 2, cpu_share_ratio: 1}\n"
)
NO_FIO = "fio: {enabled: false}\nsecondary: {interval_seconds: 2, cpu_share_ratio: 1}\n"


@pytest.fixture(scope="module")
def database() -> Iterator[Path]:
    """A database that is written to all the time, for all tests of this file."""
    with workplace() as path, writing(path / "db"):
        yield path / "db"


@pytest.fixture
def place() -> Iterator[Path]:
    with workplace() as path:
        yield path


def works(page: Page, *probes: str) -> bool:
    """Whether these probes, of which there is one each, succeeded when they last ran."""
    return all(
        [value for _, value in page.samples("smax_probe_success", probe=name)] == [1.0]
        for name in probes
    )


@contextlib.contextmanager
def control_group(controller: str, **limits: int) -> Iterator[Path]:
    """A group of cgroup v1 below the root with these limits; skips where it cannot be had."""
    parent = CGROUPS / controller
    if not (parent / "cgroup.procs").exists() or not os.access(parent, os.W_OK):
        pytest.skip(f"cgroup v1's {controller} controller is not here, or not ours to use")
    group = Path(tempfile.mkdtemp(prefix="smaxd-faults-", dir=parent))
    try:
        for name, value in limits.items():
            (group / f"{controller}.{name}").write_text(str(value))
        yield group
    finally:
        eventually(lambda: (group / "cgroup.procs").read_text() == "", "the group is empty")
        group.rmdir()


def inside(group: Path, place: Path) -> str:
    """An interpreter that goes into the group before it begins."""
    script = f'echo $$ > {group}/cgroup.procs && exec {sys.executable} "$@"'
    return str(executable(place / "confined", script))


def test_64_descriptors_are_enough_for_a_database_and_all_programs(
    place: Path, database: Path
) -> None:
    """fio, secondary, simulator and page: nothing is missing."""
    config = write_config(place, ALL_PROGRAMS if shutil.which("fio") else NO_FIO)
    with daemon(place, "--config", config, "--db", str(database)) as running:
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        running.wait_until(lambda page: works(page, "secondary", "wal", "log"), "all probes work")
        published_still(running, database)
        assert "Too many open files" not in running.log_file.read_text()
        assert running.stop() == 0
        assert leftovers(place) == []


def test_clients_that_take_all_descriptors_cost_probes_their_answers_for_so_long_only(
    place: Path, database: Path
) -> None:
    """Whoever is connected already still gets a page; and everything returns when they go."""
    config = write_config(place, NO_FIO)
    with daemon(place, "--config", config, "--db", str(database)) as running:
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
        published_still(running, database)
        assert running.stop() == 0
        assert leftovers(place) == []


def test_128_mb_are_enough_or_a_program_goes_and_not_the_daemon(
    place: Path, database: Path
) -> None:
    """By a control group that counts the daemon with its programs; the peak is printed."""
    with control_group("memory", limit_in_bytes=MEMORY_BYTES) as group:
        config = write_config(place, NO_FIO)
        arguments = ("--config", config, "--db", str(database))
        with daemon(place, *arguments, python=inside(group, place)) as running:
            running.wait_until(
                lambda page: (
                    ticks(page) > 40 and probe(running, "secondary").get("success") is not None
                ),
                "many ticks and a secondary",
            )
            page = published_still(running, database)
            peak = int((group / "memory.max_usage_in_bytes").read_text())
            secondary = probe(running, "secondary")
            resident = page.value("process_resident_memory_bytes")
            assert resident is not None
            print(f"peak {peak / 1e6:.0f} MB in the group, the daemon {resident / 1e6:.0f} MB")
            assert secondary["success"] or secondary["reason"] in {"killed", "memory_limit"}
            assert running.stop() == 0
            assert leftovers(place) == []


def test_a_tenth_of_a_processor_makes_ticks_late_and_nothing_else(
    place: Path, database: Path
) -> None:
    """No tick is made up for, no number goes wrong; what takes too long is named."""
    with control_group("cpu", cfs_period_us=100_000, cfs_quota_us=10_000) as group:
        config = write_config(place, NO_FIO, tick_seconds=1.0)
        arguments = ("--config", config, "--db", str(database))
        with daemon(place, *arguments, python=inside(group, place)) as running:
            running.wait_until(
                lambda page: page.value("smax_observed_puts_per_second", db=str(database)), "a rate"
            )
            published_still(running, database)
            assert {
                state["reason"]
                for state in running.status()["probes"]
                if state["success"] is False and not state["absent"]
            } <= {"timeout"}
            assert running.stop() == 0
            assert leftovers(place) == []
