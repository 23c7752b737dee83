"""A simulator dies, hangs or talks nonsense: real ones, and scripts as their interpreter."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.models.lsm import Simulated
from agent.readings import Missing
from agent.simulator import ChildProcessSimulator
from probes.command import CompletedCommand, ProcessGroupRunner
from tests.integration.daemon import ROOT, environment, processes_naming
from tests.integration.faults import DEAF, SIMULATOR, eventually, executable, sabotage, signalled
from tests.unit.model_inputs_samples import model_inputs

pytestmark = pytest.mark.long


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
    eventually(lambda: reason_of(simulator, "first") != "not_simulated_yet", "it fails")
    failed = simulator.answers()["first"]
    path.unlink()
    # The wall time of an idle priority child on a busy host may be longer than its CPU time.
    eventually(lambda: answered(simulator, "first"), "the next run answers")
    runner.stop()
    simulator.close()

    assert isinstance(failed, Missing)
    assert failed.reason in reasons
    assert processes_naming(str(path)) == []


def reason_of(simulator: ChildProcessSimulator, name: str) -> str | None:
    answer = simulator.answers()[name]
    return answer.reason if isinstance(answer, Missing) else None


def answered(simulator: ChildProcessSimulator, name: str) -> bool:
    """Whether it is by now; until then it is asked again."""
    simulator.submit(name, model_inputs())
    return isinstance(simulator.answers()[name], Simulated)


CALLER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from agent.simulator import ChildProcessSimulator
from probes.command import ProcessGroupRunner
from tests.unit.model_inputs_samples import model_inputs
simulator = ChildProcessSimulator(ProcessGroupRunner())
while True:
    simulator.submit("db", model_inputs())
    time.sleep(0.05)
"""


def tied(pid: int) -> bool:
    """Whether it has asked the kernel to end it with its caller; what it does next can be seen."""
    try:
        return Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n"
    except OSError:
        return False  # it has ended


def test_a_simulator_whose_caller_is_killed_ends_with_it(tmp_path: Path) -> None:
    """A stopped one, too, which its own alarm would not end."""

    argv = [sys.executable, "-c", CALLER, str(ROOT)]
    with subprocess.Popen(argv, env=environment(tmp_path), cwd="/") as caller:
        try:
            with sabotage(caller.pid, SIMULATOR, signalled(signal.SIGSTOP), tied) as saboteur:
                eventually(lambda: saboteur.victims, "a simulator is stopped")
        finally:
            caller.kill()
    eventually(lambda: processes_naming(str(tmp_path)) == [], "the simulator is gone, too")

    assert caller.returncode == -signal.SIGKILL
