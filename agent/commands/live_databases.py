"""The databases that are open on this host, looked at and judged as the daemon does."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from agent.config import Config, DatabaseSettings, SecondarySettings
from agent.database_watch import DatabaseWatch
from agent.findings import DeviceBudget, DeviceFindings, Findings
from agent.host_state import HostSettings, HostState
from agent.host_watch import HOST
from agent.learning.learning import Learning
from agent.learning.memory import LearnedState
from agent.main import private_directory_parent
from agent.probing.pause_file import PauseProbe
from agent.probing.settings import ProbingSettings
from agent.readings import Known, Missing
from agent.schedule import Slot, run_due
from agent.snapshot import ProbingSnapshot
from agent.watch_tools import WatchTools
from probes.clock import Clock
from probes.command import ProcessGroupRunner
from probes.fio import DEFAULT_LIMITS, FioMode
from probes.fio_guard import GuardedDatabase
from probes.pressure import PressureProbe
from probes.samples import BlockDeviceSample

T = TypeVar("T")

_NOT_READ = Missing("not_yet_measured", "a command does not read this")


class LiveDatabases:
    """Those at ``paths``. ``state_directory`` is where an operator's pause would lie."""

    def __init__(
        self,
        paths: Sequence[str],
        environ: Mapping[str, str],
        state_directory: str | None,
        clock: Clock,
    ) -> None:
        self.paths = tuple(paths)
        self._clock = clock
        self._config = Config(secondary=SecondarySettings(enabled=False))
        tools = WatchTools(
            self._config, clock, ProcessGroupRunner(), private_directory_parent(environ), environ
        )
        self._watches = [DatabaseWatch(DatabaseSettings(path=path), tools) for path in self.paths]
        self._pause = self._slot("pause", PauseProbe(state_directory, clock).read)
        self._pressure = self._slot("pressure", PressureProbe(clock).read)
        self._state: HostState | None = None

    def _slot(self, name: str, read: Callable[[], T]) -> Slot[T]:
        seconds = self._config.probe_timeout_seconds
        return Slot(
            name,
            HOST,
            read,
            self._clock,
            cadence_seconds=seconds,
            timeout_seconds=seconds,
            each_tick=True,
        )

    def look(self) -> None:
        """Read them; takes at most about three times as long as a probe may."""
        clock, wait = self._clock, self._config.probe_timeout_seconds
        first = [slot for watch in self._watches for slot in watch.first_slots()]
        run_due([self._pause, self._pressure, *first], clock, wait)
        for watch in self._watches:
            watch.renew(clock.monotonic())
        run_due([slot for watch in self._watches for slot in watch.second_slots()], clock, wait)
        # Only now is it known where the OPTIONS and the LOG say that files lie.
        run_due([slot for watch in self._watches for slot in watch.first_slots()], clock, wait)

    def directories(self) -> tuple[str, ...]:
        """All that hold their files, as far as they are known."""
        return tuple(chain.from_iterable(watch.directories() for watch in self._watches))

    def guarded(self, device: BlockDeviceSample | None) -> list[GuardedDatabase]:
        """What the guard of a run on ``device`` looks at; of an unknown device: all."""
        now = self._clock.monotonic()
        return [
            watch.guarded(now)
            for watch in self._watches
            if device is None or watch.shares_disk(device, now)
        ]

    def decide(
        self, device: BlockDeviceSample, budget: Known[DeviceBudget] | Missing, mode: FioMode
    ) -> ProbingSnapshot:
        """Whether fio may run on ``device`` now, by the last look and those before."""
        if self._state is None:
            self._state = self._judge(mode)
        name = device.device.name
        found = DeviceFindings(
            name=name,
            sample=device,
            configured_limit_bytes_per_second=None,
            fio=_NOT_READ,
            fio_active=False,
            scratch_directory=None,
            budget=budget,
        )
        (snapshot,) = self._state.advance(self._findings(found)).devices
        if snapshot.probing is None:
            raise AssertionError(f"nothing was decided about {name}")
        return snapshot.probing

    def _judge(self, mode: FioMode) -> HostState:
        """The daemon's decisions, for a device of which nothing is known and this mode alone."""
        config = self._config
        return HostState(
            version="",
            settings=HostSettings(
                config_hash="",
                tick_seconds=config.tick_seconds,
                phase_hold_seconds=config.phase.hold_seconds,
                capacity_max_age_seconds=config.fio.interval_seconds,
                alerts=config.alerts,
                alerting=config.alerting,
                probing=ProbingSettings(
                    True, config.fio.interval_seconds, mode, {mode: DEFAULT_LIMITS[mode]}
                ),
            ),
            learning=Learning(LearnedState()),
        )

    def _findings(self, device: DeviceFindings) -> Findings:
        now = self._clock.monotonic()
        return Findings(
            at=now,
            wall_seconds=self._clock.wall(),
            diskstats=_NOT_READ,
            pressure=self._pressure.answer(now),
            cpu=_NOT_READ,
            databases=tuple(watch.findings(now, shares_process=False) for watch in self._watches),
            devices=(device,),
            probes=(),
            written_bytes={},
            hidden_databases=0,
            pause=self._pause.answer(now),
        )
