"""What a database itself writes to the device of its data directory."""

import math

from agent import workload
from agent.findings import DatabaseFindings
from agent.rates import CounterWindow
from agent.readings import Known, Missing, Quantity


class OwnWrites:
    """Follows one incarnation of a database, tick by tick.

    ``since`` is from when on its writes are known, where only the process tells them: compared with
    the device's over longer, its writes before a restart would look foreign.
    """

    def __init__(self) -> None:
        self.since = -math.inf
        self._process = CounterWindow(workload.WINDOW_SECONDS)

    def update(
        self,
        findings: DatabaseFindings,
        compaction: Quantity,
        flush: Quantity,
        observed: Quantity,
        record_size: Quantity,
    ) -> Quantity:
        """Bytes/s, as a 5 min mean.

        The kernel's count for the process is best, but only when the process has nothing else to
        write and one device to write to; else what RocksDB's own records tell. It counts pages
        when they are dirtied, so it runs ahead of the device by up to half a minute.
        """
        process = findings.process
        mean = None
        if isinstance(process, Known) and process.value.written_bytes is not None:
            self._process.add(process.value.at, float(process.value.written_bytes))
            mean = self._process.mean(workload.WINDOW_SECONDS)
        alone = not findings.shares_process and _on_one_device(findings)
        self.since = self._process.start if alone else -math.inf
        if mean is not None and alone:
            return Known(mean.per_second, "process", mean.at)
        if isinstance(compaction, Missing):
            return compaction
        if isinstance(flush, Missing):
            return flush
        total, source = compaction.value + flush.value, compaction.source
        if _wal_is_on_data_device(findings):
            wal = workload.wal_write_rate(observed, record_size)
            if isinstance(wal, Known):
                total, source = total + wal.value, f"{source} and {wal.source}"
        return Known(total, source, compaction.at)


def _device_names(findings: DatabaseFindings, *roles: str) -> set[str]:
    return {
        path.device.value.device.name
        for path in findings.paths
        if path.role in roles and isinstance(path.device, Known)
    }


def _on_one_device(findings: DatabaseFindings) -> bool:
    known = all(isinstance(path.device, Known) for path in findings.paths)
    return known and len(_device_names(findings, *(path.role for path in findings.paths))) == 1


def _wal_is_on_data_device(findings: DatabaseFindings) -> bool:
    wal = _device_names(findings, "wal")
    return not wal or wal == _device_names(findings, "data")
