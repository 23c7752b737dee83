"""The active probe of one device: fio, now and then, outside every database."""

import math
from collections.abc import Callable, Sequence

from agent.findings import DeviceBudget, DeviceFindings, FioEnded
from agent.learning.memory import DeviceIdentity
from agent.probing.past_runs import Outcome
from agent.probing.scheduler import ProbeRun
from agent.readings import Known, Missing, printable
from agent.schedule import Slot
from agent.watch_tools import MIB, WatchTools
from agent.wear.accounts import WearView
from agent.wear.budget import Refused
from probes.diskstats import DiskstatsProbe
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.fio import FioProbe
from probes.fio_guard import FioGuard, GuardedDatabase
from probes.samples import BlockDeviceSample, FioSample, SmartSample
from probes.scratch import (
    choose_scratch_directory,
    default_candidates,
    mount_point,
    remove_scratch_directory,
    remove_scratch_leftovers,
)
from probes.smart import SmartProbe

FIO_PURPOSE = "fio"
"""What a run's bytes are charged as."""

SMART_CADENCE_SECONDS = 3600.0
"""A drive counts its wear in whole per cent."""

SMART_TIMEOUT_SECONDS = 30.0
"""A drive that is busy or spins up answers late."""

FIO_TIMEOUT_MARGIN_SECONDS = 60.0
"""On top of fio's own runtime before a run counts as hanging; the runner kills it well before."""

DECISION_SECONDS = 15.0
"""For so long what was decided by the gates of a moment holds: a run that a disk has held up longer
would start as the disk answers again, beside a database that comes round, or in a pause."""

CLEARING_SECONDS = 30.0
"""As long a run of fio waits for what earlier ones left to be removed."""


class DeviceWatch:
    """One device's fio runs, in a scratch directory on the file system of a database it carries."""

    def __init__(
        self,
        sample: BlockDeviceSample,
        database_directories: Sequence[str],
        diskstats: DiskstatsProbe,
        tools: WatchTools,
        guarded: Callable[[BlockDeviceSample], Sequence[GuardedDatabase]],
    ) -> None:
        self.name = sample.device.name
        self.sample = sample
        self.database_directories = tuple(database_directories)
        self._diskstats = diskstats
        self._guarded = guarded
        self._run: ProbeRun | None = None
        self._decided_at = 0.0
        self._ended: FioEnded | None = None
        self._wrote = False
        self.scratch_directory: str | None = None
        self.fio: Slot[FioSample] | None = None
        self.smart = self._smart_slot(tools)
        self._cleared: frozenset[str] = frozenset()
        self._to_clear: tuple[str, ...] = ()
        self._clearing: Slot[int] = Slot(
            "leftovers",
            self.name,
            self._remove_leftovers,
            tools.clock,
            cadence_seconds=CLEARING_SECONDS,
            timeout_seconds=CLEARING_SECONDS,
            background=True,
            on_order=True,
        )
        self.configure(tools)

    def configure(self, tools: WatchTools) -> None:
        """Go on with other settings; what was measured stays, a run under way ends as it began."""
        self._tools = tools
        settings = tools.config.fio
        if settings.enabled:
            self.fio = self.fio or Slot(
                "fio",
                self.name,
                self._run_fio,
                tools.clock,
                cadence_seconds=settings.interval_seconds,
                timeout_seconds=FIO_TIMEOUT_MARGIN_SECONDS,
                sticky=True,
                background=True,
                on_order=True,
            )
            self.fio.configure(
                cadence_seconds=settings.interval_seconds,
                timeout_seconds=self.fio.timeout_seconds,
            )
        elif self.fio is not None:
            self.fio.retire()

    def _smart_slot(self, tools: WatchTools) -> Slot[SmartSample]:
        return Slot(
            "smart",
            self.name,
            SmartProbe(self.sample.layers, tools.clock, tools.runner).read,
            tools.clock,
            cadence_seconds=SMART_CADENCE_SECONDS,
            timeout_seconds=SMART_TIMEOUT_SECONDS,
            sticky=True,
            background=True,
        )

    def follow(self, sample: BlockDeviceSample, database_directories: Sequence[str]) -> None:
        """What was seen of it now; its wear is asked anew where the drives under it are others."""
        before, self.sample = self.sample, sample
        self.database_directories = tuple(database_directories)
        if _drives(before) != _drives(sample):
            self.smart = self._smart_slot(self._tools)

    @property
    def key(self) -> str:
        """Equal for the same drive across boots."""
        return DeviceIdentity.of(self.sample).key

    def clear_up(self, samples: Sequence[BlockDeviceSample], now: float) -> None:
        """Remove what a killed run left at the roots of these file systems, once for each.

        In a thread, because a dead disk may hang it; never beside a run of fio.
        """
        mounts = {sample.mount_point: sample.path for sample in samples}
        writing = self.fio is not None and self.fio.running
        if writing or self._clearing.running or mounts.keys() <= self._cleared:
            return
        self._to_clear = tuple(mounts[mount] for mount in mounts.keys() - self._cleared)
        if self._clearing.start(now):
            self._cleared = frozenset(mounts)

    def _remove_leftovers(self) -> int:
        return remove_scratch_leftovers([mount_point(path) for path in self._to_clear])

    def leaving(self) -> Slot[None]:
        """Removes the scratch directory, at the end: in a thread, because its disk may be dead."""
        return Slot(
            "leaving",
            self.name,
            self._leave,
            self._tools.clock,
            cadence_seconds=math.inf,
            timeout_seconds=CLEARING_SECONDS,
        )

    def _leave(self) -> None:
        if self.scratch_directory is not None:
            remove_scratch_directory(self.scratch_directory)

    def start_fio(self, run: ProbeRun, now: float) -> None:
        """Start fio as decided, unless a run is still under way."""
        if self.fio is None or self.fio.running or self.fio.retired:
            return
        self._run, self._decided_at = run, now
        self.fio.timeout_seconds = run.limits.runtime_seconds + FIO_TIMEOUT_MARGIN_SECONDS
        if not self.fio.start(now):
            self._ended = FioEnded(now, Outcome.REFUSED.value)

    def findings(self, now: float, wear: WearView | None) -> DeviceFindings:
        """What is known of the device by ``now``; ``wear`` are the accounts, if kept."""
        if self.fio is not None and self.fio.retired and not self.fio.running:
            self.fio = None
        configured = next((d for d in self._tools.config.devices if d.name == self.name), None)
        disabled = Missing("disabled", "fio is switched off in the configuration")
        # In this order: a run that ends meanwhile must not seem over before its answer is there.
        active, ended = self.fio is not None and self.fio.running, self._ended
        return DeviceFindings(
            name=self.name,
            sample=self.sample,
            configured_limit_bytes_per_second=(
                None if configured is None else configured.write_limit_mib_per_second * MIB
            ),
            fio=disabled if self.fio is None else self.fio.answer(now),
            fio_active=active,
            scratch_directory=(
                None if self.scratch_directory is None else printable(self.scratch_directory)
            ),
            fio_ended=ended,
            budget=self._budget(now, wear),
            smart=self.smart.answer(now),
        )

    def _budget(self, now: float, wear: WearView | None) -> Known[DeviceBudget] | Missing:
        if wear is None:
            return Missing("budget_not_kept", "no account is kept of what the agent writes")
        if wear.refused is not None:
            return Missing(wear.refused.reason, wear.refused.detail)
        for account in wear.accounts:
            if account.device == printable(self.key):
                budget = DeviceBudget(
                    account.limit_bytes, account.remaining_bytes, account.kept_for_files_bytes
                )
                return Known(budget, "wear account", now)
        return Missing("not_yet_measured", "the device's account is not open yet")

    def _run_fio(self) -> FioSample:
        outcome, self._wrote = Outcome.FAILED, False
        try:
            sample = self._reserved_run()
            outcome = Outcome.MEASURED if sample.aborted is None else Outcome.ABORTED
        except _RefusedError:
            outcome = Outcome.REFUSED
            raise
        except NoData as absence:
            outcome = Outcome.ABORTED if absence.reason == "aborted" else Outcome.REFUSED
            raise
        except ProbeFailed:
            outcome = Outcome.FAILED if self._wrote else Outcome.REFUSED
            raise
        finally:
            self._ended = FioEnded(self._tools.clock.monotonic(), outcome.value)
        return sample

    def _reserved_run(self) -> FioSample:
        run, ledger, key = self._run, self._tools.ledger, self.key
        if run is None or ledger is None:
            raise _RefusedError("budget_not_kept", "no account is kept of what the agent writes")
        # The directory is chosen anew each time: file systems get mounted, databases created.
        path = self.sample.path
        if self._clearing.running and not self._clearing.wait(CLEARING_SECONDS):
            raise ProbeFailed("timeout", f"the file system of {path} does not answer")
        directory = choose_scratch_directory(
            path,
            self._tools.config.scratch,
            default_candidates(path, self._tools.environ),
            self.database_directories,
        )
        self.scratch_directory = directory
        reservation = ledger.reserve(key, FIO_PURPOSE, run.cost_bytes)
        if isinstance(reservation, Refused):
            raise _RefusedError(reservation.reason, reservation.detail)
        guard: FioGuard | None = None
        probe: FioProbe | None = None
        try:
            guard = FioGuard(self._guarded(self.sample), self._tools.clock)
            probe = FioProbe(
                directory,
                self._tools.clock,
                self._tools.runner,
                run.mode,
                run.limits,
                device_devnum=self.sample.device.devnum,
                diskstats=self._diskstats.read,
                database_paths=self.database_directories,
                guard=guard,
                start_by=self._decided_at + DECISION_SECONDS,
            )
            return probe.read()
        finally:
            written_bytes = 0 if probe is None else probe.written_bytes_total
            self._wrote = written_bytes > 0
            ledger.settle(reservation, written_bytes)
            if guard is not None:
                guard.close()


def _drives(sample: BlockDeviceSample) -> tuple[object, ...]:
    names = tuple(layer.name for layer in sample.layers if layer.kind == "disk")
    return (names, sample.model, sample.size_bytes)


class _RefusedError(ProbeError):
    """The wear budget does not allow the run."""
