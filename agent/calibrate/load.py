"""Runs the scratch database under load: fill, closed loop, open loop; watched all the while.

``ScratchLoad.run()`` starts the child (``scratch_writer``), takes it through the phases of a
``Schedule``, reads it from outside with the same probes as any database, and ends it. It asks its
``guard`` ten times a second whether it must end at once, and holds the cap of written bytes by
itself. Whatever happens, the child is gone when ``run`` returns or raises.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent.calibrate import writer as scratch_writer
from agent.calibrate.figures import LoadReading, Measured
from agent.calibrate.load_probes import LoadProbes
from agent.calibrate.plan import CHECK_LOAD_RATIO, Schedule
from agent.calibrate.writer_process import START_SECONDS, LoadFailed, kill, raise_if_ended, spawn
from probes.clock import Clock

STEP_SECONDS: Final = 0.1
"""Between two looks at everything that may end the run; an abort takes two of them at most."""

POINT_SECONDS: Final = 0.25
READING_SECONDS: Final = 1.0

CAP_AHEAD_SECONDS: Final = 0.25
"""The run ends when it would reach the cap within this time at its fastest rate so far, so that
what is written between two looks, and while the child ends, stays below the cap."""


class _Ended(Exception):
    """The run ends before its time; the text is the reason."""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the child is to do. ``directory`` is private, the database is made in it."""

    directory: str
    key_bytes: int
    value_bytes: int
    incompressible_ratio: float
    key_order: str
    batch_puts: int
    wal_enabled: bool
    wal_bytes_per_sync: int
    compaction_level0_files: int
    slowdown_level0_files: int
    device_devnum: str
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Progress:
    """What to show of a run: bytes are written ones, the rate is of the last seconds."""

    phase: str
    elapsed_seconds: float
    total_seconds: float
    puts_per_second: float
    written_bytes: int
    level0_files: int


class ScratchLoad:
    """One run. ``options`` is the text of the OPTIONS file to run with.

    ``guard`` gives a reason to end at once, or None; ``show`` gets the progress.
    """

    def __init__(
        self,
        settings: LoadSettings,
        options: str,
        clock: Clock,
        guard: Callable[[], str | None],
        show: Callable[[Progress], None],
    ) -> None:
        self._settings = settings
        self._options = options
        self._clock = clock
        self._guard = guard
        self._show = show
        self.database_path = os.path.join(settings.directory, "db")
        self._measured = Measured()
        self._readings: list[LoadReading] = []
        self._started = 0.0
        self._fastest = 0.0
        self._written = 0
        self._looked = (0.0, 0)
        self._phase = "start"

    @property
    def written_bytes(self) -> int:
        """What the run has written so far, also when it failed."""
        return self._written

    def run(self) -> Measured:
        """Run all phases; LoadFailed when the child fails. The child is gone afterwards."""
        options_directory = os.path.join(self._settings.directory, "options")
        os.mkdir(options_directory, 0o700)
        with open(
            os.path.join(options_directory, "OPTIONS-000001"),
            "w",
            encoding="utf-8",
            errors="surrogateescape",
        ) as file:
            file.write(self._options)
        descriptor = os.memfd_create("smaxd-calibrate")
        try:
            os.ftruncate(descriptor, scratch_writer.PAGE_BYTES)
            self._page = scratch_writer.Page(descriptor)
            self._page.load(-1.0)
            self._child = self._spawn(descriptor, options_directory)
        finally:
            os.close(descriptor)
        try:
            self._run_phases()
        except _Ended as end:
            self._measured.ended_by = str(end)
        finally:
            if self._started:
                self._measured.seconds = self._clock.monotonic() - self._started
            kill(self._child)
        self._measured.written_bytes = self._written
        return self._measured

    def _spawn(self, descriptor: int, options_directory: str) -> "subprocess.Popen[bytes]":
        settings = self._settings
        return spawn(
            {
                "task": "put",
                "parent": os.getpid(),
                "page": descriptor,
                "directory": self.database_path,
                "options": options_directory,
                "key_bytes": settings.key_bytes,
                "value_bytes": settings.value_bytes,
                "incompressible_ratio": settings.incompressible_ratio,
                "key_order": settings.key_order,
                "batch_puts": settings.batch_puts,
                "wal": settings.wal_enabled,
                "wal_bytes_per_sync": settings.wal_bytes_per_sync if settings.wal_enabled else 0,
            },
            settings.directory,
            (descriptor,),
        )

    # -- phases

    def _run_phases(self) -> None:
        self._await_ready()
        device = self._settings.device_devnum
        probes = LoadProbes(self._child, self._page, self.database_path, device, self._clock)
        with contextlib.closing(probes) as self._probes:
            self._run_schedule(self._settings.schedule)

    def _run_schedule(self, plan: Schedule) -> None:
        self._started = self._clock.monotonic()
        self._looked = (self._started, 0)
        self._page.load(0.0)
        self._go("fill", plan.fill_seconds, plan.fill_bytes, self._has_debt)
        self._saturate(plan)
        rate = self._rate_so_far()
        if rate is None:
            return
        self._page.load(-1.0)
        self._go("settle", plan.settle_seconds, plan.cap_bytes, self._has_settled)
        self._check(plan, CHECK_LOAD_RATIO * rate)

    def _saturate(self, plan: Schedule) -> None:
        begun = self._clock.monotonic()
        try:
            self._go("saturate", plan.saturate_seconds, plan.saturate_bytes, lambda: False)
        finally:
            # Also when interrupted: what was measured so far is worth saying.
            self._note_window(begun)

    def _note_window(self, begun: float) -> None:
        inside = [reading for reading in self._readings if reading.at >= begun]
        if len(inside) < 2:
            return
        middle = (inside[0].at + inside[-1].at) / 2.0
        self._measured.saturated_before = min(inside, key=lambda r: abs(r.at - middle))
        self._measured.saturated_after = inside[-1]

    def _rate_so_far(self) -> float | None:
        before, after = self._measured.saturated_before, self._measured.saturated_after
        if before is None or after is None or after.at <= before.at:
            return None
        return (after.puts - before.puts) / (after.at - before.at)

    def _check(self, plan: Schedule, rate: float) -> None:
        if rate <= 0:
            return
        self._measured.check_rate = rate
        self._page.load(rate)
        self._measured.check_before = self._probes.reading()
        try:
            self._go("check at 95 %", plan.total_seconds, plan.cap_bytes, lambda: False)
        finally:
            self._measured.check_after = self._readings[-1]

    def _has_debt(self) -> bool:
        """Compaction holds writes back, or is about to; full memtables are no debt of its."""
        return self._page[scratch_writer.LEVEL0] >= self._settings.slowdown_level0_files or any(
            stall.cause != "memtables" for stall in self._readings[-1].log.stalls
        )

    def _has_settled(self) -> bool:
        """No stall is on, and level 0 is half way between compacting and delaying."""
        settings = self._settings
        middle = (settings.compaction_level0_files + settings.slowdown_level0_files) // 2
        return not self._readings[-1].log.stalls and self._page[scratch_writer.LEVEL0] <= middle

    def _go(
        self, phase: str, until_seconds: float, until_bytes: int, reached: Callable[[], bool]
    ) -> None:
        """Watch until the phase is over: by time since the run's start, by bytes, or reached."""
        self._phase = phase
        next_point = next_reading = 0.0
        while True:
            now = self._look()
            elapsed = now - self._started
            if now >= next_point:
                self._measured.points.append(self._probes.point(now))
                next_point = now + POINT_SECONDS
            over = elapsed >= until_seconds or self._written >= until_bytes
            if now >= next_reading or over:
                self._readings.append(self._probes.reading())
                self._show_progress(elapsed)
                next_reading = now + READING_SECONDS
            if over or reached():
                return
            time.sleep(STEP_SECONDS)

    def _await_ready(self) -> None:
        deadline = self._clock.monotonic() + START_SECONDS
        while self._page[scratch_writer.STATE] != scratch_writer.READY:
            self._end_if_guarded()
            raise_if_ended(self._child)
            if self._clock.monotonic() > deadline:
                raise LoadFailed(
                    f"RocksDB did not open {self.database_path} within {START_SECONDS:.0f} s"
                )
            time.sleep(STEP_SECONDS)

    # -- looking

    def _look(self) -> float:
        """What may end the run at any moment; returns the time of looking."""
        self._end_if_guarded()
        raise_if_ended(self._child)
        written = self._probes.written()
        if written is not None:
            self._written = written.on_device
        now = self._clock.monotonic()
        before_at, before_bytes = self._looked
        if now > before_at:
            self._fastest = max(self._fastest, (self._written - before_bytes) / (now - before_at))
        self._looked = (now, self._written)
        cap = self._settings.schedule.cap_bytes
        if self._written + self._fastest * CAP_AHEAD_SECONDS >= cap:
            raise _Ended("the cap of written bytes was reached")
        return now

    def _end_if_guarded(self) -> None:
        reason = self._guard()
        if reason is not None:
            self._measured.aborted = True
            raise _Ended(reason)

    def _show_progress(self, elapsed: float) -> None:
        recent = self._measured.points[-12:]
        rate = 0.0
        if len(recent) > 1 and recent[-1].at > recent[0].at:
            rate = (recent[-1].puts - recent[0].puts) / (recent[-1].at - recent[0].at)
        self._show(
            Progress(
                phase=self._phase,
                elapsed_seconds=elapsed,
                total_seconds=self._settings.schedule.total_seconds,
                puts_per_second=rate,
                written_bytes=self._written,
                level0_files=self._page[scratch_writer.LEVEL0],
            )
        )
