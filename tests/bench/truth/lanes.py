"""Runs scenarios one after the other in one or more lanes; an interruption ends them all."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench.truth.results import exists_or_is_under_way
from tests.bench.truth.run import ScenarioRun
from tests.bench.truth.scenarios import Scenario


class Lanes:
    """One that fails costs only itself. ``say`` gets (scenario, what) from any thread."""

    def __init__(
        self,
        program: Path,
        work: Path,
        out: Path,
        say: Callable[[str, str], None],
        *,
        only_missing: bool,
        with_ramp: bool,
    ) -> None:
        self._program = program
        self._work = work
        self._out = out
        self._say = say
        self._only_missing = only_missing
        self._with_ramp = with_ramp
        self._waiting: queue.SimpleQueue[Scenario] = queue.SimpleQueue()
        self._running: set[ScenarioRun] = set()
        self._interrupted = False
        self.failed: list[str] = []

    def run(self, scenarios: Iterable[Scenario], lanes: int) -> None:
        """Return when all have run; what is raised in this thread ends all of them first."""
        for scenario in scenarios:
            self._waiting.put(scenario)
        others = [threading.Event() for _ in range(lanes - 1)]
        for ended in others:
            threading.Thread(target=self._lane_until_end, args=(ended,)).start()
        try:
            self._lane()
            _wait_for(others)
        except BaseException:
            self._interrupted = True
            for run in tuple(self._running):
                run.abort()
            _wait_for(others)
            raise

    def _lane_until_end(self, ended: threading.Event) -> None:
        try:
            self._lane()
        finally:
            ended.set()

    def _lane(self) -> None:
        while not self._interrupted:
            try:
                scenario = self._waiting.get_nowait()
            except queue.Empty:
                return
            if not (self._only_missing and exists_or_is_under_way(self._out, scenario.name)):
                self._run(scenario)

    def _run(self, scenario: Scenario) -> None:
        def say(what: str) -> None:
            self._say(scenario.name, what)

        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        directory = self._out / scenario.name / stamp
        run = ScenarioRun(
            scenario, self._program, self._work, directory, say, with_ramp=self._with_ramp
        )
        self._running.add(run)
        try:
            truth = run.run().truth
        except (RuntimeError, OSError) as error:
            self.failed.append(scenario.name)
            say(f"failed: {error}")
        else:
            say(
                f"truth {truth.puts_per_second:.0f} puts/s, closed loop "
                f"{truth.closed_loop_puts_per_second:.0f}, limit {truth.bottleneck}"
            )
        finally:
            self._running.discard(run)


def _wait_for(events: Iterable[threading.Event]) -> None:
    """Not ``Thread.join``: interrupted by a signal, Python 3.11's takes a thread that runs for
    ended, and the next join returns at once."""
    for event in events:
        while not event.wait(1.0):
            pass
