"""How a database's S_max came about: a snapshot in, an ``Explanation`` out. Pure.

    explain(database, device, now) -> Explanation
    explain_document(snapshot, now, name) -> ExplainDocument, or UnknownDatabase

Nothing is computed anew but what takes the published numbers apart: every figure is the snapshot's.
"""

import math
from typing import Final

from agent.explain.confidence import confidence_part, fallbacks
from agent.explain.explanation import (
    Absence,
    Age,
    DiskPart,
    ExplainDocument,
    Explanation,
    PhasePart,
    Reading,
    SimulationPart,
    StallPart,
    UnknownDatabase,
    Vote,
    WrittenShare,
)
from agent.explain.models import model_parts
from agent.explain.sentence import sentence
from agent.models.lsm import SimulatedRate
from agent.models.phase_votes import (
    INITIAL_BANDWIDTH_MIB,
    INITIAL_RUNTIME_MINUTES,
    INITIAL_SIZE_GB,
    MIDDLE_BANDWIDTH_MIB,
    MIDDLE_RUNTIME_MINUTES,
    MIDDLE_SIZE_GB,
)
from agent.models.prediction import MIB
from agent.phase import PhaseInForce
from agent.readings import Known, Missing, Quantity, derive, value_of
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, Snapshot

BYTES_PER_GB: Final = 1e9
"""The published votes speak of GB; 1000-based, as drives are sold."""

QUANTITIES: Final = (
    "recommended",
    "predictions",
    "estimates",
    "calibrated",
    "simulated",
    "inputs",
    "observed_puts_per_second",
    "record_size_bytes",
    "write_amplification_ratio",
    "available_bytes_per_second",
    "foreign_bytes_per_second",
    "compaction_bytes_per_second",
    "phase",
    "age_seconds",
    "size_bytes",
    "levels",
    "pending_compaction_bytes",
    "stalls",
    "cpu_seconds",
    "time_to_stall_seconds",
    "debt_bytes",
    "debt_clear_seconds",
)
"""What the number and its explanation rest on: members of a database's snapshot."""

NOT_HEADING: Final = "not heading for a stall at the present trend"
NEVER_CLEARS: Final = "at the present rate the debt does not shrink"

VOTE_RULES: Final = {
    "bandwidth": (
        f"> {INITIAL_BANDWIDTH_MIB:g} MiB/s initial, > {MIDDLE_BANDWIDTH_MIB:g} middle, else final"
    ),
    "runtime": (
        f"< {INITIAL_RUNTIME_MINUTES:g} min initial, < {MIDDLE_RUNTIME_MINUTES:g} middle, "
        "else final"
    ),
    "size": f"< {INITIAL_SIZE_GB:g} GB initial, < {MIDDLE_SIZE_GB:g} middle, else final",
    "lsm": "median of levels in use, write amplification and compaction's share of the writes",
}
"""The rule of each voter, in the order of ``agent.phase``."""


def explain_document(
    snapshot: Snapshot, now: float, name: str | None = None, *, stalled: bool = False
) -> ExplainDocument | UnknownDatabase:
    """Every database of the snapshot, or the one of that name; ``now`` in monotonic seconds.

    ``stalled``: whoever publishes snapshots has stopped doing so.
    """
    wanted = [d for d in snapshot.databases if name is None or d.name == name]
    if name is not None and not wanted:
        return UnknownDatabase(
            error=f"no database {name!r} is watched",
            known=tuple(d.name for d in snapshot.databases),
        )
    return ExplainDocument(
        version=snapshot.version,
        time=snapshot.wall_seconds,
        snapshot_age_seconds=max(0.0, now - snapshot.at),
        databases=tuple(
            explain(database, _device_of(database, snapshot), now) for database in wanted
        ),
        stalled=stalled,
    )


def explain(database: DatabaseSnapshot, device: DeviceSnapshot | None, now: float) -> Explanation:
    """One database; ``device`` carries its data directory, None where that is unknown."""
    recommended = database.recommended
    model = recommended.value.model if isinstance(recommended, Known) else None
    models = model_parts(database, model)
    simulation = derive(database.simulated, _simulation)
    missing, ages = _provenance(database, device, now)
    return Explanation(
        database=database.name,
        path=database.path,
        sentence=sentence(database, models, value_of(simulation)),
        recommended_model=model,
        puts_per_second=_reading(derive(recommended, lambda best: best.puts_per_second), now),
        observed_puts_per_second=_reading(database.observed_puts_per_second, now),
        headroom_ratio=_reading(database.headroom_ratio, now),
        time_to_stall_seconds=_reading(database.time_to_stall_seconds, now, NOT_HEADING),
        stall=_stall(database),
        debt_bytes=_reading(database.debt_bytes, now),
        debt_clear_seconds=_reading(database.debt_clear_seconds, now, NEVER_CLEARS),
        models=models,
        simulation=value_of(simulation),
        phase=value_of(derive(database.phase, lambda phase: _phase(phase, database, now))),
        confidence=value_of(derive(recommended, lambda best: confidence_part(best, database))),
        missing=missing,
        fallbacks=fallbacks(database),
        ages=ages,
        disk=None if device is None else _disk(database, device, now),
        inputs=value_of(database.inputs),
        size_bytes=_reading(database.size_bytes, now),
    )


def _device_of(database: DatabaseSnapshot, snapshot: Snapshot) -> DeviceSnapshot | None:
    name = next((place.device for place in database.places if place.role == "data"), None)
    return next((device for device in snapshot.devices if device.name == name), None)


def _simulation(simulated: SimulatedRate) -> SimulationPart:
    total = sum(simulated.written_bytes_per_put.values())
    return SimulationPart(
        puts_per_second=simulated.puts_per_second,
        written=tuple(
            WrittenShare(cause, written, written / total if total > 0.0 else 0.0)
            for cause, written in simulated.written_bytes_per_put.items()
        ),
        stopped_ratio=simulated.stopped_ratio,
        delayed_ratio=simulated.delayed_ratio,
        utilization=dict(simulated.utilization),
        stall_causes=dict(simulated.stall_causes),
        level0_files_mean=simulated.level0_files_mean,
        pending_compaction_bytes_end=simulated.pending_compaction_bytes_end,
        simulated_seconds=simulated.simulated_seconds,
        converged=simulated.converged,
    )


def _stall(database: DatabaseSnapshot) -> StallPart | None:
    outlook = database.stall_outlook
    if outlook is None:
        return None
    latest = outlook.latest_seconds
    return StallPart(
        cause=outlook.cause,
        column_family=outlook.column_family,
        earliest_seconds=outlook.earliest_seconds,
        latest_seconds=None if latest is None or math.isinf(latest) else latest,
        confidence=outlook.confidence,
        detail=outlook.detail,
    )


def _phase(phase: PhaseInForce, database: DatabaseSnapshot, now: float) -> PhasePart:
    available = value_of(database.available_bytes_per_second)
    age, size = value_of(database.age_seconds), value_of(database.size_bytes)
    seen = {
        "bandwidth": (None if available is None else available / MIB, "MiB/s"),
        "runtime": (None if age is None else age / 60.0, "min"),
        "size": (None if size is None else size / BYTES_PER_GB, "GB"),
    }
    return PhasePart(
        name=phase.name,
        for_seconds=max(0.0, now - phase.since),
        votes=tuple(
            Vote(voter, *seen.get(voter, (None, "")), vote, VOTE_RULES.get(voter, ""))
            for voter, vote in phase.votes.items()
        ),
        candidate=phase.candidate,
    )


def _provenance(
    database: DatabaseSnapshot, device: DeviceSnapshot | None, now: float
) -> tuple[tuple[Absence, ...], tuple[Age, ...]]:
    quantities = [(name, getattr(database, name)) for name in QUANTITIES]
    if device is not None:
        quantities.append(("device_capacity", device.capacity))
    missing = tuple(
        Absence(name, quantity.reason, quantity.detail)
        for name, quantity in quantities
        if isinstance(quantity, Missing)
    )
    ages = [
        Age(name, quantity.source, quantity.age_seconds(now))
        for name, quantity in quantities
        if isinstance(quantity, Known)
    ]
    return missing, tuple(sorted(ages, key=lambda age: -age.age_seconds))


def _disk(database: DatabaseSnapshot, device: DeviceSnapshot, now: float) -> DiskPart:
    capacity = derive(device.capacity, lambda known: known.bytes_per_second)
    return DiskPart(
        device=device.name,
        capacity_bytes_per_second=_reading(capacity, now),
        foreign_bytes_per_second=_reading(database.foreign_bytes_per_second, now),
        filesystem_free_bytes=float(device.filesystem_free_bytes),
    )


def _reading(quantity: Quantity, now: float, infinite: str = "it has no limit") -> Reading:
    if isinstance(quantity, Missing):
        return Reading(value=None, reason=quantity.reason, detail=quantity.detail)
    age = quantity.age_seconds(now)
    if math.isinf(quantity.value):
        return Reading(
            value=None,
            source=quantity.source,
            age_seconds=age,
            reason="infinite",
            detail=infinite,
        )
    return Reading(value=quantity.value, source=quantity.source, age_seconds=age)
