"""The Prometheus page: a rendering of the snapshot, nothing is computed here but ages."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agent.loop import Published
from agent.models.phase_votes import PHASES
from agent.models.prediction import CONFIDENCE_LEVELS
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, Snapshot
from probes.clock import Clock

STALLED_AFTER_TICKS = 3.0
"""A snapshot older than this many ticks (and the grace) is not shown: the loop hangs."""

STALLED_GRACE_SECONDS = 15.0
"""A tick may wait for hanging probes, which is not the same as hanging itself."""

DATABASE_GAUGES: Final = (
    (
        "observed_puts_per_second",
        "smax_observed_puts_per_second",
        "Writes the database accepted, 60 s mean.",
    ),
    ("headroom_ratio", "smax_headroom_ratio", "1 - observed put rate / recommended S_max."),
    ("record_size_bytes", "smax_record_size_bytes", "User bytes of one put, key and value."),
    (
        "write_amplification_ratio",
        "smax_write_amplification_ratio",
        "Bytes written by flush and compaction per user byte.",
    ),
    (
        "pending_compaction_bytes",
        "smax_pending_compaction_bytes",
        "RocksDB's estimate of bytes that compactions owe.",
    ),
    ("size_bytes", "smax_database_size_bytes", "Bytes of all live table files."),
    ("age_seconds", "smax_database_age_seconds", "Time since the database was created."),
    ("live_wal_bytes", "smax_live_wal_bytes", "Bytes of all write-ahead logs."),
    ("estimated_keys", "smax_estimated_keys", "RocksDB's estimate of live keys."),
    ("cpu_cores", "smax_database_cpu_cores", "Cores that the owner process keeps busy, 60 s mean."),
)
"""Quantities of a database with one value: attribute, metric, help."""

DATABASE_COUNTERS: Final = (
    (
        "flush_bytes_total",
        "smax_flush_bytes_total",
        "Table bytes written by flushes, as far as the source was read.",
    ),
    (
        "compaction_read_bytes_total",
        "smax_compaction_read_bytes_total",
        "Table bytes read by compactions, as far as the source was read.",
    ),
    (
        "compaction_written_bytes_total",
        "smax_compaction_written_bytes_total",
        "Table bytes written by compactions, as far as the source was read.",
    ),
)
"""Counters of a database; they start with what the LOG still tells at the agent's start."""

PLACED_GAUGES: Final = (
    (
        "foreign_bytes_per_second",
        "smax_device_write_foreign_bytes_per_second",
        "Device writes of everyone but this database, 5 min mean.",
    ),
    (
        "available_bytes_per_second",
        "smax_device_write_available_bytes_per_second",
        "Write bandwidth left for user writes: capacity - foreign - own compaction.",
    ),
    (
        "availability_ratio",
        "smax_device_availability_ratio",
        "Available / capacity; 1 on a device that nobody uses.",
    ),
)
"""Quantities of a database on the device that carries its data."""

OTHER_QUANTITIES: Final = (
    "sequence_number",
    "phase",
    "predictions",
    "recommended",
    "levels",
    "stalls",
    "stall_seconds",
    "background_error",
    "cpu_seconds",
)
"""Attributes that have metrics of their own shape below, and an age or an absence like all."""


def registry_for(published: Published, clock: Clock) -> CollectorRegistry:
    """A registry that renders the latest snapshot and the agent's own process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(published, clock))
    ProcessCollector(registry=registry)
    return registry


class SnapshotCollector(Collector):
    """Renders whatever snapshot is the latest at the moment of the scrape."""

    def __init__(self, published: Published, clock: Clock) -> None:
        self._published = published
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """All metric families; those without a sample are left out."""
        snapshot = self._published.get()
        if snapshot is None:
            return
        now = self._clock.monotonic()
        duration = self._published.tick_duration_seconds
        for family in render(snapshot, now, duration):
            if family.samples:
                yield family


def is_stalled(snapshot: Snapshot, now: float) -> bool:
    """Whether the loop has not delivered for so long that the snapshot is history."""
    limit = STALLED_AFTER_TICKS * snapshot.tick_seconds + STALLED_GRACE_SECONDS
    return now - snapshot.at > limit


def render(snapshot: Snapshot, now: float, tick_duration_seconds: float) -> Iterator[Metric]:
    """All metric families of a snapshot, as they read at ``now`` (monotonic seconds)."""
    yield from _agent(snapshot, tick_duration_seconds)
    yield _alerts(snapshot)
    if is_stalled(snapshot, now):
        stalled = _unavailable_family()
        for database in snapshot.databases:
            stalled.add_metric([database.name, "", "all", "agent_stalled"], 1.0)
        yield stalled
        return
    yield from _host(snapshot)
    yield from _databases(snapshot.databases)
    yield from _devices(snapshot.devices)
    yield from _provenance(snapshot, now)


def _host(snapshot: Snapshot) -> Iterator[Metric]:
    busy = GaugeMetricFamily(
        "smax_host_cpu_busy_ratio", "Busy share of all cores, 60 s mean.", labels=[]
    )
    _add(busy, [], snapshot.host_cpu_busy_ratio)
    pressure = GaugeMetricFamily(
        "smax_host_io_pressure_ratio",
        "Share of time in which some task waited for I/O, 10 s mean.",
        labels=[],
    )
    _add(pressure, [], snapshot.pressure_some_ratio)
    yield busy
    yield pressure


def _databases(databases: Iterable[DatabaseSnapshot]) -> Iterator[Metric]:
    databases = tuple(databases)
    for attribute, name, text in DATABASE_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["db"])
        for database in databases:
            _add(gauge, [database.name], getattr(database, attribute))
        yield gauge
    for attribute, name, text in DATABASE_COUNTERS:
        counter = CounterMetricFamily(name, text, labels=["db"])
        for database in databases:
            _add(counter, [database.name], getattr(database, attribute))
        yield counter
    for attribute, name, text in PLACED_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["db", "device"])
        for database in databases:
            for place in database.places:
                if place.role == "data" and place.device is not None:
                    _add(gauge, [database.name, place.device], getattr(database, attribute))
        yield gauge
    yield from _puts(databases)
    yield from _models(databases)
    yield from _lsm(databases)
    yield from _cpu(databases)
    yield from _trouble(databases)


def _puts(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    puts = CounterMetricFamily(
        "smax_puts_total", "The database's sequence number: one per key operation.", labels=["db"]
    )
    info = GaugeMetricFamily(
        "smax_database_info",
        "What is watched; place is where a part of the database lies.",
        labels=["db", "path", "version", "place", "device"],
    )
    for database in databases:
        sequence = database.sequence_number
        if isinstance(sequence, Known):
            puts.add_metric([database.name], float(sequence.value))
        version = database.rocksdb_version or ""
        for place in database.places:
            info.add_metric(
                [database.name, place.path, version, place.role, place.device or ""], 1.0
            )
    yield puts
    yield info


def _models(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    s_max = GaugeMetricFamily(
        "smax_puts_per_second",
        "Sustainable put rate (S_max) by what each model says.",
        labels=["db", "model"],
    )
    recommended = GaugeMetricFamily(
        "smax_recommended_puts_per_second",
        "Sustainable put rate (S_max) of the model in charge.",
        labels=["db"],
    )
    confidence = GaugeMetricFamily(
        "smax_confidence", "1 for the recommended model's confidence.", labels=["db", "level"]
    )
    phase = GaugeMetricFamily("smax_phase", "1 for the phase in force.", labels=["db", "phase"])
    for database in databases:
        if isinstance(database.predictions, Known):
            for prediction in database.predictions.value:
                s_max.add_metric([database.name, prediction.model], prediction.puts_per_second)
        if isinstance(database.recommended, Known):
            best = database.recommended.value
            recommended.add_metric([database.name], best.puts_per_second)
            for level in CONFIDENCE_LEVELS:
                confidence.add_metric([database.name, level], float(level == best.confidence))
        if isinstance(database.phase, Known):
            for name in PHASES:
                phase.add_metric([database.name, name], float(name == database.phase.value.name))
    yield from (s_max, recommended, confidence, phase)


def _lsm(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    labels = ["db", "cf", "level"]
    files = GaugeMetricFamily("smax_level_files", "Table files of a level.", labels=labels)
    sizes = GaugeMetricFamily("smax_level_bytes", "Table bytes of a level.", labels=labels)
    for database in databases:
        if isinstance(database.levels, Missing):
            continue
        for family in database.levels.value:
            for number, level in enumerate(family.levels):
                key = [database.name, family.name, str(number)]
                files.add_metric(key, float(level.files))
                sizes.add_metric(key, float(level.bytes))
    yield files
    yield sizes


def _cpu(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    cpu = CounterMetricFamily(
        "smax_database_cpu_seconds",
        "CPU time of the owner process by what its threads are for.",
        labels=["db", "group"],
    )
    limit = GaugeMetricFamily(
        "smax_database_cpu_limit_cores", "CPU quota of the owner's control groups.", labels=["db"]
    )
    for database in databases:
        if isinstance(database.cpu_seconds, Known):
            for group, seconds in database.cpu_seconds.value.items():
                cpu.add_metric([database.name, group], seconds)
        if database.cpu_limit_cores is not None:
            limit.add_metric([database.name], database.cpu_limit_cores)
    yield cpu
    yield limit


def _trouble(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    stall = GaugeMetricFamily(
        "smax_write_stall",
        "1 for a write stall in force; one line of 0 per state while there is none.",
        labels=["db", "cf", "cause", "state"],
    )
    seconds = CounterMetricFamily(
        "smax_write_stall_seconds",
        "Time in write stalls, as far as the LOG was read.",
        labels=["db", "state"],
    )
    error = GaugeMetricFamily(
        "smax_background_error", "1 while an error has stopped all writes.", labels=["db"]
    )
    for database in databases:
        if isinstance(database.stalls, Known):
            in_force = {s.state for s in database.stalls.value}
            for condition in database.stalls.value:
                stall.add_metric(
                    [database.name, condition.column_family, condition.cause, condition.state], 1.0
                )
            for state in ("delayed", "stopped"):
                if state not in in_force:
                    stall.add_metric([database.name, "", "", state], 0.0)
        if isinstance(database.stall_seconds, Known):
            for state, amount in database.stall_seconds.value.items():
                seconds.add_metric([database.name, state], amount)
        if isinstance(database.background_error, Known):
            error.add_metric([database.name], float(database.background_error.value is not None))
    yield from (stall, seconds, error)


def _devices(devices: Iterable[DeviceSnapshot]) -> Iterator[Metric]:
    capacity = GaugeMetricFamily(
        "smax_device_write_capacity_bytes_per_second",
        "Total write rate of the device while saturated, everyone's writes included.",
        labels=["device"],
    )
    limit = GaugeMetricFamily(
        "smax_device_write_limit_bytes_per_second",
        "Lowest write limit set by control groups or configuration.",
        labels=["device"],
    )
    for device in devices:
        if isinstance(device.capacity, Known):
            capacity.add_metric([device.name], device.capacity.value.bytes_per_second)
        if device.limit_bytes_per_second is not None:
            limit.add_metric([device.name], device.limit_bytes_per_second)
    yield capacity
    yield limit
    for name, text, pick in _DEVICE_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["device"])
        for device in devices:
            _add(gauge, [device.name], pick(device))
        yield gauge


_DEVICE_GAUGES: Final[tuple[tuple[str, str, Callable[[DeviceSnapshot], object]], ...]] = (
    (
        "smax_device_capacity_ratio",
        "Capacity / best capacity known of this device.",
        lambda device: device.capacity_ratio,
    ),
    (
        "smax_device_write_bytes_per_second",
        "What the device was written in the last interval.",
        lambda device: device.write_bytes_per_second,
    ),
    (
        "smax_device_read_bytes_per_second",
        "What was read from the device in the last interval.",
        lambda device: device.read_bytes_per_second,
    ),
    (
        "smax_device_write_await_seconds",
        "Mean time of a write request in the last interval, queueing included.",
        lambda device: device.write_await_seconds,
    ),
    (
        "smax_device_queue_depth",
        "Mean requests in flight in the last interval.",
        lambda device: device.mean_queue_depth,
    ),
)


def _provenance(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    """Age of every quantity that is known, reason of every one that is not."""
    ages = GaugeMetricFamily(
        "smax_estimate_age_seconds",
        "Age of a quantity's source reading.",
        labels=["db", "device", "quantity"],
    )
    unavailable = _unavailable_family()
    attributes = [
        *(attribute for attribute, _, _ in DATABASE_GAUGES + DATABASE_COUNTERS + PLACED_GAUGES),
        *OTHER_QUANTITIES,
    ]
    subjects = [
        (database.name, "", name, getattr(database, name))
        for database in snapshot.databases
        for name in attributes
    ]
    subjects += [("", device.name, "capacity", device.capacity) for device in snapshot.devices]
    for database, device, name, quantity in subjects:
        if isinstance(quantity, Known):
            ages.add_metric([database, device, name], quantity.age_seconds(now))
        else:
            unavailable.add_metric([database, device, name, quantity.reason], 1.0)
    yield ages
    yield unavailable


def _unavailable_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "smax_unavailable",
        "1 for a quantity that is not known, with the reason.",
        labels=["db", "device", "quantity", "reason"],
    )


def _alerts(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "smax_alert_active",
        "1 while an alert is active; it stays while its data is missing.",
        labels=["db", "device", "alert", "severity"],
    )
    for state in snapshot.alerts:
        family.add_metric(
            [state.database, state.device, state.alert, state.severity], float(state.active)
        )
    return family


def _agent(snapshot: Snapshot, tick_duration_seconds: float) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "smaxd_build", "The agent's version.", value={"version": snapshot.version}
    )
    yield InfoMetricFamily(
        "smaxd_config", "The configuration in force.", value={"hash": snapshot.config_hash}
    )
    yield CounterMetricFamily("smaxd_ticks", "Ticks since the start.", value=snapshot.tick)
    yield GaugeMetricFamily(
        "smaxd_tick_duration_seconds", "How long the last tick took.", value=tick_duration_seconds
    )
    yield GaugeMetricFamily(
        "smaxd_hidden_databases",
        "Lock holders whose files this user may not see; they may be databases.",
        value=snapshot.hidden_databases,
    )
    written = CounterMetricFamily(
        "smaxd_written_bytes",
        "Bytes the agent itself wrote to a device.",
        labels=["device", "purpose"],
    )
    for (device, purpose), amount in sorted(snapshot.written_bytes.items()):
        written.add_metric([device, purpose], float(amount))
    yield written
    labels = ["probe", "target"]
    success = GaugeMetricFamily(
        "smax_probe_success", "1 if the probe's last run gave data, else 0.", labels=labels
    )
    duration = GaugeMetricFamily(
        "smax_probe_duration_seconds", "How long the probe's last run took.", labels=labels
    )
    last = GaugeMetricFamily(
        "smax_probe_last_success_timestamp_seconds",
        "Unix time of the probe's last success; it stays when the gauges go.",
        labels=labels,
    )
    for probe in snapshot.probes:
        key = [probe.probe, probe.target]
        if probe.success is not None:
            success.add_metric(key, float(probe.success))
        if probe.duration_seconds is not None:
            duration.add_metric(key, probe.duration_seconds)
        if probe.last_success_wall_seconds is not None:
            last.add_metric(key, probe.last_success_wall_seconds)
    yield from (success, duration, last)


def _add(
    family: GaugeMetricFamily | CounterMetricFamily, labels: list[str], quantity: object
) -> None:
    if isinstance(quantity, Known):
        family.add_metric(labels, float(quantity.value))
