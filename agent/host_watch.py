"""Everything that is watched on this host, and one method that reads it all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.alerts.orders_file import OrdersProbe
from agent.calibrate.result import CalibrationResult
from agent.calibrate.result_file import CalibrationResultsProbe
from agent.config import Config, DatabaseSettings
from agent.database_watch import DatabaseWatch
from agent.device_watch import DeviceWatch
from agent.findings import CalibrationFindings, Findings
from agent.probing.pause_file import PauseProbe
from agent.probing.scheduler import ProbeRun
from agent.readings import Known, Missing, printable
from agent.reload_plan import databases_to_watch
from agent.schedule import Slot, Turns, run_due
from agent.watch_tools import WatchTools
from agent.wear.accounts import WearView
from probes.cpu import HostCpuProbe
from probes.diskstats import DiskstatsProbe
from probes.fio_guard import GuardedDatabase
from probes.pressure import PressureProbe
from probes.rocksdb.discover import DatabaseSearch, DiscoveryResult
from probes.samples import BlockDeviceSample

FORGET_AFTER_SECONDS = 60.0
"""A discovered database that has been gone for so long is not reported any more."""

LEAVING_SECONDS = 0.1
"""The empty scratch directories have so long to go, also when a program did not end in time."""

CALIBRATION_SECONDS = 60.0
"""How often the results of ``smaxd calibrate`` are looked for; it runs for minutes."""

HOST = "host"
"""The target of probes that look at the whole host."""


class HostWatch:
    """The probes of the host, its databases and their devices."""

    def __init__(self, tools: WatchTools) -> None:
        config = tools.config
        self._tools = tools
        self._diskstats_probe = DiskstatsProbe(tools.clock)
        self._diskstats = self._host_slot("diskstats", self._diskstats_probe)
        self._pressure = self._host_slot("pressure", PressureProbe(tools.clock))
        self._cpu = self._host_slot("cpu", HostCpuProbe(tools.clock))
        self._pause = self._host_slot("pause", PauseProbe(tools.state_directory, tools.clock))
        self._orders = self._host_slot("alert_orders", OrdersProbe(tools.state_directory))
        self._calibrations: Slot[tuple[CalibrationResult, ...]] = Slot(
            "calibration",
            HOST,
            CalibrationResultsProbe(tools.state_directory).read,
            tools.clock,
            cadence_seconds=CALIBRATION_SECONDS,
            timeout_seconds=config.probe_timeout_seconds,
        )
        self._databases: dict[str, DatabaseWatch] = {}
        self._devices: dict[str, DeviceWatch] = {}
        self._former_devices: dict[str, DeviceWatch] = {}
        for settings in config.databases:
            watch = DatabaseWatch(settings, tools)
            watch.configured = True
            self._databases[watch.path] = watch
        self._search = DatabaseSearch()
        self._unsure: set[str] = set()
        self._discovery = self._discovery_slot()
        self._turns = Turns(tools.clock)

    def configure(self, config: Config) -> None:
        """Watch what ``config`` names from now on; what stays keeps its baselines."""
        tools = self._tools = replace(self._tools, config=config)
        now, timeout = tools.clock.monotonic(), config.probe_timeout_seconds
        for slot in (self._diskstats, self._pressure, self._cpu, self._pause, self._orders):
            slot.configure(cadence_seconds=config.tick_seconds, timeout_seconds=timeout)
        self._calibrations.configure(cadence_seconds=CALIBRATION_SECONDS, timeout_seconds=timeout)
        wanted = self._discovery_slot()
        if self._discovery is None or wanted is None:
            self._discovery = wanted
        else:
            self._discovery.configure(
                cadence_seconds=wanted.cadence_seconds, timeout_seconds=timeout
            )
        found_running = {
            path: not watch.configured or watch.owner_pid(now) is not None
            for path, watch in self._databases.items()
        }
        databases = {}
        for settings in databases_to_watch(config, found_running):
            watch = self._databases.get(settings.path)
            if watch is None or watch.name != (settings.name or printable(settings.path)):
                watch = DatabaseWatch(settings, tools)
            watch.configure(settings, tools)
            watch.configured = bool(config.databases)
            databases[settings.path] = watch
        self._databases = databases
        for device in (*self._devices.values(), *self._former_devices.values()):
            device.configure(tools)

    def _discovery_slot(self) -> Slot[DiscoveryResult] | None:
        config = self._tools.config
        if not config.discovery.enabled or config.databases:
            return None
        return Slot(
            "discovery",
            HOST,
            self._search.read,
            self._tools.clock,
            cadence_seconds=config.discovery.interval_seconds,
            timeout_seconds=config.probe_timeout_seconds,
        )

    def _host_slot(self, name: str, probe: Any) -> Slot[Any]:  # noqa: ANN401 - every probe has a read() of its own type
        config = self._tools.config
        return Slot(
            name,
            HOST,
            probe.read,
            self._tools.clock,
            cadence_seconds=config.tick_seconds,
            timeout_seconds=config.probe_timeout_seconds,
            each_tick=True,
        )

    def collect(self) -> Findings:
        """Run what is due and return what all probes have answered.

        Takes at most about three times the probe timeout, whatever hangs, and only the first time:
        what hangs is not waited for again.
        """
        clock, wait = self._tools.clock, self._tools.config.probe_timeout_seconds
        first = self._host_slots()
        if self._discovery is not None:
            run_due([self._discovery], clock, wait)
            self._take_discovered(clock.monotonic())
        for watch in self._databases.values():
            first += watch.first_slots()
        run_due(first, clock, wait)
        now = clock.monotonic()
        second: list[Slot[Any]] = []
        for watch in self._databases.values():
            watch.renew(now)
            watch.pace_secondary(now, len(self._databases))
            second += watch.second_slots()
        self._follow_devices(now)
        second += [device.smart for device in self._devices.values()]
        run_due(second, clock, wait)
        self._turns.offer(second)
        return self._findings(clock.monotonic())

    def close(self, wait_seconds: float) -> None:
        """Let the programs' probes clean up after their end, and remove what is left of ours."""
        self._turns.close()
        deadline = self._tools.clock.monotonic() + wait_seconds
        former = tuple(self._former_devices.values())
        devices = (*self._devices.values(), *former)
        for slot in self._slots() + [device.fio for device in former if device.fio is not None]:
            if slot.background and slot.running:
                slot.wait(deadline - self._tools.clock.monotonic())
        left = max(LEAVING_SECONDS, deadline - self._tools.clock.monotonic())
        run_due([device.leaving() for device in devices], self._tools.clock, left)

    def _take_discovered(self, now: float) -> None:
        if self._discovery is None:
            return
        answer = self._discovery.answer(now)
        if isinstance(answer, Known):
            found = {database.path for database in answer.value.databases}
            silent = {database.path for database in answer.value.silent}
            for path in sorted((found | silent).difference(self._databases)):
                self._databases[path] = DatabaseWatch(DatabaseSettings(path=path), self._tools)
                self._unsure |= {path} & silent
            # What was silent and turns out to be another program's was never a database.
            for path in self._unsure - found - silent:
                self._databases.pop(path, None)
            self._unsure &= silent
        for path, watch in list(self._databases.items()):
            gone_for = 0.0 if watch.gone_since is None else now - watch.gone_since
            if not watch.configured and gone_for > FORGET_AFTER_SECONDS:
                del self._databases[path]

    def _follow_devices(self, now: float) -> None:
        """Keep one watch per device; the first database on it lends its file system."""
        carried: dict[str, list[BlockDeviceSample]] = {}
        watches = self._databases.values()
        for watch in watches:
            for sample in watch.devices(now):
                carried.setdefault(sample.device.name, []).append(sample)
        directories = tuple({path: None for watch in watches for path in watch.directories()})
        for name in self._devices.keys() - carried.keys():
            # Kept aside: a database that is away for a moment must not cost another fio run when
            # it returns, nor take back what is counted as written.
            self._former_devices[name] = self._devices.pop(name)
        for name, samples in carried.items():
            sample = samples[0]
            if name in self._former_devices:
                self._devices[name] = self._former_devices.pop(name)
            elif name not in self._devices:
                self._devices[name] = DeviceWatch(
                    sample,
                    directories,
                    self._diskstats_probe,
                    self._tools,
                    self._guarded,
                )
            device = self._devices[name]
            device.follow(sample, directories)
            device.clear_up(samples, now)
            if self._tools.ledger is not None:
                self._tools.ledger.open_account(device.key, sample.size_bytes)

    def _guarded(self, device: BlockDeviceSample) -> list[GuardedDatabase]:
        """What the guard of a run on ``device`` looks at: all that share a disk with it."""
        now = self._tools.clock.monotonic()
        return [
            watch.guarded(now)
            for watch in list(self._databases.values())
            if watch.shares_disk(device, now)
        ]

    def start_probes(self, runs: Mapping[str, ProbeRun]) -> None:
        """Start fio where that was decided."""
        for name, run in runs.items():
            device = self._devices.get(name)
            if device is not None:
                device.start_fio(run, self._tools.clock.monotonic())

    def _written_bytes(self, wear: WearView | None) -> dict[tuple[str, str], int]:
        """What the accounts of the devices met so far say, by name and purpose."""
        own_files = self._tools.own_files
        names = ({} if own_files is None else dict(own_files.names)) | {
            printable(device.key): device.name
            for device in (*self._former_devices.values(), *self._devices.values())
        }
        return {
            (names.get(account.device, account.device), purpose): amount
            for account in (() if wear is None else wear.accounts)
            for purpose, amount in account.written_bytes
        }

    def _findings(self, now: float) -> Findings:
        wear = None if self._tools.ledger is None else self._tools.ledger.view()
        owners = [watch.owner_pid(now) for watch in self._databases.values()]
        discovery = None if self._discovery is None else self._discovery.answer(now)
        return Findings(
            at=now,
            wall_seconds=self._tools.clock.wall(),
            diskstats=self._diskstats.answer(now),
            pressure=self._pressure.answer(now),
            cpu=self._cpu.answer(now),
            databases=tuple(
                watch.findings(now, shares_process=_is_shared(owner, owners))
                for watch, owner in zip(self._databases.values(), owners, strict=True)
            ),
            devices=tuple(device.findings(now, wear) for device in self._devices.values()),
            probes=tuple(slot.state(now) for slot in self._slots()),
            written_bytes=self._written_bytes(wear),
            hidden_databases=(
                discovery.value.unreadable_owners if isinstance(discovery, Known) else 0
            ),
            calibrations=_calibrations(self._calibrations.answer(now)),
            pause=self._pause.answer(now),
            orders=self._orders.answer(now),
        )

    def _host_slots(self) -> list[Slot[Any]]:
        return [
            self._diskstats,
            self._pressure,
            self._cpu,
            self._pause,
            self._orders,
            self._calibrations,
        ]

    def _slots(self) -> list[Slot[Any]]:
        slots = self._host_slots()
        if self._discovery is not None:
            slots.append(self._discovery)
        # Copies: at the end a tick may still be under way, in another thread.
        for watch in tuple(self._databases.values()):
            slots += watch.first_slots()
            slots += watch.second_slots()
        devices = tuple(self._devices.values())
        slots += [device.fio for device in devices if device.fio is not None]
        slots += [device.smart for device in devices]
        return slots


def _calibrations(
    answer: Known[tuple[CalibrationResult, ...]] | Missing,
) -> tuple[CalibrationFindings, ...]:
    if isinstance(answer, Missing):
        return ()
    return tuple(
        CalibrationFindings(
            measured_wall_seconds=result.measured_wall_seconds,
            database=result.database,
            device=result.device_name,
            device_size_bytes=result.device_size_bytes,
            device_model=result.device_model,
            options_key=result.options_key,
            record_bytes=float(result.records.record_bytes),
            puts_per_second=result.puts_per_second if result.usable else None,
            sustained_bytes_per_second=result.sustained_capacity,
            size_ratio=(
                result.scratch_bytes_end / result.database_bytes
                if result.scratch_bytes_end and result.database_bytes
                else None
            ),
        )
        for result in answer.value
    )


def _is_shared(owner: int | None, owners: Sequence[int | None]) -> bool:
    return owner is not None and owners.count(owner) > 1
