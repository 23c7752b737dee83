"""Programs that the daemon runs die, hang, talk nonsense, or are not there.

Real fio, real secondaries and simulators are killed and stopped by signals. Where a real one
cannot be made to misbehave (nonsense as output, deafness to SIGTERM), a shell script takes its
place: fio's on PATH, a secondary's or simulator's as the interpreter that they are started with.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import simulator_child
from agent.models.lsm import Simulated
from agent.readings import Missing
from agent.simulator import ChildProcessSimulator
from probes.command import CompletedCommand, ProcessGroupRunner
from tests.integration.daemon import (
    ROOT,
    Daemon,
    daemon,
    environment,
    leftovers,
    processes_naming,
    workplace,
    write_config,
    writing,
)
from tests.integration.faults import (
    FIO,
    SECONDARY,
    SIMULATOR,
    calm_host,
    children,
    eventually,
    executable,
    failed_with,
    interpreter,
    path_with,
    path_without,
    probe,
    published_still,
    sabotage,
    scratch_files,
)
from tests.unit.model_inputs_samples import model_inputs

pytestmark = pytest.mark.long
needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")

NO_FIO = "fio: {enabled: false}\n"
NO_SECONDARY = "secondary: {enabled: false}\n"
FAST_SECONDARY = "secondary: {interval_seconds: 1, timeout_seconds: 1, cpu_share_ratio: 1}\n"
FAST_FIO = "fio: {size_mib: 8, runtime_seconds: 1, rate_mib_per_second: 16, interval_seconds: 20}\n"
"""Runs are twenty seconds apart; one that hangs is killed after eleven."""


@pytest.fixture(scope="module")
def database() -> Iterator[Path]:
    """A database that is written to all the time, for all tests of this file."""
    with workplace() as path, writing(path / "db"):
        yield path / "db"


@pytest.fixture
def place() -> Iterator[Path]:
    with workplace() as path:
        yield path


def fails(running: Daemon, name: str, *reasons: str) -> None:
    running.wait_until(
        lambda _: failed_with(running, name, *reasons), f"{name} fails with {reasons}"
    )


def recovers(running: Daemon, name: str) -> None:
    running.wait_until(lambda _: probe(running, name).get("success"), f"{name} works again")


def ends_cleanly(running: Daemon, place: Path) -> None:
    """By SIGTERM, leaving nothing, having never failed as a whole."""
    assert running.stop() == 0
    assert "Traceback" not in running.log_file.read_text()
    assert leftovers(place) == []


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGSTOP, "timeout")]
)
def test_secondaries_that_are_killed_or_stopped_cost_only_what_they_tell(
    place: Path, database: Path, number: signal.Signals, reason: str
) -> None:
    """The rest stays; the first one that is left alone brings its part back."""
    config = write_config(place, NO_FIO + FAST_SECONDARY)
    with daemon(place, "--config", config, "--db", str(database)) as running:
        with sabotage(running.process.pid, SECONDARY, number) as saboteur:
            fails(running, "secondary", reason)
            published_still(running, database)
            page = running.page()
        recovers(running, "secondary")
        assert len(saboteur.victims) >= 1
        assert page.value("smax_probe_success", probe="secondary", target=str(database)) == 0.0
        ends_cleanly(running, place)


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
    with daemon(
        place, *arguments, python=str(python.path), PYTHONPATH=python.python_path
    ) as running:
        recovers(running, "secondary")
        if script is None:
            python.path.unlink()
        else:
            python.replace(script)
        fails(running, "secondary", reason)
        published_still(running, database)
        assert len([x for x in running.events("probe_no_data") if "probe=secondary" in x]) == 1
        python.restore()
        recovers(running, "secondary")
        ends_cleanly(running, place)


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
    with daemon(place, *arguments, PYTHONPATH=calm_host(place)) as running:
        with sabotage(running.process.pid, FIO, number) as saboteur:
            fails(running, "fio", reason)
            page = published_still(running, database)
            left = scratch_files(place)
        assert page.samples("smax_device_write_capacity_bytes_per_second") == []
        assert page.reasons(str(database))["available_bytes_per_second"] == reason
        assert left == []
        assert len(saboteur.victims) == 1
        recovers(running, "fio")
        running.wait_until(
            lambda page: page.samples("smax_device_write_capacity_bytes_per_second"), "a capacity"
        )
        ends_cleanly(running, place)


DEAF = "trap '' TERM HUP INT; while :; do sleep 0.1; done"


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
    with daemon(place, *arguments, PATH=path, PYTHONPATH=calm_host(place)) as running:
        fails(running, "fio", reason)
        imposter.unlink()
        page = published_still(running, database)
        assert page.samples("smax_device_write_capacity_bytes_per_second") == []
        assert scratch_files(place) == []
        assert [c for c in children(running.process.pid).values() if "fio" in c] == []
        recovers(running, "fio")
        ends_cleanly(running, place)


def test_a_host_without_fio_says_so_and_finds_it_once_it_is_there(
    place: Path, database: Path
) -> None:
    """Installed while the daemon runs; the script passes on to the real one where there is one."""
    programs = place / "programs"
    real = shutil.which("fio")
    config = write_config(place, FAST_FIO + NO_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    path = f"{programs}:{path_without('fio')}"
    with daemon(place, *arguments, PATH=path, PYTHONPATH=calm_host(place)) as running:
        fails(running, "fio", "fio_missing")
        page = published_still(running, database)
        assert page.reasons(str(database))["available_bytes_per_second"] == "fio_missing"
        if real is not None:
            executable(programs / "fio", f'exec {real} "$@"')
            recovers(running, "fio")
        ends_cleanly(running, place)


def test_the_daemon_ends_in_time_with_a_fio_that_ignores_sigterm(
    place: Path, database: Path
) -> None:
    """A script, since the real one obeys; SIGKILL follows, and nothing remains."""
    imposter = executable(place / "programs/fio", DEAF)
    config = write_config(place, FAST_FIO + NO_SECONDARY)
    arguments = ("--config", config, "--db", str(database))
    path = path_with(imposter.parent)
    with daemon(place, *arguments, PATH=path, PYTHONPATH=calm_host(place)) as running:
        eventually(lambda: processes_naming(str(imposter)) != [], "it runs")
        eventually(
            lambda: any("trap" in c or "fio" in c for c in children(running.process.pid).values()),
            "it has become the script",
        )
        ends_cleanly(running, place)
        assert running.log_file.read_text().count("event=stopped") == 1


class Exchanged(ProcessGroupRunner):
    """The real runner, with another program in the interpreter's place as long as ``path`` is."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> CompletedCommand:
        program = str(self._path) if self._path.exists() else argv[0]
        return super().run(
            [program, *argv[1:]], timeout_seconds=timeout_seconds, cwd=cwd, env=env, **more
        )


@pytest.mark.parametrize(
    ("script", "reasons"),
    [
        ("echo nonsense", {"simulator_failed"}),
        ("head -c 9000000 /dev/urandom", {"simulator_failed"}),
        ("kill -KILL $$", {"simulator_killed"}),
        ("kill -STOP $$", {"simulator_timeout"}),
        (DEAF, {"simulator_timeout"}),
        ("exit 3", {"simulator_failed"}),
        (None, {"simulator_program_not_started"}),
    ],
    ids=["words", "noise", "killed", "stopped", "deaf", "nothing", "not a program"],
)
def test_a_simulator_that_fails_is_a_reason_and_the_next_one_an_answer(
    tmp_path: Path, script: str | None, reasons: set[str]
) -> None:
    """In the daemon it runs once a minute; so here it is asked directly."""
    path = tmp_path / "python"
    if script is None:
        path.write_text("not a program")
    else:
        executable(path, script)
    runner = Exchanged(path)
    simulator = ChildProcessSimulator(runner, timeout_seconds=1.0)
    simulator.submit("first", model_inputs())
    assert simulator.wait_until_idle(30.0)
    failed = simulator.answers()["first"]
    path.unlink()
    # The wall time of an idle priority child on a busy host may be longer than its CPU time.
    eventually(lambda: answered(simulator, "first"), "the next run answers")
    runner.stop()
    simulator.close()

    assert isinstance(failed, Missing)
    assert failed.reason in reasons
    assert processes_naming(str(path)) == []


def answered(simulator: ChildProcessSimulator, name: str) -> bool:
    simulator.submit(name, model_inputs())
    assert simulator.wait_until_idle(30.0)
    return isinstance(simulator.answers()[name], Simulated)


CALLER = """
import sys
sys.path.insert(0, sys.argv[1])
from agent.simulator import ChildProcessSimulator
from probes.command import ProcessGroupRunner
from tests.unit.model_inputs_samples import model_inputs
simulator = ChildProcessSimulator(ProcessGroupRunner())
while True:
    simulator.submit("db", model_inputs())
    simulator.wait_until_idle(60.0)
"""


def test_a_simulator_whose_caller_is_killed_ends_with_it(tmp_path: Path) -> None:
    """A stopped one, too, which its own alarm would not end."""

    def is_tied(pid: int) -> bool:
        return os.getpriority(os.PRIO_PROCESS, pid) == simulator_child.NICENESS

    argv = [sys.executable, "-c", CALLER, str(ROOT)]
    with subprocess.Popen(argv, env=environment(tmp_path), cwd="/") as caller:
        try:
            with sabotage(caller.pid, SIMULATOR, signal.SIGSTOP, is_tied) as saboteur:
                eventually(lambda: saboteur.victims, "a simulator is stopped")
        finally:
            caller.kill()
    eventually(lambda: processes_naming(str(tmp_path)) == [], "the simulator is gone, too")

    assert caller.returncode == -signal.SIGKILL
