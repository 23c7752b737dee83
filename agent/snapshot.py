"""One tick's result, immutable: metrics, alerts, API and status render it, none recomputes.

Times are monotonic seconds unless the name says ``wall``; everything else is in SI base units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.alerts.engine import AlertState
from agent.alerts.lifecycle import Alerting
from agent.bandwidth import Capacity
from agent.forecast.forecast import StallOutlook
from agent.forecast.score import ScoreSummary
from agent.learning.episodes import Episode
from agent.learning.memory import DeviceIdentity
from agent.models.estimate import CalibratedEstimate, Estimate
from agent.models.lsm import ModelInputs, SimulatedRate
from agent.models.prediction import Prediction
from agent.phase import PhaseInForce
from agent.probe_state import ProbeState
from agent.readings import Known, Missing, Quantity
from probes.rocksdb.samples import BackgroundError, ColumnFamilyShape, StallCondition
from probes.samples import DiskCounters

_NOT_YET = Missing("not_yet_measured", "the measured models have not run yet")
_NOT_READ = Missing("not_yet_measured", "the device's counters were not read yet")
_NO_BUDGET = Missing("not_yet_measured", "no budget was set up")
_NOT_ASKED = Missing("not_yet_measured", "the drive was not asked yet")
_NOT_PAUSED = Missing("not_paused", "the operator has not paused the probes")


@dataclass(frozen=True, slots=True)
class PlacedFiles:
    """Which device carries a part of a database: role is "data", "wal" or "db_path N"."""

    role: str
    path: str
    device: str | None
    detail: str | None  # why the device is unknown


@dataclass(frozen=True, slots=True)
class DatabaseSnapshot:
    """What is known about one database."""

    name: str
    path: str
    owner_pid: int | None
    rocksdb_version: str | None
    incarnations: int  # how often the database was found to be another one, or reopened
    places: tuple[PlacedFiles, ...]
    sequence_number: Known[int] | Missing
    observed_puts_per_second: Quantity
    record_size_bytes: Quantity
    write_amplification_ratio: Quantity
    age_seconds: Quantity
    size_bytes: Quantity
    live_wal_bytes: Quantity
    pending_compaction_bytes: Quantity
    estimated_keys: Quantity
    flush_bytes_total: Quantity
    compaction_read_bytes_total: Quantity
    compaction_written_bytes_total: Quantity
    compaction_bytes_per_second: Quantity
    foreign_bytes_per_second: Quantity
    available_bytes_per_second: Quantity
    availability_ratio: Quantity
    phase: Known[PhaseInForce] | Missing
    predictions: Known[tuple[Prediction, ...]] | Missing  # v4 and v4.1
    recommended: Known[CalibratedEstimate] | Missing
    headroom_ratio: Quantity
    s_max_ratio: Quantity  # recommended / its own recent median
    levels: Known[tuple[ColumnFamilyShape, ...]] | Missing
    stalls: Known[tuple[StallCondition, ...]] | Missing
    stall_seconds: Known[Mapping[str, float]] | Missing
    background_error: Known[BackgroundError | None] | Missing
    cpu_seconds: Known[Mapping[str, float]] | Missing  # by group: compaction, flush, foreground
    cpu_cores: Quantity  # used by the owner process, 60 s mean
    cpu_limit_cores: float | None
    inputs: Known[ModelInputs] | Missing = _NOT_YET
    estimates: Known[tuple[Estimate, ...]] | Missing = _NOT_YET  # before calibration
    calibrated: Known[tuple[CalibratedEstimate, ...]] | Missing = _NOT_YET
    simulated: Known[SimulatedRate] | Missing = _NOT_YET
    time_to_stall_seconds: Quantity = _NOT_YET  # infinite: not heading there
    debt_bytes: Quantity = _NOT_YET  # compaction that is owed for puts already taken
    debt_clear_seconds: Quantity = _NOT_YET  # at the present rate; infinite: it grows
    recommended_model: str = ""  # which of the models ``recommended`` is; "" while none is
    headroom_lower_ratio: Quantity = _NOT_YET  # by what alerts hold the put rate against
    stall_outlook: StallOutlook | None = None
    forecast_score: ScoreSummary | None = None
    saturated: bool = False  # the database itself is the limit now
    bottleneck: str | None = None  # the binding resource, by the best of the measured models
    episodes_total: int = 0  # saturation episodes that labelled predictions, over its life
    episodes: tuple[Episode, ...] = ()  # reported in this tick: new, measured anew, or over


@dataclass(frozen=True, slots=True)
class ProbingSnapshot:
    """Whether fio is to run on a device now, or why not.

    ``reason`` is a label, ``detail`` a sentence. ``closed`` are all gates closed now. ``runs``
    counts the runs since the agent's start by what became of them.
    """

    reason: str
    detail: str
    closed: tuple[str, ...]
    runs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DeviceSnapshot:
    """What is known about one device that carries a database."""

    name: str
    devnum: str
    size_bytes: int
    filesystem_type: str
    filesystem_free_bytes: int
    layers: tuple[str, ...]
    capacity: Known[Capacity] | Missing
    capacity_ratio: Quantity
    write_bytes_per_second: Quantity
    read_bytes_per_second: Quantity
    write_await_seconds: Quantity
    mean_queue_depth: Quantity
    limit_bytes_per_second: float | None
    fio: Quantity  # fio's own rate, where one ran
    scratch_directory: str | None
    model: str | None = None
    counters: Known[DiskCounters] | Missing = _NOT_READ
    probing: ProbingSnapshot | None = None
    wear_budget_bytes: Quantity = _NO_BUDGET  # what the agent may write in 24 hours
    wear_budget_remaining_bytes: Quantity = _NO_BUDGET
    endurance_used_ratio: Quantity = _NOT_ASKED  # by the drive itself, of its rating
    wear_out_seconds: Quantity = _NOT_ASKED  # until the rating is used, at its lifetime's mean rate

    @property
    def identity(self) -> DeviceIdentity:
        """What it is known by after a boot."""
        return DeviceIdentity(self.name, self.size_bytes, self.model)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the agent knows after one tick."""

    tick: int
    at: float
    wall_seconds: float
    tick_seconds: float  # the cadence
    version: str
    config_hash: str
    databases: tuple[DatabaseSnapshot, ...]
    devices: tuple[DeviceSnapshot, ...]
    probes: tuple[ProbeState, ...]
    alerts: tuple[AlertState, ...]
    pressure_some_ratio: Quantity
    host_cpu_busy_ratio: Quantity
    host_cpu_cores: int | None
    written_bytes: Mapping[tuple[str, str], int]  # by (device, purpose)
    hidden_databases: int  # owners whose files this user may not see
    pause_remaining_seconds: Quantity = _NOT_PAUSED
    state_directory: str | None = None
    alerting: Alerting = field(default_factory=Alerting)  # what of the alerts is told to people

    @property
    def ready(self) -> bool:
        """Whether every probe has answered or said why it cannot."""
        return bool(self.probes) and all(
            state.success is not None or state.on_order for state in self.probes
        )
