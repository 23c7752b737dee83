"""The one place that runs external programs."""

import errno
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from probes import tied
from probes.errors import ProbeFailed
from probes.lookout import Lookout

TERMINATE_GRACE_SECONDS = 0.5
"""How long a program may take to end after SIGTERM before its process group gets SIGKILL."""

KILL_WAIT_SECONDS = 1.0
"""How long to wait for the end after SIGKILL: a process stuck in the kernel may take longer."""

GUARD_LOOK_SECONDS = 0.05
"""How often a guard is asked whether the program harms somebody."""

GUARD_GRACE_SECONDS = 0.12
"""How long a program may take after SIGTERM when its guard ends it: together under 200 ms."""

MAX_OUTPUT_BYTES = 4 * 1024 * 1024
"""More output than this is cut: a program gone mad must not fill our memory."""

_CHUNK_BYTES = 64 * 1024
_READS_PER_TURN = 64
"""The deadline is looked at in between, also when a program prints faster than it is read."""

_TIED = os.path.abspath(tied.__file__)

_LONGEST_PAUSE_SECONDS = 0.1
"""The end of a program that leaves its pipes open, or an order to stop, is noticed this late."""


Guard = Callable[[], str | None]
"""Asked while a program runs, in a thread of its own; a sentence when the program has to end."""


@dataclass(frozen=True, slots=True)
class CompletedCommand:
    """How a program ended. ``returncode`` is negative for a signal, as in subprocess.

    ``ended_because`` is what the guard said, None when the program ended by itself.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    ended_because: str | None = None


class CommandRunner(Protocol):
    """Runs a program to its end, or kills it."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> CompletedCommand:
        """Return how it ended, or was ended by ``guard``.

        Raises ProbeFailed for "program_missing", "program_not_started", "timeout", "stopped".
        """
        ...


class ProcessGroupRunner:
    """Runs each program in a process group of its own, so that the whole group can be killed.

    Threads may share one runner. Whatever way ``run`` ends, nothing of the program's process group
    is left running; a program that moves its children to other sessions escapes this. When the
    agent itself is killed, the kernel kills the program (``probes.tied``).
    """

    def __init__(self) -> None:
        # A leader is in _running only until it is about to be reaped, so that a signal sent under
        # the lock never meets a recycled process id.
        self._changed = threading.Condition()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._starting = 0
        self._stopping = False
        # Whoever asks for the metrics waits for nothing else.
        self._account = threading.Lock()
        self._cpu_seconds: defaultdict[str, float] = defaultdict(float)

    def cpu_seconds(self) -> Mapping[str, float]:
        """What the programs used that have ended, by name; seconds of CPU."""
        with self._account:
            return dict(self._cpu_seconds)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> CompletedCommand:
        """Run ``argv`` without a shell, with an empty standard input."""
        lookout = None if guard is None else _lookout(argv[0], guard)
        try:
            return self._run(argv, timeout_seconds, cwd, env, lookout)
        finally:
            if lookout is not None:
                lookout.close()

    def _run(
        self,
        argv: Sequence[str],
        timeout_seconds: float,
        cwd: str | None,
        env: Mapping[str, str] | None,
        lookout: Lookout | None,
    ) -> CompletedCommand:
        process = self._start(argv, cwd, env)
        try:
            output = self._collect(process, time.monotonic() + timeout_seconds, lookout)
        finally:
            _kill_group(process)
            with self._changed:
                self._running.discard(process)
                self._changed.notify_all()
            used = _reap(process)
            with self._account:
                self._cpu_seconds[_program(argv)] += used
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        if self._stopping:
            raise ProbeFailed("stopped", f"{argv[0]} was ended: the agent is stopping")
        if output is None:
            raise ProbeFailed(
                "timeout", f"{argv[0]} was killed after {timeout_seconds:g} s without an end"
            )
        _raise_if_not_started(argv[0], cwd, process.returncode, output[1])
        return CompletedCommand(process.returncode, *output)

    def stop(self) -> None:
        """End everything that runs and refuse to start more; returns within two seconds."""
        with self._changed:
            self._stopping = True
            for process in self._running:
                _signal_group(process, signal.SIGTERM)
            # The thread inside run() sees the flag, or the end, and kills what stays.
            self._changed.wait_for(
                lambda: not self._running and not self._starting,
                TERMINATE_GRACE_SECONDS + 2 * _LONGEST_PAUSE_SECONDS,
            )

    def _start(
        self, argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        with self._changed:
            if self._stopping:
                raise ProbeFailed("stopped", f"{argv[0]} not started: the agent is stopping")
            self._starting += 1
        process: subprocess.Popen[bytes] | None = None
        try:
            # Not under the lock: a start may wait for a disk, and stop() goes on without it.
            process = _popen(argv, cwd, env)
        finally:
            self._register(process)
        return process

    def _register(self, process: subprocess.Popen[bytes] | None) -> None:
        with self._changed:
            self._starting -= 1
            if process is not None:
                self._running.add(process)
                if self._stopping:  # stop() came meanwhile and did not see it
                    _signal_group(process, signal.SIGKILL)
            self._changed.notify_all()

    def _collect(
        self, process: subprocess.Popen[bytes], deadline: float, lookout: Lookout | None
    ) -> tuple[bytes, bytes, str | None] | None:
        """Read both outputs until the leader ends; None when it has to be killed.

        Beside them, what the guard said when it ended the program.
        """
        stdout, stderr = bytearray(), bytearray()
        pause_seconds = 0.001
        longest_pause_seconds = _LONGEST_PAUSE_SECONDS if lookout is None else GUARD_LOOK_SECONDS
        harm: str | None = None
        next_look = 0.0
        with selectors.DefaultSelector() as selector:
            for pipe, text in ((process.stdout, stdout), (process.stderr, stderr)):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe, selectors.EVENT_READ, text)
            while True:
                # Asked before reading: what was written before the end is then in the pipe.
                ended = _has_ended(process)
                if not ended:
                    now = time.monotonic()
                    if lookout is not None and harm is None and now >= next_look:
                        harm = lookout.look()
                        now = time.monotonic()
                        next_look = now + GUARD_LOOK_SECONDS
                        if harm is not None:
                            _signal_group(process, signal.SIGTERM)
                            deadline = min(deadline, now + GUARD_GRACE_SECONDS)
                    remaining = deadline - now
                    if remaining <= 0 and harm is not None:
                        _signal_group(process, signal.SIGKILL)
                        return bytes(stdout), bytes(stderr), harm
                    if remaining <= 0 or self._stopping:
                        return None
                    if selector.get_map():
                        selector.select(min(longest_pause_seconds, remaining))
                    else:  # it closed its outputs, so it is about to end
                        time.sleep(min(pause_seconds, remaining))
                        pause_seconds = min(pause_seconds * 2, longest_pause_seconds)
                for key in list(selector.get_map().values()):
                    if not _drain(key.fd, key.data):
                        selector.unregister(key.fileobj)
                if ended:
                    return bytes(stdout), bytes(stderr), harm


def _lookout(program: str, guard: Guard) -> Lookout:
    try:
        return Lookout(guard)
    except RuntimeError as error:  # a limit on threads: nothing runs unguarded
        raise ProbeFailed("program_not_started", f"{program} cannot be guarded: {error}") from error


def _popen(
    argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    """Have a program killed at the end of the thread that waits for it, the agent's own included.

    Our own children see to that themselves: a second start of the interpreter costs more than
    some of them do. Nobody else changes its directory by Popen's ``cwd``: until a child has changed
    to it, every thread of ours stands still (vfork under the interpreter's lock), on a dead device
    for good.

    A group in our session, not a session: should a child be stopped before it has seen to that, the
    kernel ends it with us (setpgid(2): SIGHUP and SIGCONT to an orphaned group with a stopped
    member).
    """
    own = argv[0] == sys.executable
    # -I -S: reads nothing of the environment and of site-packages.
    launcher = () if own else (sys.executable, "-I", "-S", _TIED, str(os.getpid()), cwd or "")
    try:
        return subprocess.Popen(
            [*launcher, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd if own else None,
            env=None if env is None else dict(env),
            process_group=0,
        )
    except (OSError, ValueError) as error:
        if own and isinstance(error, FileNotFoundError) and error.filename == argv[0]:
            raise ProbeFailed(
                "program_missing", f"{argv[0]} not found; install it or fix PATH"
            ) from error
        raise ProbeFailed("program_not_started", f"{argv[0]} cannot be started: {error}") from error


def _raise_if_not_started(program: str, cwd: str | None, returncode: int, stderr: bytes) -> None:
    if returncode != tied.NOT_STARTED_CODE or not stderr.startswith(tied.NOT_STARTED_MARK):
        return
    what, number, text = stderr.removeprefix(tied.NOT_STARTED_MARK).decode().split(" ", 2)
    if what == tied.DIRECTORY:
        raise ProbeFailed("program_not_started", f"{program} cannot be started: {cwd}: {text}")
    if int(number) == errno.ENOENT:
        raise ProbeFailed("program_missing", f"{program} not found; install it or fix PATH")
    raise ProbeFailed("program_not_started", f"{program} cannot be started: {text}")


def _drain(descriptor: int, text: bytearray) -> bool:
    """Move what is there now, up to the limits; False at the end of the file."""
    for _ in range(_READS_PER_TURN):
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        text += chunk[: MAX_OUTPUT_BYTES - len(text)]
    return True


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the group: SIGTERM, a grace, SIGKILL. The leader is not yet reaped."""
    if not _has_ended(process):
        _signal_group(process, signal.SIGTERM)
        give_up = time.monotonic() + TERMINATE_GRACE_SECONDS
        while not _has_ended(process) and time.monotonic() < give_up:
            time.sleep(0.005)
    # Children may outlive their leader, so the group is killed even when the leader has ended.
    _signal_group(process, signal.SIGKILL)


def _reap(process: subprocess.Popen[bytes]) -> float:
    """Take leave of the leader; the CPU seconds that it used, with what it reaped itself."""
    give_up = time.monotonic() + KILL_WAIT_SECONDS
    while True:
        try:
            pid, status, use = os.wait4(process.pid, os.WNOHANG)
        except ChildProcessError:
            process.wait()  # somebody else took it; Popen then knows an exit code of its own
            return 0.0
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return use.ru_utime + use.ru_stime
        if time.monotonic() >= give_up:
            return 0.0  # stuck in the kernel, on a dead device: Popen reaps it later
        time.sleep(0.005)


def _program(argv: Sequence[str]) -> str:
    """What a program is called in an account: "fio", "secondary", "simulator"."""
    names = [os.path.basename(word) for word in argv[1:]] if argv[0] == sys.executable else []
    own = next((name for name in names if name.endswith("_child.py")), None)
    return os.path.basename(argv[0]) if own is None else own.removesuffix("_child.py")


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell without reaping: as long as the leader is a zombie, its group id cannot be recycled."""
    try:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, flags) is not None
    except ChildProcessError:
        return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # already gone
