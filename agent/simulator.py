"""Runs the LSM simulator: inline for replay and commands, in a child process for the daemon.

``submit`` says what to simulate and returns at once; ``answers`` has what came of the last run for
each database.
"""

import os
import sys
import threading
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import msgspec

from agent.models.lsm import ModelInputs, Simulated, SimulatedRate
from agent.models.lsm_simulator import simulate
from agent.readings import Missing
from probes.command import CommandRunner
from probes.errors import ProbeError

DEFAULT_TIMEOUT_SECONDS = 10.0
"""Wall time of one run. It takes well under a second of CPU, but at the lowest priority."""

DEFAULT_MEMORY_LIMIT_BYTES = 256 * 1024 * 1024
"""Address space of the child; it uses about 20 MiB."""

_GRACE_SECONDS = 2.0
"""The child ends itself at its timeout; the runner does it so much later."""

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "simulator_child.py")
_ROOT = os.path.dirname(os.path.dirname(_CHILD))
_SITE = os.path.dirname(os.path.dirname(os.path.abspath(msgspec.__file__)))

_NOT_YET = Missing("not_simulated_yet", "the simulator has not answered for this database yet")


class Simulator(Protocol):
    """What the tick needs of it."""

    def submit(self, database: str, inputs: ModelInputs) -> None:
        """Ask for a simulation; a newer request takes the place of one that waits."""
        ...

    def answers(self) -> Mapping[str, Simulated | Missing]:
        """The latest answer, or why there is none, of every database submitted."""
        ...

    def keep(self, databases: Collection[str]) -> None:
        """Forget all others: they are not watched any more."""
        ...

    def close(self) -> None:
        """Give up what waits and runs."""
        ...


class InlineSimulator:
    """Simulates inside ``submit``, so that a replay does not depend on how fast it runs."""

    def __init__(self) -> None:
        self._answers: dict[str, Simulated | Missing] = {}

    def submit(self, database: str, inputs: ModelInputs) -> None:
        """Simulate at once."""
        try:
            self._answers[database] = Simulated(inputs, simulate(inputs))
        except (ValueError, ArithmeticError) as error:
            self._answers[database] = Missing("simulator_failed", str(error))

    def answers(self) -> Mapping[str, Simulated | Missing]:
        """The latest answer of every database submitted."""
        return dict(self._answers)

    def keep(self, databases: Collection[str]) -> None:
        """Forget the answers of all others."""
        _keep(self._answers, databases)

    def close(self) -> None:
        """Nothing runs."""


class ChildProcessSimulator:
    """Simulates in a child process of the lowest priority, one at a time, off the caller's thread.

    ``runner`` kills a child that is late; give it one of its own, since ``close`` does not stop it:
    stop the runner first, then close.
    """

    def __init__(
        self,
        runner: CommandRunner,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    ) -> None:
        self._runner = runner
        self._timeout_seconds = timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._changed = threading.Condition()
        self._answers: dict[str, Simulated | Missing] = {}
        self._waiting: dict[str, ModelInputs] = {}
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, database: str, inputs: ModelInputs) -> None:
        """Have these inputs simulated; what waits of this database is dropped for it."""
        with self._changed:
            if self._closed:
                return
            self._waiting[database] = inputs
            self._answers.setdefault(database, _NOT_YET)
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="simulator", daemon=True)
                thread.start()
                self._thread = thread
            self._changed.notify_all()

    def answers(self) -> Mapping[str, Simulated | Missing]:
        """The latest answer of every database submitted."""
        with self._changed:
            return dict(self._answers)

    def keep(self, databases: Collection[str]) -> None:
        """Forget the answers of all others, and what waits of them."""
        with self._changed:
            _keep(self._answers, databases)
            _keep(self._waiting, databases)

    def close(self) -> None:
        """Start nothing more, and wait for the run under way as long as its limits let it last."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(self._timeout_seconds + 2 * _GRACE_SECONDS)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if self._closed:
                    return
                database = next(iter(self._waiting))
                inputs = self._waiting.pop(database)
            answer = self._simulate(inputs)
            with self._changed:
                self._answers[database] = answer

    def _simulate(self, inputs: ModelInputs) -> Simulated | Missing:
        argv = (
            sys.executable,
            "-P",  # keeps the working directory out of the module path
            "-S",  # reads no .pth files: they cost more than the simulation
            _CHILD,
            str(os.getpid()),
            _ROOT,
            _SITE,
            repr(self._timeout_seconds),
            str(self._memory_limit_bytes),
            msgspec.json.encode(inputs).decode(),
        )
        try:
            completed = self._runner.run(
                argv, timeout_seconds=self._timeout_seconds + _GRACE_SECONDS, cwd="/"
            )
        except ProbeError as error:
            return Missing(f"simulator_{error.reason}", error.detail)
        if completed.returncode < 0:
            return Missing(
                "simulator_killed",
                f"the simulator was ended by signal {-completed.returncode}: it has "
                f"{self._timeout_seconds:g} s",
            )
        try:
            return Simulated(inputs, msgspec.json.decode(completed.stdout, type=SimulatedRate))
        except msgspec.DecodeError:
            told = (completed.stdout or completed.stderr).decode("utf-8", "replace")
            return Missing("simulator_failed", " ".join(told.split())[-300:])


def _keep(by_database: dict[str, Any], databases: Collection[str]) -> None:
    for gone in by_database.keys() - databases:
        del by_database[gone]
