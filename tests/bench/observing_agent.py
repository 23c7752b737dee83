"""smaxd as it is shipped, beside an observed database: only port, state and scratch are ours."""

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from probes.rocksdb.discover import discover_databases
from tests.bench.observer_place import Place
from tests.bench.processes import Program, free_port, smaxd_command
from tests.bench.scrapes import HttpTarget

START_GIVE_UP_SECONDS = 30.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class AgentUse:
    """What the agent has used up to a moment (monotonic seconds), its reaped children included."""

    at: float
    cpu_seconds: float
    resident_bytes: float
    fio_bytes: float


class ObservingAgent:
    """One daemon; the constructor does not wait for it: the load goes on while it starts."""

    def __init__(self, place: Place, database: Path, output: Path) -> None:
        scratch, state = place.directory / "scratch", place.directory / "state"
        for path in (scratch, state):
            path.mkdir(exist_ok=True)
            path.chmod(0o700)
        self._port = free_port()
        argv = [*smaxd_command(), "run", "--web.listen-address", f"127.0.0.1:{self._port}"]
        argv += ["--scratch", str(scratch), "--state", str(state)]
        others = [d.path for d in discover_databases().databases if d.path != str(database)]
        if others:  # as on a host of its own: it is not to watch what else runs here
            argv += ["--db", str(database)]
        environ = {**os.environ, "RUNTIME_DIRECTORY": str(state)}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.program = Program(place.inside(argv), output, environ)

    def pause(self) -> None:
        """Stop it and its children where they are: they take no CPU and do no I/O."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        # The parent first: stopped, it starts no more children.
        for process in _family(self.program.pid):
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                pass  # a child that has just ended

    def use(self) -> AgentUse:
        """What it has used so far; waits for its first tick."""
        page = self._page()
        own, children = self.program.stat_cpu_seconds()
        return AgentUse(
            time.monotonic(),
            own + children,
            float(self.program.memory_bytes()["Rss"]),
            sum(
                float(found)
                for found in re.findall(
                    r'^smaxd_written_bytes_total\{[^}]*purpose="fio"[^}]*\} (\S+)$',
                    page,
                    re.MULTILINE,
                )
            ),
        )

    def _page(self) -> str:
        give_up = self.program.started + START_GIVE_UP_SECONDS
        while True:
            self.program.check()
            target = HttpTarget(self._port)
            try:
                page = target.scrape()[1]
            except OSError:
                page = ""  # it is not listening yet
            finally:
                target.close()
            if "smaxd_ticks_total" in page:
                return page
            if time.monotonic() > give_up:
                raise RuntimeError("the daemon shows no page")
            time.sleep(POLL_SECONDS)


def _family(pid: int) -> Iterator[psutil.Process]:
    """A process, and then all its children of now."""
    try:
        leader = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    yield leader
    yield from leader.children(recursive=True)
