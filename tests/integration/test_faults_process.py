"""The daemon itself is killed, or stopped for a while: nothing stays behind, nothing is lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agent.learning.memory import (
    DatabaseMemory,
    DeviceIdentity,
    DeviceMemory,
    LearnedState,
    decode,
    encode,
)
from agent.wear import record as wear_record
from tests.integration.daemon import (
    Daemon,
    Page,
    daemon,
    environment,
    processes_naming,
    write_config,
)
from tests.integration.demands import demands
from tests.integration.faults import (
    calm_host,
    children,
    eventually,
    names,
    scratch_files,
    ticks,
)

pytestmark = pytest.mark.long
needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")

MIB = 1048576
KILLS_PER_RUN = 10
RUNS = 5
LONGEST_LIFE_SECONDS = 2.5
"""Shorter than a start on a busy host, and longer than one that has fio, ticks and a secondary."""

LIFE_BYTES = 2 * MIB
"""What a life of seconds sets aside for its own files: one advance for each."""

CAPACITY = "smax_device_write_capacity_bytes_per_second"
AGE = "smax_estimate_age_seconds"

FIO_BYTES = 8 * MIB
BUSY = (
    "fio: {size_mib: 8, runtime_seconds: 60, rate_mib_per_second: 2}\n"
    "secondary: {interval_seconds: 1, cpu_share_ratio: 1}\n"
)
"""fio lasts for four seconds, so that most kills meet it; a secondary runs every second."""

LEARNED = LearnedState(
    saved_wall_seconds=1.7e9,
    databases=(
        DatabaseMemory(
            path="/an/earlier/database",
            device=DeviceIdentity("sdz", 10**12, "a drive"),
            options_key="key",
            labels=(),
            episodes_total=7,
            recommended="bottleneck",
            seen_wall_seconds=time.time(),
        ),
    ),
    devices=(
        DeviceMemory(DeviceIdentity("sdz", 10**12, "a drive"), 4.2e8, time.time(), time.time()),
    ),
)

LEARNED_BYTES = len(encode(LEARNED))
"""Laid there by the test."""


def learned_file(place: Path) -> Path:
    return place / "home/state/learned.json"


def assert_state_intact(place: Path) -> None:
    """Whatever the moment of the kill: the file is whole and has what it had, with its counts.

    The one place for what a kill must not damage.
    """
    state = decode(learned_file(place).read_bytes())
    kept = {entry.path: entry.episodes_total for entry in state.databases}
    assert kept.get("/an/earlier/database") == 7
    assert any(entry.baseline_bytes_per_second == 4.2e8 for entry in state.devices)


def forget_the_run(place: Path) -> None:
    """The kill interrupted it, so that the next daemons would wait before they run fio again; the
    test wants them to."""
    state = decode(learned_file(place).read_bytes())
    learned_file(place).write_bytes(encode(msgspec.structs.replace(state, probing=())))


def accounted(place: Path) -> Counter[str]:
    """What was written or may have been, by purpose: by the account on the disk, read as a next
    start would."""
    counts: Counter[str] = Counter()
    try:
        record = wear_record.decode((place / "home/state/wear.json").read_bytes())
    except FileNotFoundError:
        return counts  # killed before it was written for the first time
    for account in record.accounts:
        counts.update(account.totals)
        for one in account.reservations:
            counts[one.purpose] += one.size_bytes
    return counts


def own_files_bytes(place: Path) -> int:
    """What lies in the state directory: at least so much of the agent's own was written."""
    return sum(path.stat().st_size for path in (place / "home/state").iterdir())


def runs_fio(pid: int) -> bool:
    return any(names(command, "fio") for command in children(pid).values())


def counted(page: Page) -> float:
    """What the daemon says that fio has written."""
    return sum(value for _, value in page.samples("smaxd_written_bytes_total", purpose="fio"))


def start(place: Path, config: str, database: Path, log: Path) -> "subprocess.Popen[bytes]":
    """The daemon, without waiting for anything."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "agent", "run", "--web.listen-address", "127.0.0.1:0"),
                *("--config", config, "--db", str(database)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(place / "home", PYTHONPATH=calm_host(place)),
            cwd="/",
        )


@needs_fio
@pytest.mark.parametrize("run", range(RUNS))
def test_a_daemon_killed_at_any_moment_leaves_nothing_and_loses_nothing(
    place: Path, database: Path, run: int
) -> None:
    """Fifty kills in all, during the start, a tick, fio, a secondary; the seed is printed."""
    seed = int.from_bytes(os.urandom(4))
    print(f"run {run}: seed {seed}")
    choose = random.Random(seed)  # noqa: S311 - moments, not secrets
    config = write_config(place, BUSY)
    log = place / "killed.log"
    learned_file(place).parent.mkdir(parents=True)
    (place / "home/tmp").mkdir()
    learned_file(place).write_bytes(encode(LEARNED))
    met_fio, before = 0, Counter[str]()
    for kill in range(KILLS_PER_RUN):
        killed = start(place, config, database, log)
        try:
            if kill + 1 == KILLS_PER_RUN:
                eventually(partial(runs_fio, killed.pid), "fio runs at the last kill at least")
            time.sleep(choose.uniform(0.1, LONGEST_LIFE_SECONDS))
            met = runs_fio(killed.pid)
        finally:
            killed.kill()
            killed.wait()
        met_fio += met
        # The kernel ends them, not the next start, which may never come.
        eventually(lambda: processes_naming(str(place / "home")) == [], "every child is gone")
        assert_state_intact(place)
        forget_the_run(place)
        # On record before it is written, and once: what this life may have written, and no more.
        now = accounted(place)
        assert before["fio"] + FIO_BYTES * met <= now["fio"] <= before["fio"] + FIO_BYTES
        assert all(now[purpose] >= before[purpose] for purpose in before), (before, now)
        own, own_before = (counts.total() - counts["fio"] for counts in (now, before))
        assert own_files_bytes(place) - LEARNED_BYTES <= own <= own_before + LIFE_BYTES
        before = now
    arguments = ("--config", config, "--db", str(database))
    with (
        daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database),
    ):
        assert scratch_files(place, but_of=[running.process.pid]) == []
        page = running.wait_until(
            lambda page: (
                counted(page) == before["fio"] + FIO_BYTES
                and page.value("smax_recommended_puts_per_second", db=str(database))
                and page.value("smax_estimated_keys", db=str(database))
            ),
            "everything is measured again",
        )

    text = log.read_text() + running.log_file.read_text()
    print(f"run {run}: fio ran at {met_fio} of {KILLS_PER_RUN} kills")
    assert "Traceback" not in text
    assert "state_unusable" not in text
    loaded = running.events("state_loaded")
    assert sum("learned.json" in line for line in loaded) == 1
    assert_state_intact(place)
    assert counted(page) == before["fio"] + FIO_BYTES <= accounted(place)["fio"]
    assert scratch_files(place) == []


@needs_fio
def test_a_restart_finds_the_capacity_and_runs_no_fio(place: Path, database: Path) -> None:
    """It is published by the first tick, as old as it is."""
    config = "fio: {size_mib: 8, runtime_seconds: 2, interval_seconds: 3600}\n"
    config += "secondary: {enabled: false}\n"
    arguments = ("--config", write_config(place, config), "--db", str(database))
    measured = "the capacity is known"
    with daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running:
        before = running.wait_until(lambda page: page.samples(CAPACITY), measured)
        assert running.stop() == 0
    time.sleep(2.0)
    with daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running:
        first = running.wait_until(lambda page: page.samples(CAPACITY), measured)
        later = running.wait_until(lambda page: ticks(page) > ticks(first) + 25, "more ticks")
        assert running.stop() == 0

    assert before.samples("smaxd_fio_runs_total") != []
    assert first.samples(CAPACITY) == before.samples(CAPACITY)
    assert [age for _, age in first.samples(AGE, quantity="capacity") if age < 2.0] == []
    assert later.samples("smaxd_fio_runs_total") == []
    assert counted(later) == counted(before)


@needs_fio
def test_a_daemon_killed_while_fio_runs_lets_it_rest_after_its_start(
    place: Path, database: Path
) -> None:
    """Or a crash loop would spend the budget of the day in first runs."""
    arguments = ("--config", write_config(place, BUSY), "--db", str(database))
    with daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running:
        eventually(lambda: runs_fio(running.process.pid), "fio runs")
        running.stop(signal.SIGKILL)
    with daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running:
        first = running.wait_until(
            lambda page: page.samples("smaxd_fio_gate_closed", reason="backing_off"), "it rests"
        )
        later = running.wait_until(lambda page: ticks(page) > ticks(first) + 25, "more ticks")
        assert running.stop() == 0

    assert later.samples("smaxd_fio_runs_total") == []
    assert counted(later) == counted(first) == FIO_BYTES


@needs_fio
def test_a_kill_while_fio_writes_ends_fio_and_its_file_goes_with_the_next_start(
    place: Path, database: Path
) -> None:
    """Also when that start has fio switched off, so that no probe would find the file."""
    arguments = ("--config", write_config(place, BUSY), "--db", str(database))
    with daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running:
        eventually(lambda: runs_fio(running.process.pid), "fio runs")
        running.stop(signal.SIGKILL)
        eventually(lambda: processes_naming(str(place / "home")) == [], "fio is gone")
    left = scratch_files(place)
    config = write_config(place, "fio: {enabled: false}\n")
    with (
        daemon(place, "--config", config, "--db", str(database)) as running,
        demands(running, place, database),
    ):
        found = scratch_files(place)

    assert left != [], "the kill came too late to show anything"
    assert found == []
    assert not list((place / "home").rglob("smaxd-scratch-*"))


def gap(running: Daemon, seconds: float) -> None:
    """Stop the daemon for so long, as a suspended machine or a debugger does."""
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    running.process.send_signal(signal.SIGCONT)


def test_a_daemon_stopped_for_a_hundred_ticks_goes_on_as_if_nothing_had_been(
    place: Path, database: Path
) -> None:
    """No burst of ticks, no rate that the gap made up, no alert, health again after a tick."""
    name = str(database)
    config = write_config(place, "fio: {enabled: false}\nsecondary: {enabled: false}\n")
    with (
        daemon(place, "--config", config, "--db", name) as running,
        demands(running, place, database),
    ):
        before = running.wait_until(
            lambda page: ticks(page) > 25 and page.value("smax_observed_puts_per_second", db=name),
            "a rate over many ticks",
        )
        alerts_before = before.samples("smax_alert_active")
        began = time.monotonic()
        gap(running, 20.0)
        first = running.wait_until(lambda page: ticks(page) > ticks(before) + 1, "a tick after it")
        after = running.wait_until(lambda page: ticks(page) > ticks(before) + 25, "more ticks")
        elapsed = time.monotonic() - began

    rate = before.value("smax_observed_puts_per_second", db=name)
    rates = [page.value("smax_observed_puts_per_second", db=name) for page in (first, after)]
    puts = [page.value("smax_puts_total", db=name) or 0.0 for page in (before, after)]
    assert rate is not None
    assert all(0.2 * rate < (found or 0.0) < 5 * rate for found in rates), (rate, rates)
    assert puts[1] - puts[0] > 10 * 0.2 * rate, "the puts of the gap are counted, too"
    # In 20 s of gap a hundred ticks were missed; they are not made up for.
    assert ticks(after) - ticks(before) < (elapsed - 20.0) / 0.2 + 15
    active = [sample for sample in after.samples("smax_alert_active") if sample[1] == 1.0]
    assert active == [sample for sample in alerts_before if sample[1] == 1.0]
    assert running.events("alert_began") == []
