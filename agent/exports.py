"""Exports besides the listener: each in a thread of its own, so that none disturbs a tick."""

import random
import threading
from dataclasses import dataclass
from typing import Protocol

import structlog

from agent.export_metrics import ExportStatus
from agent.export_pace import next_delay_seconds
from probes.clock import Clock

Logger = structlog.typing.FilteringBoundLogger

NOTHING_YET_SECONDS = 1.0
"""Until the next look whether the first tick is over."""


class ExportFailed(Exception):
    """It did not arrive; the message says where and why, without a secret."""

    def __init__(self, reason: str, asked_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.asked_seconds = asked_seconds
        """For how long the receiver wants to be left alone."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of an export that arrived."""

    rejected_points: int = 0
    """Values that the receiver did not take."""
    complaint: str = ""
    """What it says about them, or about the rest."""


class Exporter(Protocol):
    """Takes the values of now to where they are wanted."""

    name: str

    def export(self) -> Arrived | None:
        """Do it once; None while there is nothing yet. ExportFailed."""

    def abort(self) -> None:
        """Have an export under way end soon; from any thread."""

    def close(self) -> None:
        """Clean up, in the same thread; raises nothing."""


class ExportThread:
    """Calls an exporter every ``interval_seconds``, rarer while it fails."""

    def __init__(
        self, exporter: Exporter, interval_seconds: float, log: Logger, clock: Clock
    ) -> None:
        self.exporter = exporter
        self._failures_total = 0
        self._rejected_points_total = 0
        self._last_success_wall_seconds: float | None = None
        self._interval_seconds = interval_seconds
        self._log = log
        self._clock = clock
        self._failures = 0
        self._reason: str | None = None
        self._is_partial = False
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"export {exporter.name}", daemon=True
        )
        self._thread.start()

    def pace(self, interval_seconds: float) -> None:
        """Another interval, from the next export on."""
        self._interval_seconds = interval_seconds

    def status(self) -> ExportStatus:
        """For the metrics; from any thread."""
        return ExportStatus(
            self.exporter.name,
            self._failures_total,
            self._rejected_points_total,
            self._last_success_wall_seconds,
        )

    def stop(self) -> None:
        """Ask it to end; does not wait."""
        self._stop.set()
        self.exporter.abort()

    def join(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(seconds)

    def _run(self) -> None:
        delay = 0.0
        while not self._stop.wait(delay):
            delay = self._once()
        self.exporter.close()

    def _once(self) -> float:
        asked = 0.0
        try:
            arrived = self.exporter.export()
        except ExportFailed as error:
            asked = error.asked_seconds
            self._failed(str(error))
        except Exception as error:  # a defect costs this export only
            self._failed(type(error).__name__, defect=error)
        else:
            if arrived is None:
                return NOTHING_YET_SECONDS
            self._succeeded(arrived)
        spread = random.random()  # noqa: S311 - no secret
        return next_delay_seconds(self._interval_seconds, self._failures, asked, spread)

    def _failed(self, reason: str, defect: Exception | None = None) -> None:
        self._failures += 1
        self._failures_total += 1
        if reason != self._reason:
            self._log.warning(
                "export_failed", exporter=self.exporter.name, reason=reason, exc_info=defect
            )
        self._reason = reason

    def _succeeded(self, arrived: Arrived) -> None:
        is_partial = arrived != Arrived()
        if is_partial and not self._is_partial:
            self._log.warning(
                "export_partial",
                exporter=self.exporter.name,
                rejected_points=arrived.rejected_points,
                reason=arrived.complaint,
            )
        if self._reason is not None or (self._is_partial and not is_partial):
            self._log.info("export_recovered", exporter=self.exporter.name)
        self._rejected_points_total += arrived.rejected_points
        self._failures, self._reason, self._is_partial = 0, None, is_partial
        self._last_success_wall_seconds = self._clock.wall()
