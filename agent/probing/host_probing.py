"""Which device is to be probed now: what one tick knows of the host, for each scheduler. Pure."""

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from agent.bandwidth import CapacityEstimate
from agent.findings import DeviceFindings, Findings
from agent.learning.memory import RunsMemory
from agent.probing.database_gates import DatabaseGates
from agent.probing.past_runs import Outcome, PastRuns
from agent.probing.scheduler import ProbeRun, ProbeScheduler, ProbeView
from agent.probing.settings import ProbingSettings
from agent.readings import Known, Missing
from agent.snapshot import DatabaseSnapshot, ProbingSnapshot

OPENING_SECONDS: Final = 30.0
"""So long after a database was opened anew it is left to itself."""

HANGS_AFTER_SECONDS: Final = 900.0
"""No run of fio is longer: it hangs on a device that is gone, and no other waits for it."""


class HostProbing:
    """One scheduler a device; told every tick what the databases do."""

    def __init__(self, settings: ProbingSettings) -> None:
        self._settings = settings
        self._schedulers: dict[str, ProbeScheduler] = {}
        self._runs: dict[str, Counter[str]] = {}
        self._ended: dict[str, float] = {}  # when the last run ended that was taken into account
        self._databases: dict[str, DatabaseGates] = {}
        self._under_way: dict[str, float] = {}  # since when, as far as no end of it was seen
        self._due: dict[str, ProbeRun] = {}

    def configure(self, settings: ProbingSettings) -> None:
        """Go on with other settings; what was seen, and what is waited for, stays."""
        self._settings = settings
        # Whatever the reload was about: it may be what a run was refused for.
        for scheduler in self._schedulers.values():
            scheduler.configure(settings.interval_seconds, settings.mode, settings.limits)
            scheduler.past.retry_what_was_refused()

    def follow(
        self, databases: Collection[DatabaseSnapshot], devices: Collection[str], findings: Findings
    ) -> None:
        """Take one tick of all databases into account; ``devices`` are those that carry them.

        ``findings`` is what the tick read, of each of ``databases`` too.
        """
        for away in self._due.keys() - set(devices):
            del self._due[away]
        for gone in self._databases.keys() - {database.name for database in databases}:
            del self._databases[gone]
        read = {database.name: database for database in findings.databases}
        for database in databases:
            gates = self._databases.setdefault(database.name, DatabaseGates())
            gates.follow(database, read[database.name], findings.at, findings.wall_seconds)
        # A device that is out of sight, because its database is away, may still be written to.
        for device in findings.devices:
            if device.fio_active:
                self._under_way.setdefault(device.name, findings.at)
            else:
                self._under_way.pop(device.name, None)

    def begin(self, device: str, past: PastRuns, since: float = -math.inf) -> None:
        """Follow a device from now on; ``past`` are its runs so far, of earlier processes, too.

        What ended before ``since`` ran on another device of this name.
        """
        settings = self._settings
        self._schedulers[device] = ProbeScheduler(
            settings.interval_seconds, settings.mode, settings.limits, past
        )
        self._due.pop(device, None)
        self._ended[device] = since

    def memory(self, device: str, now: float, wall_seconds: float) -> RunsMemory:
        """What is to be kept of the runs on a device that is followed."""
        return self._schedulers[device].past.memory(now, wall_seconds)

    def decide(
        self,
        device: DeviceFindings,
        findings: Findings,
        estimate: CapacityEstimate,
    ) -> ProbingSnapshot:
        """Whether to probe ``device`` now."""
        scheduler = self._schedulers[device.name]
        runs = self._runs.setdefault(device.name, Counter())
        ended = device.fio_ended
        if ended is not None and ended.at > self._ended[device.name]:
            self._ended[device.name] = ended.at
            scheduler.past.finished(ended.at, Outcome(ended.outcome))
            runs[ended.outcome] += 1
        decision = scheduler.decide(self._view(device, findings, estimate))
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
    ) -> ProbeView:
        now, budget, pause = findings.at, device.budget, findings.pause
        seen = [gates for gates in self._databases.values() if gates.shares_disk(device.sample)]
        return ProbeView(
            now=now,
            enabled=self._settings.enabled,
            running=device.fio_active,
            pause_remaining_seconds=pause.value if isinstance(pause, Known) else None,
            pause_unknown=_pause_unknown(pause),
            stalled_at=max((s.stalled_at for s in seen if s.stalled_at is not None), default=None),
            stalls_unknown=next((s.stalls_unknown for s in seen if s.stalls_unknown), None),
            opening=any(
                s.recovering or (s.opened_at is not None and now - s.opened_at < OPENING_SECONDS)
                for s in seen
            ),
            other_run=self._other_run(device.name, now),
            pressure_ratio=(
                findings.pressure.value.some_avg10_ratio
                if isinstance(findings.pressure, Known)
                else None
            ),
            free_bytes=device.sample.filesystem_free_bytes,
            size_bytes=device.sample.filesystem_size_bytes,
            budget_remaining_bytes=(
                budget.value.remaining_bytes - budget.value.kept_for_files_bytes
                if isinstance(budget, Known)
                else 0
            ),
            budget_refused=budget if isinstance(budget, Missing) else None,
            measured=estimate.measured,
            contradiction=estimate.contradiction(now),
            last_failure=next(
                (
                    Missing(probe.reason, probe.detail or "")
                    for probe in findings.probes
                    if (probe.probe, probe.target) == ("fio", device.name)
                    and probe.reason is not None
                ),
                None,
            ),
        )

    def _other_run(self, device: str, now: float) -> str | None:
        """Another device that fio writes to, or is about to: two runs may share what they measure,
        a disk under both or the way to it."""
        under_way = (
            name for name, since in self._under_way.items() if now - since < HANGS_AFTER_SECONDS
        )
        return next((name for name in (*under_way, *self._due) if name != device), None)

    def due(self, now: float) -> Mapping[str, ProbeRun]:
        """The runs to start now, by device; asking counts as their start. At most one."""
        due, self._due = self._due, {}
        for name, run in due.items():
            self._schedulers[name].past.started(now, run.mode)
            self._under_way[name] = now
        return due


def _pause_unknown(pause: Known[float] | Missing) -> str | None:
    """Why it cannot be told whether the operator has paused, and what to do; None when it can."""
    if isinstance(pause, Known) or pause.reason == "not_paused":
        return None
    if pause.reason == "pause_unusable":
        return pause.detail  # names the file, and what to do with it
    return f"{pause.detail}; check the state directory"
