"""The runs of fio on one device so far, over restarts: what keeps the next one waiting. Pure.

past = PastRuns(keeps=True)           # what a run measures outlives the agent
past.started(now, FioMode.FAST)
past.finished(now, Outcome.MEASURED)
past.backing_off_seconds(now, interval_seconds)
past.memory(now, wall_seconds)        # RunsMemory, from which ``recalled`` goes on
"""

from enum import StrEnum
from typing import Final, Self

from agent.learning.memory import ProbingMemory, RunsMemory
from probes.fio import FioMode

RETRY_SECONDS: Final = 300.0
"""After a run that left nothing; doubled by each further one, up to the interval."""


class Outcome(StrEnum):
    """What became of a run."""

    MEASURED = "measured"
    ABORTED = "aborted"
    FAILED = "failed"
    REFUSED = "refused"  # before it wrote anything
    INTERRUPTED = "interrupted"  # the agent itself ended while fio wrote
    LOST = "lost"  # measured, and not kept over a restart


class PastRuns:
    """One device's. Times are monotonic.

    ``keeps``: what is measured is found again after a restart. Where it is not, a run of each start
    must not be the first one again and again.
    """

    def __init__(self, *, keeps: bool = True) -> None:
        self.long_run_done = False
        self.last_outcome: str | None = None
        self._keeps = keeps
        self._fruitless = 0  # runs in a row of which nothing is left
        self._last_end: float | None = None
        self._running: tuple[float, FioMode] | None = None
        self._measured_here = False

    @classmethod
    def recalled(cls, memory: ProbingMemory, now: float, wall_seconds: float) -> Self:
        """Go on from what was kept, perhaps by an earlier process."""
        runs = memory.runs
        past = cls(keeps=memory.device.lasting)
        past.long_run_done, past.last_outcome = runs.long_run_done, runs.outcome
        past._fruitless = runs.fruitless
        last = runs.ended_wall_seconds
        if runs.running_since_wall_seconds is not None:
            past._fruitless += 1
            past.last_outcome, last = Outcome.INTERRUPTED, runs.running_since_wall_seconds
        elif runs.outcome == Outcome.MEASURED and memory.capacity is None:
            past._fruitless += 1
            past.last_outcome = Outcome.LOST
        if last is not None:
            age = memory.age_seconds(last, wall_seconds)
            # Of an age that is not known it may have ended just now.
            past._last_end = now - (0.0 if age is None else age)
        past.retry_what_was_refused()
        return past

    def retry_what_was_refused(self) -> None:
        """It wrote nothing, and what refused it may have been mended: fio, or the configuration."""
        if self.last_outcome == Outcome.REFUSED:
            self._last_end = None

    def started(self, now: float, mode: FioMode) -> None:
        """A run began."""
        self._running = (now, mode)

    def finished(self, now: float, outcome: Outcome) -> None:
        """The run ended, or was refused before it wrote."""
        if outcome is not Outcome.MEASURED:
            self._fruitless += 1
        else:
            if self._keeps or self._measured_here:
                self._fruitless = 0
            self._measured_here = True
            if self._running is not None and self._running[1] is not FioMode.FAST:
                self.long_run_done = True
        self._running = None
        self._last_end, self.last_outcome = now, outcome

    def backing_off_seconds(self, now: float, interval_seconds: float) -> float:
        """How long no run starts because nothing is left of the last ones; 0: not at all."""
        if self._last_end is None or self.last_outcome == Outcome.MEASURED or not self._fruitless:
            return 0.0
        doublings = min(self._fruitless - 1, 20)
        pause = min(interval_seconds, RETRY_SECONDS * 2.0**doublings)
        return max(0.0, self._last_end + pause - now)

    def rested(self, now: float, seconds: float) -> bool:
        """Whether the last run ended so long ago."""
        return self._last_end is None or now - self._last_end >= seconds

    def memory(self, now: float, wall_seconds: float) -> RunsMemory:
        """What is to be kept."""

        def by_the_wall(at: float | None) -> float | None:
            return None if at is None else wall_seconds - (now - at)

        return RunsMemory(
            long_run_done=self.long_run_done,
            fruitless=self._fruitless,
            outcome=self.last_outcome,
            ended_wall_seconds=by_the_wall(self._last_end),
            running_since_wall_seconds=by_the_wall(
                None if self._running is None else self._running[0]
            ),
        )
