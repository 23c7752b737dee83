"""The tick: collect, decide, publish, wait. Logs what changes, not what stays."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from agent.alerts.engine import AlertKey
from agent.delivery.scrapers import Scrapes
from agent.delivery.status import DeliveryStatus
from agent.export_metrics import ExportStatus
from agent.history.status import HistoryStatus
from agent.host_state import HostState
from agent.host_watch import HostWatch
from agent.recording.recorder import Recorder
from agent.reload import ConfigReload
from agent.reload_plan import ConfigLoad
from agent.self_limits import UNRESTRAINED
from agent.simulator import Simulator
from agent.snapshot import Snapshot
from agent.web_metrics import WebStatus
from probes.clock import Clock

EARLY_TICKS_SECONDS = (1.0, 2.0)
"""Distances of the next ticks after something new is watched: rates exist within seconds."""

Logger = structlog.typing.FilteringBoundLogger


class Published:
    """The latest snapshot, handed from the loop to whoever renders it."""

    def __init__(self, children_cpu_seconds: Callable[[], Mapping[str, float]] = dict) -> None:
        self.children_cpu_seconds = children_cpu_seconds
        self._snapshot: Snapshot | None = None
        self.tick_duration_seconds = 0.0
        self.config_load: ConfigLoad | None = None
        self.degradation = UNRESTRAINED
        self.scrapes = Scrapes()
        self.delivery_status: Callable[[], DeliveryStatus | None] = lambda: None
        self.history_status: Callable[[], HistoryStatus | None] = lambda: None
        self.web_status: Callable[[], WebStatus | None] = lambda: None
        self.export_statuses: Callable[[], tuple[ExportStatus, ...]] = tuple

    def scraped(self, client: str, at: float) -> None:
        """A scraper has fetched the page; only the listener's thread calls this."""
        self.scrapes = self.scrapes.saw(client, at)

    def put(self, snapshot: Snapshot, duration_seconds: float) -> None:
        """Replace the snapshot; a single assignment, so readers need no lock."""
        self.tick_duration_seconds = duration_seconds
        self._snapshot = snapshot

    def get(self) -> Snapshot | None:
        """The latest snapshot, None before the first tick."""
        return self._snapshot


class Loop:
    """Runs ticks until stopped."""

    def __init__(
        self,
        watch: HostWatch,
        state: HostState,
        published: Published,
        clock: Clock,
        log: Logger,
        tick_seconds: float,
        simulator: Simulator,
        recorder: Recorder | None = None,
        reload: ConfigReload | None = None,
    ) -> None:
        self._simulator = simulator
        self._watch = watch
        self._state = state
        self._published = published
        self._clock = clock
        self._tick_seconds = tick_seconds
        self._recorder = recorder
        self._changes = ChangeLog(log)
        self._log = log
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._start = clock.monotonic()
        self._reload = reload
        self._reload_asked = False
        if reload is not None:
            published.config_load = reload.last
        self._defects: dict[tuple[str, ...], str] = {}

    def stop(self) -> None:
        """Ask the loop to end; it does so before the next tick."""
        self._stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Ask the loop to read the configuration anew, before the next tick."""
        self._reload_asked = True
        self._wake.set()

    def pace(self, tick_seconds: float) -> None:
        """Tick so often from now on; to be called in the loop's own thread."""
        if tick_seconds != self._tick_seconds:
            self._tick_seconds, self._start = tick_seconds, self._clock.monotonic()

    def run(self, *after_tick: Callable[[Snapshot], None]) -> None:
        """Tick until ``stop``, and give each of ``after_tick`` what it left. A tick or a part that
        fails is logged, and costs nothing but itself."""
        self._start = self._clock.monotonic()
        early: list[float] = []
        while not self._stop.is_set():
            began = self._clock.monotonic()
            with self._defects_told("tick_failed"):
                findings = self._watch.collect()
                if self._recorder is not None:
                    with self._defects_told("part_failed", part="recording"):
                        self._recorder.take(findings)
                with self._defects_told("part_failed", part="simulator's answers"):
                    for name, answer in self._simulator.answers().items():
                        self._state.take_simulated(name, answer, findings.at)
                snapshot = self._state.advance(findings)
                self._watch.start_probes(self._state.probes_due())
                with self._defects_told("part_failed", part="simulator's questions"):
                    self._simulator.keep({database.name for database in snapshot.databases})
                    for inputs in self._state.simulations_due(findings.at):
                        self._simulator.submit(inputs.database, inputs)
                self._published.put(snapshot, self._clock.monotonic() - began)
                with self._defects_told("part_failed", part="log of changes"):
                    if self._changes.write(snapshot):
                        early = list(EARLY_TICKS_SECONDS)
                for part in after_tick:
                    with self._defects_told("part_failed", part=part.__qualname__):
                        part(snapshot)
            until_grid = self._until_grid()
            self._wait(min(until_grid, early.pop(0)) if early else until_grid)

    def _until_grid(self) -> float:
        """A grid of whole cadences from the start: a slow tick delays none but itself."""
        return self._tick_seconds - (self._clock.monotonic() - self._start) % self._tick_seconds

    def _wait(self, seconds: float) -> None:
        """Wait for the next tick, and reload meanwhile where that is asked for.

        What a reload adds is looked at soon; however often one is asked for, none delays the tick.
        """
        until = self._clock.monotonic() + seconds
        while self._wake.wait(max(0.0, until - self._clock.monotonic())):
            self._wake.clear()
            if self._stop.is_set():
                return
            if self._reload_asked and self._reload is not None:
                self._reload_asked = False
                self._reload.reload()
                self._published.config_load = self._reload.last
                now = self._clock.monotonic()
                until = min(until, now + EARLY_TICKS_SECONDS[0], now + self._tick_seconds)

    @contextmanager
    def _defects_told(self, event: str, **more: str) -> Iterator[None]:
        """A defect must not end the service. Its traceback once, not whenever it comes again."""
        key = (event, *more.values())
        try:
            yield
        except Exception as defect:
            if repr(defect) != self._defects.get(key):
                self._defects[key] = repr(defect)
                self._log.exception(event, **more)
        else:
            self._defects.pop(key, None)


class ChangeLog:
    """One line when a probe begins or ceases to fail, an alert changes, a database saturates."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._probes: dict[tuple[str, str], str | None] = {}
        self._alerts: set[AlertKey] = set()  # those that are active
        self._first = True
        self._databases: dict[str, int] = {}
        self._saturated: set[str] = set()

    def write(self, snapshot: Snapshot) -> bool:
        """Log the differences to the previous snapshot; True when a database is new or another."""
        databases_changed = self._write_databases(snapshot)
        # Of a database that is gone, one probe says so; the others only follow.
        gone = {p.target for p in snapshot.probes if p.probe == "fingerprint" and not p.success}
        seen = set()
        for probe in snapshot.probes:
            key = (probe.probe, probe.target)
            seen.add(key)
            if probe.success is None or self._probes.get(key, "") == probe.reason:
                continue
            if probe.target in gone and probe.probe != "fingerprint":
                continue
            known = key in self._probes
            self._probes[key] = probe.reason
            fields = {"probe": probe.probe, "target": probe.target}
            if probe.reason is not None:
                level = self._log.info if probe.absent else self._log.warning
                level("probe_no_data", **fields, reason=probe.reason, detail=probe.detail)
            elif known:
                self._log.info("probe_recovered", **fields)
        for key in self._probes.keys() - seen:
            del self._probes[key]
        for alert in snapshot.alerts:
            if alert.active == (alert.key in self._alerts):
                continue
            # What fires in the first tick, and did not begin with it, fired before a restart.
            restored = self._first and alert.since_wall_seconds != snapshot.wall_seconds
            began = "alert_still_active" if restored else "alert_began"
            self._log.warning(
                began if alert.active else "alert_ended",
                alert=alert.alert,
                severity=alert.severity,
                db=alert.database,
                device=alert.device,
                value=alert.value,
                summary=alert.summary if alert.active else None,
            )
        # What is gone with its database is forgotten, too: it is told anew when both are back.
        self._alerts = {alert.key for alert in snapshot.alerts if alert.active}
        self._first = False
        self._write_saturation(snapshot)
        return databases_changed

    def _write_saturation(self, snapshot: Snapshot) -> None:
        """When a database becomes its own limit, and what had been learned when that ended."""
        now = {database.name for database in snapshot.databases if database.saturated}
        for database in snapshot.databases:
            if database.name in now - self._saturated:
                self._log.info("saturation_began", db=database.name)
            elif database.name in self._saturated - now:
                self._log.info(
                    "saturation_ended", db=database.name, episodes=database.episodes_total
                )
        self._saturated = now

    def _write_databases(self, snapshot: Snapshot) -> bool:
        now = {database.name: database.incarnations for database in snapshot.databases}
        for database in snapshot.databases:
            before = self._databases.get(database.name)
            if before is None:
                self._log.info("database_watched", db=database.name, path=database.path)
            elif before != database.incarnations and before > 0:
                self._log.info(
                    "database_changed", db=database.name, incarnation=database.incarnations
                )
        for gone in self._databases.keys() - now.keys():
            self._log.info("database_forgotten", db=gone)
        changed = self._databases != now
        self._databases = now
        return changed
