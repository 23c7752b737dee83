"""One database over time: put rate, bandwidth left to it, phase, S_max."""

import statistics
from collections import deque
from collections.abc import Sequence

from agent import workload
from agent.bandwidth import Capacity, available_bandwidth, foreign_writes
from agent.cpu_use import HostCpu, LoneWriterUse, OthersCpuUse, ProcessCpuUse, cpu_seconds
from agent.database_models import BYTES_PER_GB, DatabaseModels, Evidence
from agent.findings import CalibrationFindings, DatabaseFindings, PathFindings
from agent.inputs.model_inputs import CpuShare
from agent.learning.learning import Learning
from agent.models.estimate import CalibratedEstimate
from agent.models.lsm import ModelInputs, Simulated
from agent.models.prediction import MIB
from agent.own_writes import OwnWrites
from agent.phase import PhaseEvidence, PhaseInference, PhaseInForce
from agent.put_rate import PutRate
from agent.rates import MeanRate
from agent.readings import Known, Missing, Quantity, derive, first_known, value_of
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, PlacedFiles
from agent.stalls import background_error, stall_conditions, stall_seconds

MEDIAN_STEP_SECONDS = 5.0
MEDIAN_WINDOW_SECONDS = 3600.0
"""Over how long S_max's own median is taken, against which a drop is judged."""

MEDIAN_MIN_COUNT = 12
"""With fewer values a median says nothing."""

PUBLISHED_MODELS = frozenset({"v4", "v4.1"})
"""The models whose constants are others' measurements."""


class DatabaseState:
    """Follows one incarnation of a database from tick to tick; pure, time comes in."""

    def __init__(self, phase_hold_seconds: float, learning: Learning) -> None:
        self._models = DatabaseModels(learning)
        self._put_rate = PutRate()
        self._own_writes = OwnWrites()
        self._work = workload.ManifestWork()
        self._cpu = ProcessCpuUse()
        self._others_cpu = OthersCpuUse()
        self._lone_writer = LoneWriterUse()
        self._log_has_spoken = False
        self._phase = PhaseInference(phase_hold_seconds)
        self._recent: deque[tuple[float, float]] = deque()
        self._recent_model = ""

    @property
    def own_writes_since(self) -> float:
        """From when on this database's own writes are known."""
        return self._own_writes.since

    def hold_phase_for(self, seconds: float) -> None:
        """Another time for which a phase must win before it is in force."""
        self._phase.hold_for(seconds)

    def update(
        self,
        findings: DatabaseFindings,
        device: DeviceSnapshot | None,
        device_writes: MeanRate | None,
        host_cpu: HostCpu,
        now: float,
        wall_seconds: float,
        calibrations: Sequence[CalibrationFindings] = (),
    ) -> DatabaseSnapshot:
        """Take one tick's findings into account; ``device`` carries the data directory."""
        log, fingerprint = findings.log, findings.fingerprint
        owner = fingerprint.value.owner_pid if isinstance(fingerprint, Known) else None
        observed = self._put_rate.update(findings.wal, findings.manifest, log, now, wall_seconds)
        size = _record_size(findings, now)
        amplification = workload.write_amplification(log)
        self._work.add(findings.manifest)
        compaction = first_known(
            workload.compaction_write_rate(log, wall_seconds), self._work.compaction_rate()
        )
        flush = first_known(workload.flush_write_rate(log, wall_seconds), self._work.flush_rate())
        own = self._own_writes.update(findings, compaction, flush, observed, size)
        if device is None:
            absence = _no_device(findings)
            capacity: Known[Capacity] | Missing = absence
            foreign: Quantity = absence
        else:
            capacity = device.capacity
            foreign = foreign_writes(device_writes, own)
        available = available_bandwidth(capacity, foreign, compaction)
        age = _database_age(findings, wall_seconds, now)
        stored = workload.stored_bytes(findings.manifest, findings.secondary)
        phase = self._infer_phase(findings, available, age, stored, amplification, now)
        stalls = stall_conditions(
            log,
            findings.manifest,
            findings.options,
            wall_seconds,
            has_owner=owner is not None,
            owner_gone=findings.owner_gone,
        )
        error = _not_open(findings) or background_error(log)
        pending = workload.pending_compaction(
            findings.secondary, findings.manifest, log, now, wall_seconds
        )
        cpu_cores = self._cpu.cores(findings.process)
        cpu_limit_cores = (
            findings.limits.value.cpu_cores if isinstance(findings.limits, Known) else None
        )
        models = self._models.update(
            findings,
            Evidence(
                now=now,
                wall_seconds=wall_seconds,
                device=device,
                observed=observed,
                available=available,
                foreign=foreign,
                age=age,
                stored=stored,
                record_size=size,
                write_amplification=amplification,
                pending=pending,
                phase=phase,
                stalls=stalls,
                background_error=error,
                calibrations=calibrations,
                cpu=CpuShare(
                    cores=host_cpu.cores,
                    busy_ratio=host_cpu.busy_ratio,
                    process_cores=cpu_cores,
                    others_cores=self._others_cpu.cores(host_cpu.sample, findings.process),
                    limit_cores=cpu_limit_cores,
                ),
                lone_writer=(
                    _SHARED
                    if findings.shares_process
                    else self._lone_writer.ratio(findings.process)
                ),
            ),
        )
        recommended = models.recommended
        s_max = derive(recommended, lambda estimate: estimate.puts_per_second)
        self._log_has_spoken |= isinstance(log, Known) and log.value.has_events
        # Two sources count from two beginnings: a step from one to the other would be taken for
        # work done. Once the LOG has counted, its absence is an absence.
        totals = _LOG_COUNTS if self._log_has_spoken else findings.manifest
        return DatabaseSnapshot(
            name=findings.name,
            path=findings.path,
            owner_pid=owner,
            rocksdb_version=_version(findings),
            incarnations=findings.incarnation,
            places=tuple(_place(path) for path in findings.paths),
            sequence_number=self._put_rate.sequence_number,
            observed_puts_per_second=observed,
            record_size_bytes=size,
            write_amplification_ratio=amplification,
            age_seconds=age,
            size_bytes=stored,
            live_wal_bytes=derive(findings.wal, lambda sample: float(sample.live_wal_bytes)),
            pending_compaction_bytes=pending,
            estimated_keys=workload.estimated_keys(findings.secondary, findings.manifest),
            flush_bytes_total=workload.flushed_total(log, totals),
            compaction_read_bytes_total=workload.compaction_read_total(log),
            compaction_written_bytes_total=workload.compacted_total(log, totals),
            compaction_bytes_per_second=compaction,
            foreign_bytes_per_second=foreign,
            available_bytes_per_second=available,
            availability_ratio=_availability(available, capacity),
            phase=phase,
            predictions=models.predictions,
            recommended=recommended,
            headroom_ratio=_headroom(observed, s_max),
            headroom_lower_ratio=_headroom(observed, _prudent(recommended)),
            s_max_ratio=self._against_median(recommended, now),
            levels=derive(findings.manifest, lambda sample: sample.column_families),
            stalls=stalls,
            stall_seconds=_not_open(findings) or stall_seconds(log),
            background_error=error,
            cpu_seconds=cpu_seconds(findings.process),
            cpu_cores=cpu_cores,
            cpu_limit_cores=cpu_limit_cores,
            inputs=models.measured.inputs,
            estimates=models.measured.estimates,
            calibrated=models.calibrated,
            simulated=models.measured.simulated,
            time_to_stall_seconds=models.outlook.time_to_stall_seconds,
            stall_outlook=models.outlook,
            forecast_score=models.forecast_score,
            debt_bytes=models.measured.debt_bytes,
            debt_clear_seconds=models.measured.debt_clear_seconds,
            recommended_model=recommended.value.model if isinstance(recommended, Known) else "",
            bottleneck=models.bottleneck,
            episodes_total=models.learned.episodes_total if models.learned else 0,
            episodes=models.learned.episodes if models.learned else (),
            saturated=models.learned is not None and models.learned.saturated,
        )

    def simulation_due(self, now: float, rarer: float) -> ModelInputs | None:
        """The inputs to simulate now, None while no run is due; asking counts as the request."""
        return self._models.simulation_due(now, rarer)

    def take_simulated(self, answer: Simulated | Missing, at: float) -> None:
        """Take the result of a run, or why there is none."""
        self._models.take_simulated(answer, at)

    def _infer_phase(
        self,
        findings: DatabaseFindings,
        available: Quantity,
        age: Quantity,
        stored: Quantity,
        amplification: Quantity,
        now: float,
    ) -> Known[PhaseInForce] | Missing:
        if isinstance(available, Missing):
            self._phase.interrupt()
            return available
        age_seconds, stored_bytes = value_of(age), value_of(stored)
        evidence = PhaseEvidence(
            bandwidth_mib=available.value / MIB,
            runtime_minutes=None if age_seconds is None else age_seconds / 60.0,
            database_size_gb=None if stored_bytes is None else stored_bytes / BYTES_PER_GB,
            levels_in_use=workload.levels_in_use(findings.manifest),
            write_amplification=value_of(amplification),
            compaction_share=workload.compaction_share(findings.log),
        )
        return Known(self._phase.update(evidence, now), "votes", available.at)

    def _against_median(
        self, recommended: Known[CalibratedEstimate] | Missing, now: float
    ) -> Quantity:
        """S_max over its own median of the last hour; the current value is part of it.

        By one model: a step from one model to another is not a step of S_max.
        """
        if isinstance(recommended, Missing):
            return recommended
        if recommended.value.model != self._recent_model:
            self._recent_model = recommended.value.model
            self._recent.clear()
        value = recommended.value.puts_per_second
        if not self._recent or now >= self._recent[-1][0] + MEDIAN_STEP_SECONDS:
            self._recent.append((now, value))
        while self._recent[0][0] < now - MEDIAN_WINDOW_SECONDS:
            self._recent.popleft()
        if len(self._recent) < MEDIAN_MIN_COUNT:
            return Missing("not_yet_measured", "too few values for a median of S_max")
        median = statistics.median(entry for _, entry in self._recent)
        return Known(value / median, recommended.source, recommended.at)


_SHARED = Missing("process_shared", "the owner process has other watched databases open")
_LOG_COUNTS = Missing("log_missing", "the totals are the LOG's, which cannot be read now")


def _record_size(findings: DatabaseFindings, now: float) -> Quantity:
    if findings.pinned_record_size_bytes is not None:
        return Known(findings.pinned_record_size_bytes, "config", now)
    return workload.record_size(findings.log, findings.wal)


def _database_age(findings: DatabaseFindings, wall_seconds: float, now: float) -> Quantity:
    """Seconds since the database was created: IDENTITY's time, else the oldest LOG line read."""
    fingerprint, log = findings.fingerprint, findings.log
    if isinstance(fingerprint, Known) and fingerprint.value.created_wall_seconds is not None:
        created = fingerprint.value.created_wall_seconds
        return Known(max(0.0, wall_seconds - created), "identity file", now)
    if isinstance(log, Known) and log.value.first_wall_seconds is not None:
        return Known(max(0.0, wall_seconds - log.value.first_wall_seconds), "log", now)
    return (
        fingerprint
        if isinstance(fingerprint, Missing)
        else Missing(
            "no_identity_file", "neither IDENTITY nor LOG tells when the database was created"
        )
    )


def _headroom(observed: Quantity, s_max: Quantity) -> Quantity:
    if isinstance(s_max, Missing):
        return s_max
    return derive(observed, lambda rate: 1.0 - rate / s_max.value)


def _prudent(recommended: Known[CalibratedEstimate] | Missing) -> Quantity:
    """What alerts hold the put rate against: the interval's lower end.

    V4 and V4.1 claim no width of their own, and the prior that stands for it says no more than
    "within a factor of ten": until labels say better, their number is taken as it is.
    """

    def lower(estimate: CalibratedEstimate) -> float:
        unknown = estimate.labels == 0 and estimate.model in PUBLISHED_MODELS
        return estimate.puts_per_second if unknown else estimate.lower

    return derive(recommended, lower)


def _availability(available: Quantity, capacity: Known[Capacity] | Missing) -> Quantity:
    if isinstance(available, Missing) and available.reason == "no_bandwidth_left":
        return derive(capacity, lambda _: 0.0)
    if isinstance(capacity, Missing):
        return capacity
    return derive(available, lambda left: left / capacity.value.bytes_per_second)


def _version(findings: DatabaseFindings) -> str | None:
    if isinstance(findings.log, Known) and findings.log.value.rocksdb_version:
        return findings.log.value.rocksdb_version
    if isinstance(findings.options, Known):
        return findings.options.value.rocksdb_version
    return None


def _place(path: PathFindings) -> PlacedFiles:
    if isinstance(path.device, Missing):
        return PlacedFiles(path.role, path.path, None, path.device.detail)
    return PlacedFiles(path.role, path.path, path.device.value.device.name, None)


def _no_device(findings: DatabaseFindings) -> Missing:
    for path in findings.paths:
        if path.role == "data" and isinstance(path.device, Missing):
            return path.device
    return Missing("not_yet_measured", "the device behind the database is not known yet")


def _not_open(findings: DatabaseFindings) -> Missing | None:
    """A process that is gone holds nothing back, whatever its last words in the LOG were."""
    if findings.owner_gone:
        return Missing("not_open", "the process that had the database open is gone")
    return None
