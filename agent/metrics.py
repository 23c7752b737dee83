"""The Prometheus page: a rendering of the snapshot, nothing is computed here but ages."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agent.database_metrics import QUANTITIES, database_families
from agent.delivery.metrics import delivery_families
from agent.device_metrics import device_families
from agent.export_metrics import export_families
from agent.history.metrics import history_families
from agent.loop import Published
from agent.metric_values import add_known
from agent.readings import Known
from agent.reload_plan import ConfigLoad
from agent.self_limits import Degradation
from agent.snapshot import Snapshot
from agent.web_metrics import web_families
from probes.clock import Clock

STALLED_AFTER_TICKS = 3.0
"""A snapshot older than this many ticks (and the grace) is not shown: the loop hangs."""

STALLED_GRACE_SECONDS = 15.0
"""A tick may wait for hanging probes, which is not the same as hanging itself."""


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
        yield from _config_load(self._published.config_load)
        yield from _restraint(self._published.degradation)
        yield from _children(self._published.children_cpu_seconds())
        yield from delivery_families(self._published.delivery_status())
        yield from history_families(self._published.history_status())
        yield from web_families(self._published.web_status())
        yield from export_families(self._published.export_statuses())
        for family in render(snapshot, now, duration):
            if family.samples:
                yield family


def _config_load(load: ConfigLoad | None) -> Iterator[Metric]:
    """The convention of Prometheus itself and of its exporters."""
    if load is None:
        return
    yield GaugeMetricFamily(
        "smaxd_config_last_reload_successful",
        "1 if the last reading of the configuration succeeded, else 0: the old one is in force.",
        value=float(load.successful),
    )
    yield GaugeMetricFamily(
        "smaxd_config_last_reload_success_timestamp_seconds",
        "Unix time of the last successful reading of the configuration, the start included.",
        value=load.success_wall_seconds,
    )


def _restraint(degradation: Degradation) -> Iterator[Metric]:
    """How far the agent restrains itself."""
    yield GaugeMetricFamily(
        "smaxd_degradation_level",
        "How far the agent restrains itself to stay within its own limits; 0: not at all.",
        value=float(degradation.level),
    )
    why = GaugeMetricFamily(
        "smaxd_degraded", "1 for what made the agent restrain itself.", labels=["reason"]
    )
    if degradation.reason is not None:
        why.add_metric([degradation.reason], 1.0)
        yield why


def _children(cpu_seconds: Mapping[str, float]) -> Iterator[Metric]:
    """What the programs cost that the agent runs; its own process is in ``process_*``."""
    family = CounterMetricFamily(
        "smaxd_child_cpu_seconds",
        "CPU time of programs that the agent ran to their end.",
        labels=["program"],
    )
    for program, seconds in sorted(cpu_seconds.items()):
        family.add_metric([program], seconds)
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
        stalled.add_metric(["", "", "all", "agent_stalled"], 1.0)
        for database in snapshot.databases:
            stalled.add_metric([database.name, "", "all", "agent_stalled"], 1.0)
        yield stalled
        return
    yield from _host(snapshot)
    yield from database_families(snapshot.databases)
    yield from device_families(snapshot.devices)
    yield from _provenance(snapshot, now)


def _host(snapshot: Snapshot) -> Iterator[Metric]:
    busy = GaugeMetricFamily(
        "smax_host_cpu_busy_ratio", "Busy share of all cores, 60 s mean.", labels=[]
    )
    add_known(busy, [], snapshot.host_cpu_busy_ratio)
    pressure = GaugeMetricFamily(
        "smax_host_io_pressure_ratio",
        "Share of time in which some task waited for I/O, 10 s mean.",
        labels=[],
    )
    add_known(pressure, [], snapshot.pressure_some_ratio)
    yield busy
    yield pressure


def _provenance(snapshot: Snapshot, now: float) -> Iterator[Metric]:
    """Age of every quantity that is known, reason of every one that is not."""
    ages = GaugeMetricFamily(
        "smax_estimate_age_seconds",
        "Age of a quantity's source reading.",
        labels=["db", "device", "quantity"],
    )
    unavailable = _unavailable_family()
    subjects = [
        (database.name, "", name, getattr(database, name))
        for database in snapshot.databases
        for name in QUANTITIES
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


def _probing(snapshot: Snapshot) -> Iterator[Metric]:
    """When fio runs, and why not."""
    pause = GaugeMetricFamily(
        "smaxd_pause_remaining_seconds", "For how long the operator still wants no probe."
    )
    left = snapshot.pause_remaining_seconds
    if isinstance(left, Known):
        pause.add_metric([], left.value)
    elif left.reason == "not_paused":
        pause.add_metric([], 0.0)
    decision = GaugeMetricFamily(
        "smaxd_fio_decision",
        "1 for the reason why fio is to run on a device now, or is not.",
        labels=["device", "reason"],
    )
    gates = GaugeMetricFamily(
        "smaxd_fio_gate_closed",
        "1 for every condition that forbids a run of fio now.",
        labels=["device", "reason"],
    )
    runs = CounterMetricFamily(
        "smaxd_fio_runs",
        "Runs of fio since the agent's start, by what became of them.",
        labels=["device", "outcome"],
    )
    for device in snapshot.devices:
        if device.probing is None:
            continue
        decision.add_metric([device.name, device.probing.reason], 1.0)
        for reason in device.probing.closed:
            gates.add_metric([device.name, reason], 1.0)
        for outcome, count in sorted(device.probing.runs.items()):
            runs.add_metric([device.name, outcome], float(count))
    yield from (pause, decision, gates, runs)


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
        "Bytes the agent itself wrote to a device, over all its runs.",
        labels=["device", "purpose"],
    )
    for (device, purpose), amount in sorted(snapshot.written_bytes.items()):
        written.add_metric([device, purpose], float(amount))
    yield written
    yield from _probing(snapshot)
    labels = ["probe", "target"]
    success = GaugeMetricFamily(
        "smax_probe_success", "1 if the probe's last run gave data, else 0.", labels=labels
    )
    failing = GaugeMetricFamily(
        "smax_probe_failing",
        "1 if the probe's last run failed; an absent source is 0.",
        labels=labels,
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
            failing.add_metric(key, float(not probe.success and not probe.absent))
        if probe.duration_seconds is not None:
            duration.add_metric(key, probe.duration_seconds)
        if probe.last_success_wall_seconds is not None:
            last.add_metric(key, probe.last_success_wall_seconds)
    yield from (success, failing, duration, last)
