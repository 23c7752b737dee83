"""Every model's answer about one database, what it learned from them, and the next stall. Pure.

``DatabaseModels``, one per incarnation of a database, turns what was read and derived in a tick
(`Evidence`) into a `ModelsView`. What outlives an incarnation is in ``agent.learning.learning``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.calibrated_host import calibrate_estimate
from agent.findings import CalibrationFindings, DatabaseFindings
from agent.forecast.capacity_plan import SMaxInterval
from agent.forecast.forecast import ForecastObservation, StallForecast, StallOutlook
from agent.forecast.score import ForecastScore, ScoreSummary
from agent.inputs.foreground_cost import usual_put_seconds
from agent.inputs.model_inputs import CpuShare
from agent.learning.learning import (
    DatabaseKey,
    LearnedView,
    Learning,
    raw_estimate,
    raw_prediction,
)
from agent.learning.observation import EpisodeObservation, disturbances, options_key
from agent.measured import MeasuredModels, MeasuredView
from agent.models import v4, v41
from agent.models.estimate import CalibratedEstimate, Estimate
from agent.models.lsm import ModelInputs, Simulated
from agent.models.prediction import DEFAULT_RECORD_SIZE_BYTES, MIB, Prediction
from agent.phase import PhaseInForce
from agent.readings import Known, Missing, Quantity, derive, value_of
from agent.snapshot import DeviceSnapshot
from probes.rocksdb.options_samples import OptionsSample
from probes.rocksdb.samples import BackgroundError, StallCondition

BYTES_PER_GB = 1e9
"""The published votes speak of GB; 1000-based, as drives are sold."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one tick knows of a database beside the raw findings; ``now`` monotonic."""

    now: float
    wall_seconds: float
    device: DeviceSnapshot | None  # carries the data directory
    observed: Quantity
    available: Quantity
    foreign: Quantity
    age: Quantity
    stored: Quantity
    record_size: Quantity
    write_amplification: Quantity
    pending: Quantity
    phase: Known[PhaseInForce] | Missing
    stalls: Known[tuple[StallCondition, ...]] | Missing
    background_error: Known[BackgroundError | None] | Missing
    cpu: CpuShare
    lone_writer: Quantity  # the share of the time in which the only busy thread did not sleep
    calibrations: Sequence[CalibrationFindings] = ()


@dataclass(frozen=True, slots=True)
class ModelsView:
    """What the models say after a tick; field by field as in ``DatabaseSnapshot``."""

    predictions: Known[tuple[Prediction, ...]] | Missing
    measured: MeasuredView
    calibrated: Known[tuple[CalibratedEstimate, ...]] | Missing
    recommended: Known[CalibratedEstimate] | Missing
    bottleneck: str | None
    learned: LearnedView | None
    outlook: StallOutlook
    forecast_score: ScoreSummary


class DatabaseModels:
    """Follows one incarnation of a database."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning
        self._measured = MeasuredModels()
        self._forecast = StallForecast()
        self._score = ForecastScore()
        self._options: tuple[OptionsSample, str] | None = None

    def update(self, findings: DatabaseFindings, evidence: Evidence) -> ModelsView:
        """Take one tick into account."""
        now = evidence.now
        predictions = _predict(evidence)
        measured = self._measured.update(
            findings, evidence.device, evidence.foreign, evidence.cpu, evidence.observed, now
        )
        measured = self._with_calibration(findings, evidence, measured)
        learned = self._learn(findings, evidence, predictions, measured)
        recommended = _recommended(learned, predictions, measured)
        outlook = self._forecast.update(
            ForecastObservation(
                at=now,
                wall_seconds=evidence.wall_seconds,
                wal=findings.wal,
                manifest=findings.manifest,
                options=findings.options,
                log=findings.log,
                stalls=evidence.stalls,
                s_max=derive(
                    recommended, lambda e: SMaxInterval(e.puts_per_second, e.lower, e.upper)
                ),
            )
        )
        self._score.update(now, outlook.time_to_stall_seconds, stalled=outlook.stalled)
        calibrated: Known[tuple[CalibratedEstimate, ...]] | Missing
        if learned is None or isinstance(recommended, Missing):
            calibrated = recommended if isinstance(recommended, Missing) else _NO_DEVICE
        else:
            everything = tuple(learned.calibrated.values())
            calibrated = Known(everything, recommended.source, recommended.at)
        return ModelsView(
            predictions=predictions,
            measured=measured,
            calibrated=calibrated,
            recommended=recommended,
            bottleneck=_bottleneck(measured, recommended),
            learned=learned,
            outlook=outlook,
            forecast_score=self._score.summary(),
        )

    def simulation_due(self, now: float, rarer: float) -> ModelInputs | None:
        """The inputs to simulate now, None while no run is due; asking counts as the request."""
        return self._measured.simulation_due(now, rarer)

    def take_simulated(self, answer: Simulated | Missing, at: float) -> None:
        """Take the result of a run, or why there is none."""
        self._measured.take_simulated(answer, at)

    def _learn(
        self,
        findings: DatabaseFindings,
        evidence: Evidence,
        predictions: Known[tuple[Prediction, ...]] | Missing,
        measured: MeasuredView,
    ) -> LearnedView | None:
        device = evidence.device
        if device is None:
            return None
        raw = []
        if isinstance(predictions, Known):
            raw += [raw_prediction(p, predictions.at) for p in predictions.value]
        if isinstance(measured.estimates, Known):
            raw += [raw_estimate(estimate) for estimate in measured.estimates.value]
        phase = value_of(evidence.phase)
        return self._learning.update(
            DatabaseKey(findings.path, findings.incarnation, device.identity),
            self._observation(findings, evidence, measured),
            raw,
            None if phase is None else phase.name,
        )

    def _observation(
        self, findings: DatabaseFindings, evidence: Evidence, measured: MeasuredView
    ) -> EpisodeObservation:
        log, manifest, wal = findings.log, findings.manifest, findings.wal
        told = log.value if isinstance(log, Known) else None
        error = value_of(evidence.background_error)
        sequence, sequence_source = None, ""
        if isinstance(wal, Known):
            sequence, sequence_source = wal.value.last_sequence, "wal"
        elif isinstance(manifest, Known):
            sequence, sequence_source = manifest.value.last_sequence, "manifest"
        inputs = value_of(measured.inputs)
        pending = evidence.pending
        level0 = None
        if isinstance(manifest, Known):
            level0 = sum(f.levels[0].files for f in manifest.value.column_families if f.levels)
        return EpisodeObservation(
            at=evidence.now,
            wall_seconds=evidence.wall_seconds,
            sequence=sequence,
            sequence_source=sequence_source,
            stalls=value_of(evidence.stalls),
            stall_seconds=told.stall_seconds if told is not None and told.has_events else None,
            level0_files=level0,
            flushes=told.flushes if told is not None else None,
            pending_compaction_bytes=value_of(pending),
            pending_at=pending.at if isinstance(pending, Known) else None,
            compaction_written_bytes=(
                float(told.compaction_output_bytes) if told is not None else None
            ),
            bytes_per_put=None if inputs is None else inputs.costs.wal_bytes_per_put or None,
            host_cpu_busy_ratio=value_of(evidence.cpu.busy_ratio),
            host_cpu_cores=None if evidence.cpu.cores is None else float(evidence.cpu.cores),
            owner_cpu_cores=value_of(evidence.cpu.process_cores),
            owner_cpu_limit_cores=evidence.cpu.limit_cores,
            lone_writer_ratio=value_of(evidence.lone_writer),
            put_cpu_prior_seconds=(
                None if inputs is None else usual_put_seconds(inputs.costs.record_bytes)
            ),
            background_error=error is not None,
            disturbances=(
                ()
                if told is None
                else disturbances(told.recent_compactions, evidence.now, evidence.wall_seconds)
            ),
            options_key=self._options_key(findings),
            foreign_bytes_per_second=value_of(evidence.foreign),
            device_write_bytes_per_second=(
                value_of(evidence.device.write_bytes_per_second) if evidence.device else None
            ),
        )

    def _with_calibration(
        self, findings: DatabaseFindings, evidence: Evidence, measured: MeasuredView
    ) -> MeasuredView:
        """With what ``smaxd calibrate`` measured among the estimates."""
        if evidence.device is None:
            return measured
        calibrated = calibrate_estimate(
            evidence.calibrations,
            path=findings.path,
            device=evidence.device.identity,
            options_key=self._options_key(findings),
            record_bytes=value_of(evidence.record_size),
            now=evidence.now,
            wall_seconds=evidence.wall_seconds,
        )
        if calibrated is None:
            return measured
        others = measured.estimates.value if isinstance(measured.estimates, Known) else ()
        return replace(
            measured, estimates=Known((*others, calibrated), calibrated.source, calibrated.at)
        )

    def _options_key(self, findings: DatabaseFindings) -> str:
        if isinstance(findings.options, Missing):
            return ""
        sample = findings.options.value
        if self._options is None or self._options[0] is not sample:
            self._options = (sample, options_key(sample))
        return self._options[1]


_NO_DEVICE = Missing("no_device", "the device behind the database is not known")


def _predict(evidence: Evidence) -> Known[tuple[Prediction, ...]] | Missing:
    available, phase = evidence.available, evidence.phase
    if isinstance(available, Missing):
        return available
    if isinstance(phase, Missing):
        return phase
    age_seconds = value_of(evidence.age)
    runtime_minutes = None if age_seconds is None else age_seconds / 60.0
    stored_bytes = value_of(evidence.stored)
    record_size_bytes = value_of(evidence.record_size) or DEFAULT_RECORD_SIZE_BYTES
    return Known(
        (
            v4.predict(
                available.value / MIB,
                phase=phase.value.name,
                record_size_bytes=record_size_bytes,
            ),
            v41.predict(
                available.value / MIB,
                phase=phase.value.name,
                record_size_bytes=record_size_bytes,
                runtime_minutes=runtime_minutes,
                database_size_gb=None if stored_bytes is None else stored_bytes / BYTES_PER_GB,
                write_amplification=value_of(evidence.write_amplification),
            ),
        ),
        available.source,
        available.at,
    )


def _recommended(
    learned: LearnedView | None,
    predictions: Known[tuple[Prediction, ...]] | Missing,
    measured: MeasuredView,
) -> Known[CalibratedEstimate] | Missing:
    best = None if learned is None else learned.recommended
    if best is None:
        return predictions if isinstance(predictions, Missing) else _NO_DEVICE
    for answers in (measured.estimates, predictions):
        if isinstance(answers, Known) and any(a.model == best.model for a in answers.value):
            return Known(best, answers.source, answers.at)
    return _NO_DEVICE


def _bottleneck(
    measured: MeasuredView, recommended: Known[CalibratedEstimate] | Missing
) -> str | None:
    """The binding resource by the recommended model, else by the most detailed that names one."""
    if isinstance(measured.estimates, Missing):
        return None
    by_model: dict[str, Estimate] = {e.model: e for e in measured.estimates.value}
    chosen = recommended.value.model if isinstance(recommended, Known) else ""
    for model in (chosen, "simulator", "bottleneck"):
        if model in by_model and by_model[model].bottleneck is not None:
            return by_model[model].bottleneck
    return None
