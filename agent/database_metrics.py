"""The metric families of the databases."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from agent.metric_values import add_known
from agent.model_metrics import model_families
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot

DATABASE_GAUGES: Final = (
    (
        "observed_puts_per_second",
        "smax_observed_puts_per_second",
        "Writes the database accepted, 60 s mean.",
    ),
    ("headroom_ratio", "smax_headroom_ratio", "1 - observed put rate / recommended S_max."),
    (
        "headroom_lower_ratio",
        "smax_headroom_lower_ratio",
        "1 - observed put rate / lower end of S_max's interval; the headroom alerts watch it.",
    ),
    (
        "s_max_ratio",
        "smax_recommended_to_median_ratio",
        "Recommended S_max / its own median of the last hour.",
    ),
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
    "estimates",
    "simulated",
    "recommended",
    "time_to_stall_seconds",
    "debt_bytes",
    "debt_clear_seconds",
    "levels",
    "stalls",
    "stall_seconds",
    "background_error",
    "cpu_seconds",
)
"""Attributes that have metrics of their own shape below, and an age or an absence like all."""

QUANTITIES: Final = (
    *(attribute for attribute, _, _ in DATABASE_GAUGES + DATABASE_COUNTERS + PLACED_GAUGES),
    *OTHER_QUANTITIES,
)
"""Everything about a database that is either known, with an age, or missing, with a reason."""


def database_families(databases: tuple[DatabaseSnapshot, ...]) -> Iterator[Metric]:
    """All families about databases; a quantity that is missing has no sample."""
    for attribute, name, text in DATABASE_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["db"])
        for database in databases:
            add_known(gauge, [database.name], getattr(database, attribute))
        yield gauge
    for attribute, name, text in DATABASE_COUNTERS:
        counter = CounterMetricFamily(name, text, labels=["db"])
        for database in databases:
            add_known(counter, [database.name], getattr(database, attribute))
        yield counter
    for attribute, name, text in PLACED_GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["db", "device"])
        for database in databases:
            for place in database.places:
                if place.role == "data" and place.device is not None:
                    add_known(gauge, [database.name, place.device], getattr(database, attribute))
        yield gauge
    yield from _puts(databases)
    yield from model_families(databases)
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
