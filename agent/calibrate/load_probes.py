"""Reads a run of the scratch database from outside, with the same probes as any database."""

import os
import subprocess
import time
from typing import Final

from agent.calibrate import writer as scratch_writer
from agent.calibrate.figures import LoadPoint, LoadReading, Written
from agent.calibrate.thread_writes import ThreadWrites
from agent.calibrate.writer_process import LoadFailed, raise_if_ended
from probes.clock import Clock
from probes.cpu import HostCpuProbe
from probes.diskstats import DiskstatsProbe
from probes.errors import ProbeError
from probes.process import ProcessProbe, parse_stat
from probes.rocksdb.log import LogProbe
from probes.rocksdb.samples import LogSample

EMPTY_LOG_SECONDS: Final = 5.0
EMPTY_LOG_STEP_SECONDS: Final = 0.1

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class LoadProbes:
    """All probes of one run, whose child is ready and goes on by its page."""

    def __init__(
        self,
        child: "subprocess.Popen[bytes]",
        page: scratch_writer.Page,
        database_path: str,
        device_devnum: str,
        clock: Clock,
    ) -> None:
        self._child = child
        self._page = page
        self._device_devnum = device_devnum
        self._clock = clock
        self._process = ProcessProbe(child.pid, clock)
        self._writes = ThreadWrites(child.pid)
        self._diskstats = DiskstatsProbe(clock)
        self._host = HostCpuProbe(clock)
        self._log = LogProbe(database_path, clock)

    def close(self) -> None:
        """Give the LOG back."""
        self._log.close()

    def written(self) -> Written | None:
        """What the child has written so far; None when that cannot be read."""
        return self._writes.read()

    def point(self, at: float) -> LoadPoint:
        """What the child tells of itself."""
        return LoadPoint(
            at=at,
            puts=self._page[scratch_writer.PUTS],
            level0_files=self._page[scratch_writer.LEVEL0],
            pending_compaction_bytes=self._page[scratch_writer.PENDING],
        )

    def reading(self) -> LoadReading:
        """Everything; LoadFailed when the child cannot be read."""
        log = self._read_log()
        try:
            process = self._process.read()
        except ProbeError:
            raise_if_ended(self._child)
            raise LoadFailed("the scratch database's process cannot be read") from None
        try:
            disk = self._diskstats.read().disks.get(self._device_devnum)
        except ProbeError:
            disk = None
        try:
            host = self._host.read()
        except ProbeError:
            host = None
        written = self._writes.read()
        return LoadReading(
            at=self._clock.monotonic(),
            puts=self._page[scratch_writer.PUTS],
            written=written,
            writer_cpu_seconds=self._writer_cpu_seconds(),
            compaction_cpu_seconds=process.compaction_cpu_seconds,
            flush_cpu_seconds=process.flush_cpu_seconds,
            disk=disk,
            host=host,
            log=log,
        )

    def _read_log(self) -> LogSample:
        deadline = self._clock.monotonic() + EMPTY_LOG_SECONDS
        while True:
            try:
                return self._log.read()
            except ProbeError as error:
                if self._clock.monotonic() > deadline:
                    raise LoadFailed(error.detail) from error
                time.sleep(EMPTY_LOG_STEP_SECONDS)

    def _writer_cpu_seconds(self) -> float | None:
        """CPU of the thread that puts: the child's first."""
        pid = self._child.pid
        try:
            with open(f"/proc/{pid}/task/{pid}/stat", "rb") as file:
                stat = parse_stat(file.read(4096))
        except OSError:
            return None
        return None if stat is None else stat.cpu_ticks / _TICKS_PER_SECOND
