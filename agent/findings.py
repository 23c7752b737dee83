"""What the probes answered by one tick: the input of all decisions, frozen."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.alerts.orders import Order
from agent.learning.memory import DeviceIdentity
from agent.probe_state import ProbeState
from agent.readings import Known, Missing
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import (
    FingerprintSample,
    LogSample,
    ManifestSample,
    SecondarySample,
    WalSample,
)
from probes.samples import (
    BlockDeviceSample,
    CgroupLimitsSample,
    DiskstatsSample,
    FioSample,
    HostCpuSample,
    PressureSample,
    ProcessSample,
    SmartSample,
)

_NO_BUDGET = Missing("not_yet_measured", "no budget was set up")
_NOT_ASKED = Missing("not_yet_measured", "the drive was not asked yet")
_NOT_PAUSED = Missing("not_paused", "the operator has not paused the probes")
_NO_ORDERS = Missing("no_orders", "no alert is acknowledged or silenced")


@dataclass(frozen=True, slots=True)
class PathFindings:
    """One directory of a database and the device behind it; role "data", "wal" or "db_path N"."""

    role: str
    path: str
    device: Known[BlockDeviceSample] | Missing


@dataclass(frozen=True, slots=True)
class DatabaseFindings:
    """What was read about one database.

    ``incarnation`` grows whenever the fingerprint changes: every baseline then starts anew.
    ``shares_process`` tells that its owner process has other watched databases open, so that the
    process's I/O counters are not this database's alone.
    """

    name: str
    path: str
    pinned_record_size_bytes: float | None
    incarnation: int
    shares_process: bool
    paths: tuple[PathFindings, ...]
    fingerprint: Known[FingerprintSample] | Missing
    options: Known[OptionsSample] | Missing
    limits: Known[CgroupLimitsSample] | Missing
    process: Known[ProcessSample] | Missing
    wal: Known[WalSample] | Missing
    manifest: Known[ManifestSample] | Missing
    log: Known[LogSample] | Missing
    secondary: Known[SecondarySample] | Missing
    owner_gone: bool = False  # a process was seen to have it open, and none has now


@dataclass(frozen=True, slots=True)
class FioEnded:
    """The last run of fio that ended: when (monotonic), and what became of it.

    ``outcome`` is one of ``agent.probing.past_runs.Outcome``.
    """

    at: float
    outcome: str


@dataclass(frozen=True, slots=True)
class DeviceBudget:
    """What the agent may write to a device within 24 hours, and what is left of it now.

    Of that, ``kept_for_files_bytes`` are for the agent's own files: no probe may take them.
    """

    limit_bytes: int
    remaining_bytes: int
    kept_for_files_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DeviceFindings:
    """What was read about one device; ``fio_active`` while the agent's own probe writes to it."""

    name: str
    sample: BlockDeviceSample
    configured_limit_bytes_per_second: float | None
    fio: Known[FioSample] | Missing
    fio_active: bool
    scratch_directory: str | None
    fio_ended: FioEnded | None = None
    budget: Known[DeviceBudget] | Missing = _NO_BUDGET
    smart: Known[SmartSample] | Missing = _NOT_ASKED


@dataclass(frozen=True, slots=True)
class CalibrationFindings:
    """What one run of ``smaxd calibrate`` measured, as far as the models use it.

    ``puts_per_second`` is None unless the run was steady and the database its limit;
    ``sustained_bytes_per_second`` None unless the device was. ``size_ratio`` is the scratch
    database's tables over the watched one's then.
    """

    measured_wall_seconds: float
    database: str | None  # path
    device: str
    device_size_bytes: int
    options_key: str | None
    record_bytes: float
    puts_per_second: float | None
    sustained_bytes_per_second: float | None
    size_ratio: float | None
    device_model: str | None = None  # as in BlockDeviceSample

    @property
    def device_key(self) -> str:
        """Equal for the same drive across boots."""
        return DeviceIdentity(self.device, self.device_size_bytes, self.device_model).key


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was read by one tick; ``at`` monotonic, ``wall_seconds`` Unix time."""

    at: float
    wall_seconds: float
    diskstats: Known[DiskstatsSample] | Missing
    pressure: Known[PressureSample] | Missing
    cpu: Known[HostCpuSample] | Missing
    databases: tuple[DatabaseFindings, ...]
    devices: tuple[DeviceFindings, ...]
    probes: tuple[ProbeState, ...]
    written_bytes: Mapping[tuple[str, str], int]
    hidden_databases: int
    calibrations: tuple[CalibrationFindings, ...] = ()
    pause: Known[float] | Missing = _NOT_PAUSED
    orders: Known[tuple[Order, ...]] | Missing = _NO_ORDERS  # about alerts
