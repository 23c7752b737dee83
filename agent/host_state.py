"""All of the host over time: the findings of a tick go in, one snapshot comes out. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from agent.alerts.book import AlertBook
from agent.alerts.lifecycle import Alerting, follow
from agent.alerts.observe import observations
from agent.alerts.orders import Order
from agent.alerts.rules import AlertingSettings, AlertSettings
from agent.calibrated_host import sustained_capacity
from agent.cpu_use import CpuUse, HostCpu
from agent.database_state import DatabaseState
from agent.device_state import DeviceState
from agent.findings import DatabaseFindings, DeviceFindings, Findings
from agent.learning.learning import Learning
from agent.learning.memory import DeviceIdentity, ProbingMemory
from agent.models.lsm import ModelInputs, Simulated
from agent.probing.host_probing import HostProbing
from agent.probing.past_runs import PastRuns
from agent.probing.scheduler import ProbeRun
from agent.probing.settings import ProbingSettings
from agent.readings import Known, Missing, derive, value_of
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, Snapshot

MANY_DATABASES = 4
"""More than these share what the simulator costs for so many."""

RETURN_SECONDS = 300.0
"""A database with an alert may take so long after a restart to be found again; then it has left."""

SAME_TICK_SECONDS = 1.0
"""The probes of one tick do not read at the same instant; this much earlier is the same tick."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What of the configuration the decisions depend on; times in seconds."""

    config_hash: str
    tick_seconds: float
    phase_hold_seconds: float
    capacity_max_age_seconds: float
    alerts: AlertSettings
    probing: ProbingSettings
    alerting: AlertingSettings
    rarer: float = 1.0  # how many times longer the simulator's intervals are
    state_directory: str | None = None


class HostState:
    """Follows every database and device; the only state between ticks apart from the probes'."""

    def __init__(
        self,
        *,
        version: str,
        settings: HostSettings,
        learning: Learning,
        book: AlertBook | None = None,
    ) -> None:
        self._version = version
        self._settings = settings
        self._devices: dict[str, DeviceState] = {}
        self._identities: dict[str, DeviceIdentity] = {}  # by name, also of those that left
        self._alike: frozenset[str] = frozenset()
        self._now = self._wall_seconds = 0.0  # of the last findings
        self._databases: dict[str, tuple[int, DatabaseState]] = {}
        self._paths: dict[str, str] = {}
        self._not_probed: dict[str, Missing] = {}
        self._book = book or AlertBook()
        self._returning = {state.database for state in self._book.states}
        self._return_until: float | None = None
        self._cpu = CpuUse()
        self._tick = 0
        self._learning = learning
        self._probing = HostProbing(settings.probing)

    @property
    def book(self) -> AlertBook:
        """What is to be remembered of alerts over a restart."""
        return self._book

    def settle(self, identities: frozenset[str]) -> None:
        """Forget these notifications: delivery has taken them over."""
        self._book = self._book.settled(identities)

    def configure(self, settings: HostSettings) -> None:
        """Go on with other settings; nothing that was seen or learned is lost."""
        self._settings = settings
        self._probing.configure(settings.probing)
        for device in self._devices.values():
            device.keep_capacity_for(settings.capacity_max_age_seconds)
        for _, database in self._databases.values():
            database.hold_phase_for(settings.phase_hold_seconds)

    def advance(self, findings: Findings) -> Snapshot:
        """Take one tick's findings into account."""
        self._tick += 1
        self._now, self._wall_seconds = findings.at, findings.wall_seconds
        devices = self._advance_devices(findings)
        cores = value_of(derive(findings.cpu, lambda sample: sample.cores))
        host_cpu = HostCpu(cores, self._cpu.busy_ratio(findings.cpu), findings.cpu)
        databases = self._advance_databases(findings, devices, host_cpu)
        probed = self._decide_probes(findings, devices, databases)
        alerting = self._advance_alerts(findings, databases, probed)
        return Snapshot(
            tick=self._tick,
            at=findings.at,
            wall_seconds=findings.wall_seconds,
            tick_seconds=self._settings.tick_seconds,
            version=self._version,
            config_hash=self._settings.config_hash,
            databases=databases,
            devices=probed,
            probes=findings.probes,
            alerts=self._book.states,
            alerting=alerting,
            pressure_some_ratio=derive(findings.pressure, lambda sample: sample.some_avg10_ratio),
            host_cpu_busy_ratio=host_cpu.busy_ratio,
            host_cpu_cores=host_cpu.cores,
            written_bytes=findings.written_bytes,
            hidden_databases=findings.hidden_databases,
            pause_remaining_seconds=findings.pause,
            state_directory=self._settings.state_directory,
        )

    def _advance_alerts(
        self,
        findings: Findings,
        databases: tuple[DatabaseSnapshot, ...],
        devices: tuple[DeviceSnapshot, ...],
    ) -> Alerting:
        watched = {"", *(database.name for database in databases)}
        if self._return_until is None:
            self._return_until = findings.at + RETURN_SECONDS
        if findings.at < self._return_until:
            watched |= self._returning
        # A database that is not watched any more takes its alerts with it: the log says so.
        states = tuple(state for state in self._book.states if state.database in watched)
        self._book, alerting = follow(
            self._settings.alerts.by_name(),
            self._settings.alerting,
            msgspec.structs.replace(self._book, states=states),
            observations(databases, devices, findings.probes),
            _orders(findings),
            findings.at,
            findings.wall_seconds,
        )
        return alerting

    def simulations_due(self, now: float) -> tuple[ModelInputs, ...]:
        """The inputs of the simulator runs that are due; asking counts as the request."""
        rarer = self._settings.rarer * max(1.0, len(self._databases) / MANY_DATABASES)
        due = (state.simulation_due(now, rarer) for _, state in self._databases.values())
        return tuple(inputs for inputs in due if inputs is not None)

    def take_simulated(self, database: str, answer: Simulated | Missing, at: float) -> None:
        """Take a run's result, or why there is none; of a database that is gone, nothing."""
        if database in self._databases:
            self._databases[database][1].take_simulated(answer, at)

    def probes_due(self) -> Mapping[str, ProbeRun]:
        """The fio runs to start now, by device; asking counts as their start."""
        due = self._probing.due(self._now)
        # What begins now must be on record soon: an agent that does not outlive it has to know.
        self._remember_devices()
        return due

    def _decide_probes(
        self,
        findings: Findings,
        devices: dict[str, DeviceSnapshot],
        databases: tuple[DatabaseSnapshot, ...],
    ) -> tuple[DeviceSnapshot, ...]:
        self._probing.follow(databases, devices, findings)
        decided = []
        for device in findings.devices:
            snapshot = devices[device.name]
            estimate = self._devices[device.name].estimate
            decision = self._probing.decide(device, findings, estimate)
            decided.append(replace(snapshot, probing=decision))
        self._not_probed = {
            device.name: Missing(device.probing.reason, device.probing.detail)
            for device in decided
            if device.probing is not None and device.probing.reason in device.probing.closed
        }
        return tuple(decided)

    def _advance_devices(self, findings: Findings) -> dict[str, DeviceSnapshot]:
        names = {device.name for device in findings.devices}
        for gone in self._devices.keys() - names:
            del self._devices[gone]
        self._alike = _alike(findings.devices)
        snapshots = {}
        for device in findings.devices:
            state = self._device_state(device)
            limits = [
                database.limits.value
                for database in findings.databases
                if isinstance(database.limits, Known) and device.name in _devices_of(database)
            ]
            snapshot = state.update(
                device,
                findings.diskstats,
                limits,
                findings.at,
                sustained_capacity(
                    findings.calibrations,
                    self._identities[device.name],
                    findings.at,
                    findings.wall_seconds,
                ),
                self._not_probed.get(device.name),
            )
            snapshots[device.name] = self._against_baseline(snapshot, findings.wall_seconds)
        return snapshots

    def _device_state(self, device: DeviceFindings) -> DeviceState:
        """The device's state: as it was, else with what is remembered of it."""
        name, now, wall_seconds = device.name, self._now, self._wall_seconds
        identity = DeviceIdentity.of(device.sample)
        before = self._identities.get(name)
        renewed = before is not None and before.differs(identity)
        self._identities[name] = (
            identity if before is None or renewed else before.seen_again(identity)
        )
        state = self._devices.get(name)
        if state is not None and not renewed:
            state.follow_clock(now, wall_seconds)
            return state
        since = now if renewed else -math.inf
        state = DeviceState(self._settings.capacity_max_age_seconds, since)
        self._devices[name] = state
        memory = self._learning.probing(identity)
        if memory is not None and (
            # While it was alone, perhaps in another run of the agent, the other was measured.
            name in self._alike or not memory.device.is_surely(identity)
        ):
            memory = msgspec.structs.replace(memory, capacity=None)
        state.recall(memory, now, wall_seconds)
        if before is None or renewed:
            self._probing.begin(
                name,
                PastRuns(keeps=identity.lasting)
                if memory is None
                else PastRuns.recalled(memory, now, wall_seconds),
                since,
            )
        return state

    def _remember_devices(self) -> None:
        """Keep what was measured of the devices, and how fio fared on them.

        Those that are alike share one entry: the runs of the one on which fio was last, so that it
        is the same entry with every tick.
        """
        entries: dict[str, ProbingMemory] = {}
        for name, state in self._devices.items():
            identity = self._identities[name]
            told_apart = identity.is_surely(identity) and name not in self._alike
            entry = ProbingMemory(
                device=identity,
                capacity=(state.memory(self._now, self._wall_seconds) if told_apart else None),
                runs=self._probing.memory(name, self._now, self._wall_seconds),
                seen_wall_seconds=self._wall_seconds,
            )
            other = entries.get(identity.key)
            if other is None or _last_run(other) < _last_run(entry):
                entries[identity.key] = entry
        for entry in entries.values():
            self._learning.remember_probing(entry)

    def _against_baseline(self, device: DeviceSnapshot, wall_seconds: float) -> DeviceSnapshot:
        """With the ratio to the best fio ever measured of the device, runs of the agent before this
        one included: a drive that declines over months does so across restarts."""
        if device.name in self._alike:
            return device  # the best may have been another's
        capacity, ratio = device.capacity, device.capacity_ratio
        if isinstance(capacity, Missing) or isinstance(ratio, Missing) or capacity.source != "fio":
            return device
        rate = capacity.value.bytes_per_second
        best = self._learning.baseline(device.identity, rate, wall_seconds)
        if best is None:
            return device
        return replace(
            device, capacity_ratio=Known(min(ratio.value, rate / best), ratio.source, ratio.at)
        )

    def _advance_databases(
        self, findings: Findings, devices: dict[str, DeviceSnapshot], host_cpu: HostCpu
    ) -> tuple[DatabaseSnapshot, ...]:
        names = {database.name for database in findings.databases}
        for gone in self._databases.keys() - names:
            del self._databases[gone]
            self._learning.forget(self._paths.pop(gone))
        snapshots = []
        for database in findings.databases:
            incarnation, state = self._databases.get(database.name, (None, None))
            path = self._paths.get(database.name, database.path)
            if path != database.path:  # a reload gave the name to another database
                self._learning.forget(path)
                state = None
            if state is None or incarnation != database.incarnation:
                state = DatabaseState(self._settings.phase_hold_seconds, self._learning)
                self._paths[database.name] = database.path
                self._databases[database.name] = (database.incarnation, state)
            data_device = next(
                (
                    path.device.value.device.name
                    for path in database.paths
                    if path.role == "data" and isinstance(path.device, Known)
                ),
                None,
            )
            device = None if data_device is None else devices.get(data_device)
            writes = (
                None
                if device is None
                else self._devices[device.name].natural_writes(
                    state.own_writes_since - SAME_TICK_SECONDS
                )
            )
            snapshots.append(
                state.update(
                    database,
                    device,
                    writes,
                    host_cpu,
                    findings.at,
                    findings.wall_seconds,
                    findings.calibrations,
                )
            )
        return tuple(snapshots)


def _orders(findings: Findings) -> tuple[Order, ...] | None:
    """The operator's orders about alerts; None where they cannot be read."""
    if isinstance(findings.orders, Known):
        return findings.orders.value
    return () if findings.orders.reason == "no_orders" else None


def _alike(devices: Iterable[DeviceFindings]) -> frozenset[str]:
    """The names of disks of one model and size that tell no serial number."""
    keys = {device.name: DeviceIdentity.of(device.sample).key for device in devices}
    count = Counter(keys.values())
    return frozenset(name for name, key in keys.items() if count[key] > 1)


def _last_run(entry: ProbingMemory) -> tuple[float, float]:
    """What orders entries by it: one that goes on is later than all that are over."""
    runs = entry.runs
    return (runs.running_since_wall_seconds or 0.0, runs.ended_wall_seconds or 0.0)


def _devices_of(database: DatabaseFindings) -> set[str]:
    return {
        path.device.value.device.name for path in database.paths if isinstance(path.device, Known)
    }
