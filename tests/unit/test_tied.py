"""A program dies with its caller, and is otherwise what it would have been without the tie."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from probes.command import ProcessGroupRunner
from probes.errors import ProbeFailed
from tests.unit.test_command import wait_for, wait_until_ended

ROOT = Path(__file__).parents[2]

CALLER = """
import sys
from probes.command import ProcessGroupRunner
script = f"trap '' TERM HUP; echo $$ > {sys.argv[1]}; exec sleep 300"
ProcessGroupRunner().run(["sh", "-c", script], timeout_seconds=300)
"""


def test_a_program_dies_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the caller no moment to clean up; the program ignores milder signals."""
    pid_file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", CALLER, str(pid_file)], cwd=ROOT) as caller:
        program = int(wait_for(pid_file))
        caller.kill()
    wait_until_ended(program)

    assert caller.returncode == -signal.SIGKILL


STOPPED_EARLY = """
import sys
from probes.command import ProcessGroupRunner
script = "import os, signal, sys; open(sys.argv[1], 'w').write(f'{os.getpid()}\\\\n'); "
script += "os.kill(os.getpid(), signal.SIGSTOP)"
ProcessGroupRunner().run([sys.executable, "-c", script, sys.argv[1]], timeout_seconds=300)
"""


def test_a_child_of_ours_that_is_stopped_before_it_ties_itself_ends_with_its_caller(
    tmp_path: Path,
) -> None:
    """It cannot see to that any more; the caller is in a session of its own, as a service is."""
    pid_file = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED_EARLY, str(pid_file)], cwd=ROOT, start_new_session=True
    ) as caller:
        child = int(wait_for(pid_file))
        wait_until_stopped(child)
        caller.kill()
    wait_until_ended(child)


def wait_until_stopped(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)


def test_a_program_outlives_every_other_thread_of_its_caller(tmp_path: Path) -> None:
    """Only the end of the thread that waits for it counts."""
    done = []

    def run() -> None:
        done.append(
            ProcessGroupRunner().run(["sh", "-c", "sleep 0.5; echo on"], timeout_seconds=30)
        )

    waiting = threading.Thread(target=run)
    waiting.start()
    for _ in range(20):
        passing = threading.Thread(target=time.sleep, args=(0.01,))
        passing.start()
        passing.join()
    waiting.join()

    assert [(one.returncode, one.stdout) for one in done] == [(0, b"on\n")]


def test_a_program_keeps_its_arguments_its_group_and_its_parent() -> None:
    """The tie adds no process of its own."""
    script = 'echo "$1|$2"; echo $PPID $$; ps -o pgid= -p $$'
    done = ProcessGroupRunner().run(["sh", "-c", script, "sh", "a b", ""], timeout_seconds=30)
    words, numbers, group = done.stdout.decode().splitlines()
    parent, program = numbers.split()

    assert words == "a b|"
    assert int(parent) == os.getpid()
    assert int(group) == int(program)


def test_a_program_gets_the_usual_actions_of_signals() -> None:
    """A Python in between would pass on its ignoring of SIGPIPE."""
    done = ProcessGroupRunner().run(["grep", "SigIgn", "/proc/self/status"], timeout_seconds=30)
    ignored = int(done.stdout.split()[1], 16)

    assert not ignored & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


def test_a_program_that_is_no_program_is_named_with_the_reason(tmp_path: Path) -> None:
    """Not the launcher's own exit code."""
    program = tmp_path / "fio"
    program.write_text("no interpreter line")
    with pytest.raises(ProbeFailed) as forbidden:
        ProcessGroupRunner().run([str(program)], timeout_seconds=30)
    program.chmod(0o755)
    with pytest.raises(ProbeFailed) as senseless:
        ProcessGroupRunner().run([str(program)], timeout_seconds=30)

    assert (forbidden.value.reason, senseless.value.reason) == ("program_not_started",) * 2
    assert forbidden.value.detail == f"{program} cannot be started: Permission denied"
    assert senseless.value.detail == f"{program} cannot be started: Exec format error"


def test_a_program_may_end_with_the_code_that_means_not_started() -> None:
    """Without our mark it is the program's own."""
    done = ProcessGroupRunner().run(["sh", "-c", "echo why >&2; exit 127"], timeout_seconds=30)

    assert (done.returncode, done.stderr) == (127, b"why\n")


def test_a_program_goes_before_anybody_else_when_memory_runs_out() -> None:
    """Neither a database nor the agent is to be killed for what a probe takes."""
    done = ProcessGroupRunner().run(["cat", "/proc/self/oom_score_adj"], timeout_seconds=30)

    assert done.stdout == b"1000\n"


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    """The program itself is not to blame."""
    (tmp_path / "file").touch()
    with pytest.raises(ProbeFailed) as caught:
        ProcessGroupRunner().run(["true"], timeout_seconds=30, cwd=f"{tmp_path}/file")

    assert caught.value.reason == "program_not_started"
    assert caught.value.detail == f"true cannot be started: {tmp_path}/file: Not a directory"
