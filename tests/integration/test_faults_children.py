"""Programs that the daemon runs die, hang, talk nonsense, or are not there.

Real fio and real secondaries are killed and stopped by signals. Where a real one cannot be made to
misbehave (nonsense as output, deafness to SIGTERM), a shell script takes its place: fio's on PATH,
a secondary's as the interpreter that it is started with.
"""

import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.daemon import (
    Daemon,
    daemon,
    write_config,
)
from tests.integration.demands import RECOMMENDED, demands
from tests.integration.faults import (
    DEAF,
    FIO,
    SECONDARY,
    calm_host,
    children,
    eventually,
    executable,
    failed_with,
    has_capacity,
    interpreter,
    needs_fio,
    path_with,
    path_without,
    probe,
    sabotage,
    scratch_files,
    signalled,
)

pytestmark = pytest.mark.long

NO_FIO = "fio: {enabled: false}\n"
NO_SECONDARY = "secondary: {enabled: false}\n"
FAST_SECONDARY = "secondary: {interval_seconds: 1, timeout_seconds: 1, cpu_share_ratio: 1}\n"
FAST_FIO = "fio: {size_mib: 8, runtime_seconds: 1, rate_mib_per_second: 16, interval_seconds: 12}\n"
"""From the end of one run to the next it is twelve seconds; one that hangs ends after eleven."""

S_MAX = (RECOMMENDED, "headroom_ratio", "available_bytes_per_second")
"""What needs a capacity."""


def fails(running: Daemon, name: str, *reasons: str) -> None:
    running.wait_until(
        lambda _: failed_with(running, name, *reasons), f"{name} fails with {reasons}"
    )


def recovers(running: Daemon, name: str) -> None:
    running.wait_until(lambda _: probe(running, name).get("success"), f"{name} works again")


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGSTOP, "timeout")]
)
def test_secondaries_that_are_killed_or_stopped_cost_only_what_they_tell(
    place: Path, database: Path, number: signal.Signals, reason: str
) -> None:
    """The rest stays; the first one that is left alone brings its part back."""
    config = write_config(place, NO_FIO + FAST_SECONDARY)
    with (
        daemon(place, "--config", config, "--db", str(database)) as running,
        demands(running, place, database) as demanded,
    ):
        with sabotage(running.process.pid, SECONDARY, signalled(number)) as saboteur:
            fails(running, "secondary", reason)
            demanded.absent(database, reason, "estimated_keys")
            page = demanded.others_go_on()
        recovers(running, "secondary")
        demanded.published(database, "estimated_keys")
        assert len(saboteur.victims) >= 1
        assert page.value("smax_probe_success", probe="secondary", target=str(database)) == 0.0


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('echo "no { answer"; exit 0', "secondary_garbage"),
        ("head -c 9000000 /dev/zero; exit 0", "secondary_garbage"),
        ('echo \'{"latest_sequence": "many"}\'; exit 0', "secondary_garbage"),
        ("exit 3", "secondary_garbage"),
        ("kill -SEGV $$", "crashed"),
        ("trap '' TERM; while :; do sleep 0.1; done", "timeout"),
        (None, "program_missing"),
    ],
    ids=["words", "zeros", "wrong types", "nothing", "crash", "deaf", "missing"],
)
def test_a_secondary_that_cannot_work_is_named_and_missed_by_nobody_else(
    place: Path, database: Path, script: str | None, reason: str
) -> None:
    """A script, or nothing, in place of the interpreter, exchanged while the daemon runs."""
    python = interpreter(place)
    config = write_config(place, NO_FIO + FAST_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    with (
        daemon(
            place, *arguments, python=str(python.path), PYTHONPATH=python.python_path
        ) as running,
        demands(running, place, database) as demanded,
    ):
        recovers(running, "secondary")
        if script is None:
            python.path.unlink()
        else:
            python.replace(script)
        fails(running, "secondary", reason)
        demanded.others_go_on()
        assert len([x for x in running.events("probe_no_data") if "probe=secondary" in x]) == 1
        python.restore()
        recovers(running, "secondary")
        demanded.published(database, "estimated_keys")


@needs_fio
@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "fio_killed"), (signal.SIGSTOP, "timeout")]
)
def test_fio_that_is_killed_or_stopped_gives_no_capacity_and_leaves_no_file(
    place: Path, database: Path, number: signal.Signals, reason: str
) -> None:
    """And its next run gives one."""
    config = write_config(place, FAST_FIO + NO_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    with (
        daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database) as demanded,
    ):
        with sabotage(running.process.pid, FIO, signalled(number)) as saboteur:
            fails(running, "fio", reason)
            demanded.absent(database, reason, *S_MAX)
            page = demanded.others_go_on()
            left = scratch_files(place)
        assert not has_capacity(page)
        assert left == []
        assert len(saboteur.victims) == 1
        recovers(running, "fio")
        running.wait_until(has_capacity, "a capacity")


@needs_fio
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo this is not JSON", "fio_garbage"),
        ("echo '{\"jobs\": 7}'", "fio_garbage"),
        ("head -c 9000000 /dev/urandom", "fio_garbage"),
        (DEAF, "timeout"),
    ],
    ids=["words", "wrong types", "noise", "deaf"],
)
def test_something_else_under_fios_name_gives_no_capacity(
    place: Path, database: Path, script: str, reason: str
) -> None:
    """A script first on PATH, until it is removed and the real one is found again."""
    imposter = executable(place / "programs/fio", script)
    config = write_config(place, FAST_FIO + NO_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    path = path_with(imposter.parent)
    with (
        daemon(place, *arguments, PATH=path, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database) as demanded,
    ):
        fails(running, "fio", reason)
        imposter.unlink()
        demanded.absent(database, reason, *S_MAX)
        page = demanded.others_go_on()
        assert not has_capacity(page)
        assert scratch_files(place) == []
        assert [c for c in children(running.process.pid).values() if "fio" in c] == []
        recovers(running, "fio")
        running.wait_until(has_capacity, "a capacity")


def test_a_host_without_fio_says_so_and_finds_it_once_it_is_there(
    place: Path, database: Path
) -> None:
    """Installed while the daemon runs; the script passes on to the real one where there is one."""
    programs = place / "programs"
    real = shutil.which("fio")
    config = write_config(place, FAST_FIO + NO_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    path = f"{programs}:{path_without('fio')}"
    with (
        daemon(place, *arguments, PATH=path, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database) as demanded,
    ):
        demanded.absent(database, "fio_missing", *S_MAX)
        demanded.others_go_on()
        if real is not None:
            executable(programs / "fio", f'exec {real} "$@"')
            running.wait_until(has_capacity, "a capacity")


def test_the_daemon_ends_in_time_with_a_fio_that_ignores_sigterm(
    place: Path, database: Path
) -> None:
    """A script, since the real one obeys; SIGKILL follows, and nothing remains."""
    imposter = executable(place / "programs/fio", DEAF)
    config = write_config(place, FAST_FIO + NO_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    path = path_with(imposter.parent)
    with (
        daemon(place, *arguments, PATH=path, PYTHONPATH=calm_host(place)) as running,
        demands(running, place, database),
    ):
        eventually(
            lambda: any(deaf(pid) for pid in children(running.process.pid)), "it is deaf by now"
        )
    assert running.log_file.read_text().count("event=stopped") == 1


def deaf(pid: int) -> bool:
    """Whether a process ignores SIGTERM."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False  # it has ended
    ignored = int(dict(line.split(":\t") for line in status.splitlines())["SigIgn"], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)
