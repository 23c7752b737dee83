"""The one seam that runs external programs, on real small programs."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from probes import command
from probes.command import ProcessGroupRunner
from probes.errors import ProbeFailed


def wait_for(path: Path) -> str:
    """Wait until a program has written a whole line to ``path``."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        if path.exists() and (text := path.read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is not merely waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def wait_until_ended(pid: int) -> None:
    """Give the kernel the moment that it needs between the signal and the end."""
    give_up = time.monotonic() + 20
    while is_running(pid):
        assert time.monotonic() < give_up, f"{pid} still runs"
        time.sleep(0.01)


def test_both_outputs_and_the_exit_code_come_back() -> None:
    """Standard input is empty, so a program that reads it does not hang."""
    done = ProcessGroupRunner().run(
        ["sh", "-c", "cat; echo out; echo err >&2; exit 7"], timeout_seconds=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_a_signal_shows_as_a_negative_exit_code() -> None:
    """As in subprocess."""
    done = ProcessGroupRunner().run(["sh", "-c", "kill -9 $$"], timeout_seconds=30)
    assert done.returncode == -signal.SIGKILL


def test_directory_and_environment_are_passed_on(tmp_path: Path) -> None:
    """The environment replaces ours, it is not added."""
    done = ProcessGroupRunner().run(
        ["/bin/sh", "-c", 'pwd; echo "$ONLY$HOME"'],
        timeout_seconds=30,
        cwd=str(tmp_path),
        env={"ONLY": "this"},
    )
    assert done.stdout.decode().split() == [str(tmp_path), "this"]


@pytest.mark.parametrize(
    ("argv", "cwd", "reason"),
    [
        (["no-such-program-at-all"], None, "program_missing"),
        (["sh"], "/no/such/directory", "program_not_started"),
        (["/"], None, "program_not_started"),
        (["sh", "nul\0byte"], None, "program_not_started"),
    ],
)
def test_a_program_that_cannot_start_has_a_reason(
    argv: list[str], cwd: str | None, reason: str
) -> None:
    """A missing program and a missing directory are told apart."""
    with pytest.raises(ProbeFailed) as caught:
        ProcessGroupRunner().run(argv, timeout_seconds=30, cwd=cwd)
    assert caught.value.reason == reason


def test_a_hanging_program_is_killed_with_its_children(tmp_path: Path) -> None:
    """Both ignore SIGTERM here, and the child has closed its outputs."""
    script = (
        f"trap '' TERM; sleep 300 >/dev/null 2>&1 & echo $! > {tmp_path}/child; "
        f"echo $$ > {tmp_path}/leader; wait; wait; wait"
    )
    with pytest.raises(ProbeFailed) as caught:
        ProcessGroupRunner().run(["sh", "-c", script], timeout_seconds=1.0)
    assert caught.value.reason == "timeout"
    for name in ("child", "leader"):
        wait_until_ended(int(wait_for(tmp_path / name)))


def test_a_child_that_outlives_its_leader_neither_delays_nor_survives(tmp_path: Path) -> None:
    """It holds the output open, and waiting for the end of the file would wait for it."""
    script = f"sleep 300 & echo $! > {tmp_path}/child; echo done"
    done = ProcessGroupRunner().run(["sh", "-c", script], timeout_seconds=60)
    assert (done.returncode, done.stdout) == (0, b"done\n")
    wait_until_ended(int(wait_for(tmp_path / "child")))


def test_a_program_that_closes_its_outputs_is_waited_for() -> None:
    """The end of the outputs is not the end of the program."""
    done = ProcessGroupRunner().run(
        ["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 3"], timeout_seconds=60
    )
    assert done.returncode == 3


def test_endless_output_is_cut_and_the_program_not_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What exceeds the limit is read and dropped, so that the program can end."""
    monkeypatch.setattr(command, "MAX_OUTPUT_BYTES", 1000)
    done = ProcessGroupRunner().run(
        ["sh", "-c", "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2; exit 5"],
        timeout_seconds=60,
    )
    assert (done.returncode, len(done.stdout), len(done.stderr)) == (5, 1000, 1000)


def test_a_program_that_never_stops_printing_meets_its_timeout() -> None:
    """Reading it must not keep the deadline from being looked at."""
    with pytest.raises(ProbeFailed) as caught:
        ProcessGroupRunner().run(["cat", "/dev/zero"], timeout_seconds=0.3)
    assert caught.value.reason == "timeout"


def test_stopping_ends_what_runs_and_refuses_more(tmp_path: Path) -> None:
    """The thread inside run gets its own reason, the process is gone when stop returns."""
    runner = ProcessGroupRunner()
    reasons = []

    def run() -> None:
        try:
            runner.run(["sh", "-c", f"echo $$ > {tmp_path}/pid; sleep 300"], timeout_seconds=600)
        except ProbeFailed as failure:
            reasons.append(failure.reason)

    thread = threading.Thread(target=run)
    thread.start()
    pid = int(wait_for(tmp_path / "pid"))
    runner.stop()
    thread.join(20)
    assert reasons == ["stopped"]
    assert not is_running(pid)
    with pytest.raises(ProbeFailed) as caught:
        runner.run(["true"], timeout_seconds=1)
    assert caught.value.reason == "stopped"


def test_many_threads_share_one_runner() -> None:
    """Each gets its own program's output."""
    runner = ProcessGroupRunner()
    outputs: dict[int, bytes] = {}

    def run(number: int) -> None:
        outputs[number] = runner.run(["echo", str(number)], timeout_seconds=60).stdout

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outputs == {number: f"{number}\n".encode() for number in range(8)}


def test_no_descriptor_stays_open() -> None:
    """A daemon runs this for years."""
    runner = ProcessGroupRunner()
    runner.run(["true"], timeout_seconds=60)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        runner.run(["true"], timeout_seconds=60)
        with pytest.raises(ProbeFailed):
            runner.run(["no-such-program-at-all"], timeout_seconds=1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_leader_that_somebody_else_reaped_still_counts_as_ended() -> None:
    """A host program may ignore SIGCHLD, which makes the kernel reap."""
    code = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from probes.command import ProcessGroupRunner\n"
        "print(ProcessGroupRunner().run(['echo', 'x'], timeout_seconds=30).stdout)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"b'x\\n'\n"
