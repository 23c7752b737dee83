"""Renders a snapshot as the status document of /api/v1/status and ``smaxd status --json``."""

import math
from typing import Any

import msgspec

from agent.alerts.engine import AlertState
from agent.alerts.standing import standing_of
from agent.metrics import is_stalled
from agent.models.estimate import Estimate
from agent.models.prediction import Prediction
from agent.readings import Known, Missing, derive
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, Snapshot
from agent.status_documents import (
    AlertDocument,
    DatabaseDocument,
    DeviceDocument,
    EstimateDocument,
    LevelDocument,
    OrderDocument,
    PhaseDocument,
    PlaceDocument,
    PredictionDocument,
    ProbeDocument,
    ProbingDocument,
    QuantityDocument,
    RecommendedDocument,
    StallDocument,
    StatusDocument,
)

DATABASE_QUANTITIES = (
    "sequence_number",
    "observed_puts_per_second",
    "headroom_ratio",
    "record_size_bytes",
    "write_amplification_ratio",
    "age_seconds",
    "size_bytes",
    "live_wal_bytes",
    "pending_compaction_bytes",
    "estimated_keys",
    "flush_bytes_total",
    "compaction_read_bytes_total",
    "compaction_written_bytes_total",
    "compaction_bytes_per_second",
    "foreign_bytes_per_second",
    "available_bytes_per_second",
    "availability_ratio",
    "cpu_cores",
    "time_to_stall_seconds",
    "debt_bytes",
    "debt_clear_seconds",
)
DEVICE_QUANTITIES = (
    "capacity_ratio",
    "write_bytes_per_second",
    "read_bytes_per_second",
    "write_await_seconds",
    "mean_queue_depth",
    "wear_budget_bytes",
    "wear_budget_remaining_bytes",
    "endurance_used_ratio",
    "wear_out_seconds",
)


def status_document(snapshot: Snapshot, now: float) -> StatusDocument:
    """Render a snapshot as it reads at ``now`` (monotonic seconds)."""
    return StatusDocument(
        version=snapshot.version,
        config_hash=snapshot.config_hash,
        time=snapshot.wall_seconds,
        tick=snapshot.tick,
        tick_seconds=snapshot.tick_seconds,
        snapshot_age_seconds=max(0.0, now - snapshot.at),
        ready=snapshot.ready,
        stalled=is_stalled(snapshot, now),
        hidden_databases=snapshot.hidden_databases,
        host_cpu_cores=snapshot.host_cpu_cores,
        quantities={
            "host_cpu_busy_ratio": _quantity(snapshot.host_cpu_busy_ratio, now),
            "io_pressure_ratio": _quantity(snapshot.pressure_some_ratio, now),
            "pause_remaining_seconds": _quantity(snapshot.pause_remaining_seconds, now),
        },
        databases=[_database(database, now) for database in snapshot.databases],
        devices=[_device(device, snapshot, now) for device in snapshot.devices],
        probes=[
            ProbeDocument(
                probe=state.probe,
                target=state.target,
                success=state.success,
                absent=state.absent,
                duration_seconds=state.duration_seconds,
                last_success=state.last_success_wall_seconds,
                reason=state.reason,
                detail=state.detail,
            )
            for state in snapshot.probes
        ],
        alerts=[_alert(state, snapshot) for state in snapshot.alerts],
        state_directory=snapshot.state_directory,
        alert_orders=[
            OrderDocument(
                id=entry.order.id,
                kind=entry.order.kind,
                alert=entry.order.alert,
                database=entry.order.database,
                device=entry.order.device,
                fingerprint=entry.order.fingerprint,
                since=entry.order.since_wall_seconds,
                until=snapshot.wall_seconds + entry.remaining_seconds,
                comment=entry.order.comment,
                uid=entry.order.uid,
            )
            for entry in snapshot.alerting.orders
        ],
    )


def _alert(state: AlertState, snapshot: Snapshot) -> AlertDocument:
    def until(seconds: float | None) -> float | None:
        return None if seconds is None else snapshot.wall_seconds + seconds

    pending = state.pending_since is not None and not state.active
    standing = snapshot.alerting.standings.get(state.key) or standing_of(state)
    return AlertDocument(
        alert=state.alert,
        severity=state.severity,
        database=state.database,
        device=state.device,
        active=state.active,
        pending=pending,
        since=state.since_wall_seconds,
        value=state.value,
        data_missing=state.data_missing,
        summary=state.summary,
        state=standing.phase,
        fingerprint=standing.fingerprint,
        occurrence=standing.occurrence,
        acknowledged_until=until(standing.acknowledged_seconds),
        silenced_until=until(standing.silenced_seconds),
    )


def _database(database: DatabaseSnapshot, now: float) -> DatabaseDocument:
    predictions, recommended = database.predictions, database.recommended
    quantities = {name: _quantity(getattr(database, name), now) for name in DATABASE_QUANTITIES}
    quantities["recommended_puts_per_second"] = _quantity(
        derive(recommended, lambda prediction: prediction.puts_per_second), now
    )
    phase = database.phase
    error = database.background_error
    return DatabaseDocument(
        name=database.name,
        path=database.path,
        owner_pid=database.owner_pid,
        rocksdb_version=database.rocksdb_version,
        incarnation=database.incarnations,
        places=[
            PlaceDocument(place.role, place.path, place.device, place.detail)
            for place in database.places
        ],
        recommended=_recommended(database),
        predictions=(
            [_prediction(prediction) for prediction in predictions.value]
            if isinstance(predictions, Known)
            else []
        ),
        estimates=(
            [_estimate(estimate) for estimate in database.estimates.value]
            if isinstance(database.estimates, Known)
            else []
        ),
        phase=(
            PhaseDocument(
                name=phase.value.name,
                for_seconds=now - phase.value.since,
                votes=dict(phase.value.votes),
                candidate=phase.value.candidate,
            )
            if isinstance(phase, Known)
            else None
        ),
        quantities=quantities,
        levels=(
            {
                family.name: [
                    LevelDocument(number, level.files, level.bytes)
                    for number, level in enumerate(family.levels)
                ]
                for family in database.levels.value
            }
            if isinstance(database.levels, Known)
            else None
        ),
        stalls=(
            [
                StallDocument(
                    column_family=stall.column_family,
                    state=stall.state,
                    cause=stall.cause,
                    since=stall.since_wall_seconds,
                    delayed_write_bytes_per_second=stall.delayed_write_rate,
                )
                for stall in database.stalls.value
            ]
            if isinstance(database.stalls, Known)
            else None
        ),
        stall_seconds=(
            dict(database.stall_seconds.value)
            if isinstance(database.stall_seconds, Known)
            else None
        ),
        cpu_limit_cores=database.cpu_limit_cores,
        episodes_total=database.episodes_total,
        saturated=database.saturated,
        background_error=(
            error.value.message if isinstance(error, Known) and error.value is not None else None
        ),
    )


def _device(device: DeviceSnapshot, snapshot: Snapshot, now: float) -> DeviceDocument:
    capacity = device.capacity
    quantities = {name: _quantity(getattr(device, name), now) for name in DEVICE_QUANTITIES}
    quantities["capacity_bytes_per_second"] = _quantity(
        derive(capacity, lambda known: known.bytes_per_second), now
    )
    quantities["fio_bytes_per_second"] = _quantity(device.fio, now)
    return DeviceDocument(
        name=device.name,
        devnum=device.devnum,
        size_bytes=device.size_bytes,
        filesystem_type=device.filesystem_type,
        filesystem_free_bytes=device.filesystem_free_bytes,
        layers=list(device.layers),
        limit_bytes_per_second=device.limit_bytes_per_second,
        capacity_is_lower_bound=(
            capacity.value.lower_bound if isinstance(capacity, Known) else None
        ),
        capacity_spread_ratio=(
            capacity.value.spread_ratio if isinstance(capacity, Known) else None
        ),
        scratch_directory=device.scratch_directory,
        fio_written_bytes=snapshot.written_bytes.get((device.name, "fio"), 0),
        probing=(
            None
            if device.probing is None
            else ProbingDocument(
                device.probing.reason,
                device.probing.detail,
                list(device.probing.closed),
                dict(device.probing.runs),
            )
        ),
        quantities=quantities,
    )


def _prediction(prediction: Prediction) -> PredictionDocument:
    return msgspec.convert(prediction, PredictionDocument, from_attributes=True)


def _recommended(database: DatabaseSnapshot) -> RecommendedDocument | None:
    if isinstance(database.recommended, Missing):
        return None
    best = database.recommended.value
    published: dict[str, Prediction] = {}
    if isinstance(database.predictions, Known):
        published = {prediction.model: prediction for prediction in database.predictions.value}
    own = published.get(best.model)
    return RecommendedDocument(
        puts_per_second=best.puts_per_second,
        model=best.model,
        phase=database.phase.value.name if isinstance(database.phase, Known) else None,
        confidence=best.confidence,
        lower=best.lower,
        upper=best.upper,
        factor=best.factor,
        utilization=None if own is None else own.utilization,
        bandwidth_mib=None if own is None else own.bandwidth_mib,
        record_size=None if own is None else own.record_size,
        basis=best.basis,
        labels=best.labels,
        accuracy_ratio=best.accuracy_ratio,
        coverage_ratio=best.coverage_ratio,
        widened=best.widened,
        bottleneck=database.bottleneck,
    )


def _estimate(estimate: Estimate) -> EstimateDocument:
    runner_up = estimate.runner_up
    return EstimateDocument(
        puts_per_second=estimate.puts_per_second,
        model=estimate.model,
        lower=estimate.lower,
        upper=estimate.upper,
        bottleneck=estimate.bottleneck,
        runner_up=None if runner_up is None else runner_up.resource,
        advice=estimate.advice,
        missing=[missing.name for missing in estimate.missing],
    )


def _quantity(quantity: Known[Any] | Missing, now: float) -> QuantityDocument:
    if isinstance(quantity, Missing):
        return QuantityDocument(value=None, reason=quantity.reason, detail=quantity.detail)
    value = float(quantity.value)
    if math.isinf(value):  # JSON has no infinity
        return QuantityDocument(
            value=None,
            source=quantity.source,
            age_seconds=quantity.age_seconds(now),
            reason="infinite",
            detail="without end: not heading there",
        )
    return QuantityDocument(
        value=value,
        source=quantity.source,
        age_seconds=quantity.age_seconds(now),
    )
