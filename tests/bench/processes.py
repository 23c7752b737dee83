"""The processes of the live measurement: starting them, what they use, ending them for good."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
END_SECONDS = 5.0


class Program:
    """A started program in a session of its own; ``end`` leaves nothing of it running."""

    def __init__(
        self, argv: Sequence[str], output: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.output = output
        self.started = time.monotonic()
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=None if environ is None else dict(environ),
                start_new_session=True,
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise RuntimeError with its last words when it has ended."""
        if self._process.poll() is not None:
            words = self.output.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self._process.args!r} ended early:\n{words}")

    def wait(self, seconds: float) -> int:
        """Its exit code; RuntimeError when it has not ended by then."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            raise RuntimeError(f"{late.cmd!r} has not ended after {seconds:g} s") from late

    def end(self) -> None:
        """SIGTERM, and SIGKILL to the whole group when that is not enough."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                pass  # the kill below does not ask
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, as a crash would be."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # the group ended with its leader
        self._process.wait()

    # -- what it uses

    def cpu_seconds(self) -> float:
        """CPU of all its threads, ended ones included, without children; to the nanosecond.

        The process's CPU clock by its id, as clock_getcpuclockid(3) makes it; /proc/<pid>/stat
        counts the same time in units of 10 ms.
        """
        return time.clock_gettime((~self.pid << 3) | 2)

    def stat_cpu_seconds(self) -> tuple[float, float]:
        """CPU by /proc/<pid>/stat: its own (utime + stime), its reaped children's."""
        fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        user, system, children_user, children_system = (int(field) for field in fields[11:15])
        return (
            (user + system) / CLOCK_TICKS_PER_SECOND,
            (children_user + children_system) / CLOCK_TICKS_PER_SECOND,
        )

    def memory_bytes(self) -> dict[str, int]:
        """Rss and Pss now, and VmHWM, the highest Rss so far."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        text += Path(f"/proc/{self.pid}/status").read_text()
        return {
            found[1]: int(found[2]) * 1024
            for found in re.finditer(r"^(Rss|Pss|VmHWM):\s+(\d+) kB$", text, re.MULTILINE)
        }


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def smaxd_command() -> list[str]:
    """The installed entry point beside this Python, else the module."""
    script = Path(sys.executable).with_name("smaxd")
    return [str(script)] if script.exists() else [sys.executable, "-m", "agent"]


def need(program: str, package: str) -> str:
    """The program's path, or the end with one line that says what to install."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        sys.exit(f"footprint: {program} is missing; install it first: apt-get install {package}")
    return path
