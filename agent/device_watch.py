"""The active probe of one device: fio, now and then, outside every database."""

from collections.abc import Sequence

from agent.config import Config
from agent.findings import DeviceFindings
from agent.readings import Missing, printable
from agent.schedule import Slot
from agent.watch_tools import MIB, WatchTools
from probes.diskstats import DiskstatsProbe
from probes.fio import DEFAULT_LIMITS, FioLimits, FioMode, FioProbe
from probes.samples import BlockDeviceSample, FioSample
from probes.scratch import choose_scratch_directory, default_candidates

FIO_RETRY_SECONDS = 300.0
"""After a failed or refused run; a full interval without any measurement would be too long."""

FIO_TIMEOUT_MARGIN_SECONDS = 60.0
"""On top of fio's own runtime before a run counts as hanging; the runner kills it well before."""


class DeviceWatch:
    """One device's fio runs, in a scratch directory on the file system of a database it carries."""

    def __init__(
        self,
        sample: BlockDeviceSample,
        database_paths: Sequence[str],
        diskstats: DiskstatsProbe,
        tools: WatchTools,
    ) -> None:
        self.name = sample.device.name
        self.sample = sample
        self.database_paths = tuple(database_paths)
        self._diskstats = diskstats
        self._tools = tools
        self.written_bytes = 0
        self.scratch_directory: str | None = None
        settings = tools.config.fio
        self.limits = _fio_limits(tools.config)
        self.fio: Slot[FioSample] | None = None
        if settings.enabled:
            self.fio = Slot(
                "fio",
                self.name,
                self._run_fio,
                tools.clock,
                cadence_seconds=settings.interval_seconds,
                timeout_seconds=self.limits.runtime_seconds + FIO_TIMEOUT_MARGIN_SECONDS,
                sticky=True,
                background=True,
                retry_seconds=min(FIO_RETRY_SECONDS, settings.interval_seconds),
            )

    def findings(self, now: float) -> DeviceFindings:
        """What is known of the device by ``now``."""
        configured = next((d for d in self._tools.config.devices if d.name == self.name), None)
        disabled = Missing("disabled", "fio is switched off in the configuration")
        return DeviceFindings(
            name=self.name,
            sample=self.sample,
            configured_limit_bytes_per_second=(
                None if configured is None else configured.write_limit_mib_per_second * MIB
            ),
            fio=disabled if self.fio is None else self.fio.answer(now),
            fio_active=self.fio is not None and self.fio.running,
            scratch_directory=(
                None if self.scratch_directory is None else printable(self.scratch_directory)
            ),
        )

    def _run_fio(self) -> FioSample:
        # The directory is chosen anew each time: file systems get mounted, databases created.
        path = self.sample.path
        directory = choose_scratch_directory(
            path,
            self._tools.config.scratch,
            default_candidates(path, self._tools.environ),
            self.database_paths,
        )
        self.scratch_directory = directory
        probe = FioProbe(
            directory,
            self._tools.clock,
            self._tools.runner,
            FioMode(self._tools.config.fio.mode),
            self.limits,
            device_devnum=self.sample.device.devnum,
            diskstats=self._diskstats.read,
            database_paths=self.database_paths,
        )
        try:
            return probe.read()
        finally:
            self.written_bytes += probe.written_bytes_total


def _fio_limits(config: Config) -> FioLimits:
    default = DEFAULT_LIMITS[FioMode(config.fio.mode)]
    size, runtime, rate = (
        config.fio.size_mib,
        config.fio.runtime_seconds,
        config.fio.rate_mib_per_second,
    )
    return FioLimits(
        size_bytes=default.size_bytes if size is None else int(size * MIB),
        runtime_seconds=default.runtime_seconds if runtime is None else runtime,
        rate_bytes_per_second=default.rate_bytes_per_second if rate is None else rate * MIB,
    )
