"""Which device is to be probed now: what one tick knows of the host, for each scheduler. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agent.bandwidth import CapacityEstimate
from agent.findings import DeviceFindings, Findings
from agent.probing.scheduler import Outcome, ProbeRun, ProbeScheduler, ProbeView
from agent.probing.settings import ProbingSettings
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, ProbingSnapshot

OPENING_SECONDS: Final = 30.0
"""So long after a database was opened anew it is left to itself."""


@dataclass(slots=True)
class _Seen:
    """What was last seen of a database."""

    incarnation: int
    opened_at: float | None
    stall_seconds: float | None
    stalled_at: float | None


class HostProbing:
    """One scheduler a device; told every tick what the databases do."""

    def __init__(self, settings: ProbingSettings) -> None:
        self._settings = settings
        self._schedulers: dict[str, ProbeScheduler] = {}
        self._runs: dict[str, Counter[str]] = {}
        self._ended: dict[str, float] = {}
        self._databases: dict[str, _Seen] = {}
        self._due: dict[str, ProbeRun] = {}

    def configure(self, settings: ProbingSettings) -> None:
        """Go on with other settings; the schedulers start anew, the gates do not."""
        if settings != self._settings:
            self._settings = settings
            self._schedulers.clear()

    def follow(
        self, databases: Collection[DatabaseSnapshot], devices: Collection[str], now: float
    ) -> None:
        """Take one tick of all databases into account; ``devices`` are those that carry them."""
        for name in self._schedulers.keys() - set(devices):
            del self._schedulers[name]
        for gone in self._databases.keys() - {database.name for database in databases}:
            del self._databases[gone]
        for database in databases:
            self._follow(database, now)

    def _follow(self, database: DatabaseSnapshot, now: float) -> None:
        total = None
        if isinstance(database.stall_seconds, Known):
            total = sum(database.stall_seconds.value.values())
        seen = self._databases.get(database.name)
        if seen is None:
            seen = _Seen(database.incarnations, None, total, None)
            self._databases[database.name] = seen
        if database.incarnations != seen.incarnation:
            # From 0 on it is only looked at, whenever it was opened.
            seen.opened_at = now if seen.incarnation else None
            seen.incarnation, seen.stall_seconds = database.incarnations, total
        if isinstance(database.stalls, Known) and database.stalls.value:
            seen.stalled_at = now
        if total is not None and seen.stall_seconds is not None and total > seen.stall_seconds:
            seen.stalled_at = now
        seen.stall_seconds = total if total is not None else seen.stall_seconds

    def decide(
        self,
        device: DeviceFindings,
        findings: Findings,
        estimate: CapacityEstimate,
        names: Iterable[str],
        *,
        known_before: bool,
    ) -> ProbingSnapshot:
        """Whether to probe ``device`` now; ``names`` are the databases that it carries.

        ``known_before``: it was measured before the agent's start, so that this is no first run.
        """
        scheduler = self._schedulers.get(device.name)
        if scheduler is None:
            settings = self._settings
            scheduler = ProbeScheduler(
                settings.interval_seconds,
                settings.mode,
                settings.limits,
                long_run_done=known_before,
            )
            self._schedulers[device.name] = scheduler
        runs = self._runs.setdefault(device.name, Counter())
        ended = device.fio_ended
        if ended is not None and self._ended.get(device.name) != ended.at:
            self._ended[device.name] = ended.at
            scheduler.finished(ended.at, Outcome(ended.outcome))
            runs[ended.outcome] += 1
        decision = scheduler.decide(self._view(device, findings, estimate, tuple(names)))
        if decision.run is None:
            self._due.pop(device.name, None)
        else:
            self._due[device.name] = decision.run
        return ProbingSnapshot(decision.reason, decision.detail, decision.closed, dict(runs))

    def _view(
        self,
        device: DeviceFindings,
        findings: Findings,
        estimate: CapacityEstimate,
        names: tuple[str, ...],
    ) -> ProbeView:
        now, budget = findings.at, device.budget
        seen = [self._databases[name] for name in names if name in self._databases]
        return ProbeView(
            now=now,
            enabled=self._settings.enabled,
            running=device.fio_active,
            pause_remaining_seconds=(
                findings.pause.value if isinstance(findings.pause, Known) else None
            ),
            stalled_at=max((s.stalled_at for s in seen if s.stalled_at is not None), default=None),
            opening=any(
                s.opened_at is not None and now - s.opened_at < OPENING_SECONDS for s in seen
            ),
            pressure_ratio=(
                findings.pressure.value.some_avg10_ratio
                if isinstance(findings.pressure, Known)
                else None
            ),
            free_bytes=device.sample.filesystem_free_bytes,
            size_bytes=device.sample.filesystem_size_bytes,
            budget_remaining_bytes=(
                budget.value.remaining_bytes if isinstance(budget, Known) else 0
            ),
            budget_refused=budget if isinstance(budget, Missing) else None,
            measured=estimate.measured,
            contradiction=estimate.contradiction(now),
        )

    def due(self) -> Mapping[str, ProbeRun]:
        """The runs to start now, by device; asking counts as their start."""
        due = {name: run for name, run in self._due.items() if name in self._schedulers}
        self._due.clear()
        for name, run in due.items():
            self._schedulers[name].started(run)
        return due
