"""The one seam that runs external programs, on real small programs."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

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


def test_a_start_that_hangs_delays_neither_the_metrics_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk with the program is dead; a program that starts all the same is killed."""
    begun, go_on = threading.Event(), threading.Event()
    programs: list[subprocess.Popen[bytes]] = []
    reasons: list[str] = []
    popen = subprocess.Popen

    def hang(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        begun.set()
        go_on.wait(60)
        programs.append(popen(argv, **options))
        return programs[-1]

    def run() -> None:
        try:
            runner.run(["sleep", "300"], timeout_seconds=600)
        except ProbeFailed as failure:
            reasons.append(failure.reason)

    def ask_and_stop() -> None:
        assert runner.cpu_seconds() == {}
        runner.stop()
        reasons.append("asked")

    monkeypatch.setattr("probes.command.subprocess.Popen", hang)
    runner = ProcessGroupRunner()
    running = threading.Thread(target=run, daemon=True)
    asking = threading.Thread(target=ask_and_stop, daemon=True)
    running.start()
    try:
        assert begun.wait(20)
        asking.start()
        asking.join(20)
        assert reasons == ["asked"]
    finally:
        go_on.set()
    running.join(20)
    assert reasons == ["asked", "stopped"]
    assert programs[0].returncode == -signal.SIGKILL


def test_stopping_waits_a_moment_for_a_start_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing starts behind the back of an agent that ends."""
    begun, order = threading.Event(), []
    popen = subprocess.Popen

    def start(argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        begun.set()
        give_up = time.monotonic() + 20
        while not runner._stopping and time.monotonic() < give_up:
            time.sleep(0.01)
        order.append("started")
        return popen(argv, **options)

    def run() -> None:
        with pytest.raises(ProbeFailed, match="stopping"):
            runner.run(["sleep", "300"], timeout_seconds=600)

    monkeypatch.setattr("probes.command.TERMINATE_GRACE_SECONDS", 20.0)
    monkeypatch.setattr("probes.command.subprocess.Popen", start)
    runner = ProcessGroupRunner()
    running = threading.Thread(target=run)
    running.start()
    assert begun.wait(20)
    runner.stop()
    order.append("stopped")
    running.join(20)
    assert order == ["started", "stopped"]


def test_a_start_that_fails_is_not_waited_for() -> None:
    """Nor does a failure that nobody foresaw count as a start for good."""
    runner = ProcessGroupRunner()
    for argv in (["sh", "nul\0byte"], ["sh", 7]):
        with pytest.raises((ProbeFailed, TypeError)):
            runner.run(argv, timeout_seconds=30)  # type: ignore[arg-type]
    assert runner._starting == 0


def guards() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "guard"]


def wait_until_no_guard_looks() -> None:
    give_up = time.monotonic() + 20
    while guards():
        assert time.monotonic() < give_up, "a guard's thread stays"
        time.sleep(0.01)


def test_a_guard_that_hangs_is_harm() -> None:
    """What it looks at waits for the device, and so does the database."""
    go_on = threading.Event()

    def look() -> str | None:
        go_on.wait(60)
        return None

    try:
        done = ProcessGroupRunner().run(["sleep", "300"], timeout_seconds=600, guard=look)
        assert guards()
    finally:
        go_on.set()
    assert done.ended_because == "a look at the databases took more than 0.5 s"
    assert done.returncode == -signal.SIGTERM
    wait_until_no_guard_looks()


def test_a_guard_that_hangs_does_not_delay_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the order to stop, which is looked at together with it."""
    monkeypatch.setattr("probes.lookout.LOOK_PATIENCE_SECONDS", 600.0)
    go_on = threading.Event()

    def look() -> str | None:
        go_on.wait(60)
        return None

    try:
        with pytest.raises(ProbeFailed) as caught:
            ProcessGroupRunner().run(["sleep", "300"], timeout_seconds=0.3, guard=look)
    finally:
        go_on.set()
    assert caught.value.reason == "timeout"
    wait_until_no_guard_looks()


def test_without_a_thread_for_its_guard_a_program_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a limit on threads; the next run may succeed."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("probes.lookout.threading.Thread.start", refuse)
    with pytest.raises(ProbeFailed) as caught:
        ProcessGroupRunner().run(
            ["touch", str(tmp_path / "ran")], timeout_seconds=30, guard=lambda: None
        )
    assert caught.value.reason == "program_not_started"
    assert not (tmp_path / "ran").exists()


def test_a_guard_that_breaks_ends_the_program(tmp_path: Path) -> None:
    """Nothing runs unguarded; the error is the caller's to tell."""

    def look() -> str | None:
        wait_for(tmp_path / "pid")
        raise ValueError("a bug")

    script = f"echo $$ > {tmp_path}/pid; sleep 300"
    with pytest.raises(ValueError, match="a bug"):
        ProcessGroupRunner().run(["sh", "-c", script], timeout_seconds=600, guard=look)
    wait_until_ended(int(wait_for(tmp_path / "pid")))
    wait_until_no_guard_looks()
