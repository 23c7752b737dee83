"""Memory runs out in a control group, and the kernel kills who is in it: a child, or the daemon."""

import http.client
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.control_group import ControlGroup, memory_group
from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    daemon,
    processes_naming,
    write_config,
)
from tests.integration.demands import RECOMMENDED, demands, written_by_fio
from tests.integration.faults import (
    FIO,
    SECONDARY,
    calm_host,
    children,
    eventually,
    failed_with,
    names,
    needs_fio,
    probe,
    sabotage,
    scratch_files,
)
from tests.integration.volume import MIB

pytestmark = pytest.mark.long

NEXT_TO_NOTHING_BYTES = 65536
"""A process that comes in keeps what it has, and gets so much more."""

NO_SECONDARY = "secondary: {enabled: false}\n"
NO_FIO = "fio: {enabled: false}\n"
FAST_SECONDARY = "secondary: {interval_seconds: 1, cpu_share_ratio: 1}\n"
FAST_FIO = "fio: {size_mib: 8, runtime_seconds: 1, rate_mib_per_second: 16, interval_seconds: 10}\n"
SLOW_FIO = (
    "fio: {size_mib: 8, runtime_seconds: 60, rate_mib_per_second: 2, interval_seconds: 3600}\n"
)
FIO_BYTES = 8 * MIB


@pytest.mark.parametrize(
    ("program", "config", "reason", "quantity"),
    [
        pytest.param(FIO, FAST_FIO + NO_SECONDARY, "fio_killed", RECOMMENDED, marks=needs_fio),
        (SECONDARY, NO_FIO + FAST_SECONDARY, "killed", "estimated_keys"),
    ],
    ids=["fio", "secondary"],
)
def test_a_child_without_memory_costs_only_what_it_tells(
    place: Path, database: Path, program: str, config: str, reason: str, quantity: str
) -> None:
    """The kernel ends it; with memory again, the next one answers."""
    words = ("--config", write_config(place, config), "--db", str(database))
    with (
        memory_group(NEXT_TO_NOTHING_BYTES) as group,
        daemon(place, *words, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database) as demanded,
    ):
        name = "fio" if program == FIO else "secondary"
        with sabotage(running.process.pid, program, group.enter):
            eventually(lambda: failed_with(running, name, reason), f"{name} fails: {reason}")
            demanded.absent(database, reason, quantity)
            demanded.others_go_on()
        killed = group.killed()
        running.wait_until(lambda _: probe(running, name).get("success"), f"{name} works again")

    assert killed >= 1


def starve(running: Daemon, group: ControlGroup) -> int:
    """Leave the daemon next to no memory, keep it at work, and return how it ended."""
    group.enter(running.process.pid)
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (code := running.process.poll()) is None:
        assert time.monotonic() < give_up, "it needed no memory"
        with suppress(OSError, http.client.HTTPException):
            running.page()
    return code


@needs_fio
def test_a_daemon_without_memory_takes_fio_with_it_and_the_next_one_knows_what_it_wrote(
    place: Path, database: Path
) -> None:
    """The kernel ends the daemon while fio writes; that run counts in full."""
    config = write_config(place, SLOW_FIO + NO_SECONDARY)
    words = ("--config", config, "--db", str(database))
    with memory_group(NEXT_TO_NOTHING_BYTES) as group:
        with daemon(place, *words, PYTHONPATH=calm_host(place)) as running:
            eventually(
                lambda: any(names(c, FIO) for c in children(running.process.pid).values()),
                "fio runs",
            )
            code = starve(running, group)
            eventually(lambda: processes_naming(str(place / "home")) == [], "fio is gone, too")
        killed = group.killed()
    left = scratch_files(place)
    with (
        daemon(place, *words, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database),
    ):
        found = scratch_files(place, but_of=[running.process.pid])
        running.wait_until(
            lambda page: written_by_fio(page) == FIO_BYTES, "all that it may have written counts"
        )

    assert code == -signal.SIGKILL
    assert killed == 1
    assert left != [], "it ended too late to show anything"
    assert found == []
