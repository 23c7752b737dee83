"""The types of the status document.

A stable contract: fields are added, never renamed or removed. Quantities carry source and age, or
the reason why there is none.
"""

import msgspec


class QuantityDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A number with source and age, or null with reason and detail."""

    value: float | None
    source: str | None = None
    age_seconds: float | None = None
    reason: str | None = None
    detail: str | None = None


class PlaceDocument(msgspec.Struct, frozen=True):
    """Which device carries a part of the database."""

    role: str
    path: str
    device: str | None
    detail: str | None


class PhaseDocument(msgspec.Struct, frozen=True):
    """The phase in force, for how long, and the votes of this moment."""

    name: str
    for_seconds: float
    votes: dict[str, str]
    candidate: str | None


class PredictionDocument(msgspec.Struct, frozen=True):
    """What one model says; the keys are those of ``smaxd predict --json``."""

    puts_per_second: float
    model: str
    phase: str
    confidence: str
    utilization: float
    factor: float
    bandwidth_mib: float
    record_size: float


class RecommendedDocument(msgspec.Struct, frozen=True):
    """The calibrated S_max of the model in charge, with its 90 % interval.

    ``phase`` is the one in force, null while unknown; ``factor`` what calibration multiplied the
    model's own number by. ``bottleneck`` is the resource that limits S_max, where a model names it.
    ``utilization``, ``bandwidth_mib`` and ``record_size`` are V4's and V4.1's; null for others.
    """

    puts_per_second: float
    model: str
    phase: str | None
    confidence: str
    lower: float
    upper: float
    factor: float
    utilization: float | None
    bandwidth_mib: float | None
    record_size: float | None
    basis: str
    labels: int
    accuracy_ratio: float | None
    coverage_ratio: float | None
    widened: str | None
    bottleneck: str | None


class EstimateDocument(msgspec.Struct, frozen=True):
    """What one of the measured models says before calibration; ``missing`` inputs by name."""

    puts_per_second: float
    model: str
    lower: float
    upper: float
    bottleneck: str | None
    runner_up: str | None
    advice: str
    missing: list[str]


class StallDocument(msgspec.Struct, frozen=True):
    """A write stall in force."""

    column_family: str
    state: str
    cause: str
    since: float
    delayed_write_bytes_per_second: float | None


class LevelDocument(msgspec.Struct, frozen=True):
    """One level of a column family."""

    level: int
    files: int
    bytes: int


class DatabaseDocument(msgspec.Struct, frozen=True):
    """One database."""

    name: str
    path: str
    owner_pid: int | None
    rocksdb_version: str | None
    incarnation: int
    places: list[PlaceDocument]
    recommended: RecommendedDocument | None
    predictions: list[PredictionDocument]
    estimates: list[EstimateDocument]
    phase: PhaseDocument | None
    quantities: dict[str, QuantityDocument]
    levels: dict[str, list[LevelDocument]] | None
    stalls: list[StallDocument] | None
    stall_seconds: dict[str, float] | None
    background_error: str | None
    cpu_limit_cores: float | None
    episodes_total: int
    saturated: bool


class ProbingDocument(msgspec.Struct, frozen=True):
    """Whether fio is to run on the device, or why not; ``runs`` by what became of them."""

    reason: str
    detail: str
    closed_gates: list[str]
    runs: dict[str, int]


class DeviceDocument(msgspec.Struct, frozen=True):
    """One device."""

    name: str
    devnum: str
    size_bytes: int
    filesystem_type: str
    filesystem_free_bytes: int
    layers: list[str]
    limit_bytes_per_second: float | None
    capacity_is_lower_bound: bool | None
    capacity_spread_ratio: float | None
    scratch_directory: str | None
    fio_written_bytes: int
    probing: ProbingDocument | None
    quantities: dict[str, QuantityDocument]


class ProbeDocument(msgspec.Struct, frozen=True):
    """One probe's last run."""

    probe: str
    target: str
    success: bool | None
    absent: bool
    duration_seconds: float | None
    last_success: float | None
    reason: str | None
    detail: str | None


class AlertDocument(msgspec.Struct, frozen=True):
    """One alert; ``since`` is Unix time, null while inactive.

    ``state`` is "pending", "firing", "resolved" (within a quarter of an hour) or "inactive".
    ``occurrence`` numbers its firings, 0 before the first. ``acknowledged_until`` and
    ``silenced_until`` are Unix time, null while it is not.
    """

    alert: str
    severity: str
    database: str
    device: str
    active: bool
    pending: bool
    since: float | None
    value: float | None
    data_missing: bool
    summary: str
    state: str = "inactive"
    fingerprint: str = ""
    occurrence: int = 0
    acknowledged_until: float | None = None
    silenced_until: float | None = None


class OrderDocument(msgspec.Struct, frozen=True):
    """A silence or an acknowledgement in force; null matches anything. Times are Unix time."""

    id: str
    kind: str
    alert: str | None
    database: str | None
    device: str | None
    fingerprint: str | None
    since: float
    until: float
    comment: str
    uid: int


class StatusDocument(msgspec.Struct, frozen=True):
    """Everything the agent knows."""

    version: str
    config_hash: str
    time: float
    tick: int
    tick_seconds: float
    snapshot_age_seconds: float
    ready: bool
    stalled: bool
    hidden_databases: int
    host_cpu_cores: int | None
    quantities: dict[str, QuantityDocument]
    databases: list[DatabaseDocument]
    devices: list[DeviceDocument]
    probes: list[ProbeDocument]
    alerts: list[AlertDocument]
    state_directory: str | None
    alert_orders: list[OrderDocument] = []
