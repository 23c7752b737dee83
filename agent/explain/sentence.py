"""The one sentence of ``explain``: limit, cost, position, danger, and what to do. Pure."""

import math
from typing import Final

from agent.explain.explanation import Demand, ModelPart, SimulationPart
from agent.explain.quantity_text import byte_text, duration_text, rate_text
from agent.models.estimate import CalibratedEstimate
from agent.readings import Missing, value_of
from agent.snapshot import DatabaseSnapshot

LIMIT_WORDS: Final = {
    "device_write": "Device-bound",
    "device_read_write": "Device-bound by reads and writes together",
    "compaction_threads": "Bound by RocksDB's compaction threads",
    "flush_threads": "Bound by RocksDB's flush threads",
    "cpu": "CPU-bound",
    "writer": "Bound by the write path, one write group at a time",
    "wal_sync": "Bound by the WAL's syncs",
    "rate_limiter": "Bound by RocksDB's own rate limiter",
}
"""How each resource of ``agent.models.estimate.RESOURCES`` is called when it is the limit."""

COST_WORDS: Final = {
    "device_write": "device writes",
    "device_read_write": "device traffic",
    "compaction_threads": "a compaction thread",
    "flush_threads": "a flush thread",
    "cpu": "CPU",
    "writer": "the write path",
    "wal_sync": "WAL syncs",
    "rate_limiter": "rate-limited writes",
}

REMEDIES: Final = {
    "device_write": "fewer bytes per put (larger write buffers, higher level-0 triggers, "
    "compression) or a faster device lift it",
    "device_read_write": "fewer bytes per put, fewer reads or a faster device lift it",
    "compaction_threads": "more max_background_jobs or max_subcompactions lift it",
    "flush_threads": "more max_background_jobs or larger write buffers lift it",
    "cpu": "more cores or cheaper compression lift it",
    "writer": "larger write batches or several writers lift it",
    "wal_sync": "larger write batches, or fewer syncs where losing the last ones is acceptable, "
    "lift it",
    "rate_limiter": "a higher rate limit lifts it",
}
"""What lifts each limit; the model's own advice stands beside its demand table."""

DEBT_WORTH_SAYING_SECONDS: Final = 60.0
"""Debt that clears sooner is RocksDB's everyday work."""


def sentence(
    database: DatabaseSnapshot,
    models: tuple[ModelPart, ...],
    simulation: SimulationPart | None,
) -> str:
    """The number, its limit and what to do about it, for ``models`` with the recommended first."""
    now, ahead = _trouble(database), _ahead(database)
    if isinstance(database.recommended, Missing):
        said = f"S_max is unknown: {database.recommended.detail}"
        return ". ".join(part for part in (now, said) if part) + "."
    best = database.recommended.value
    limited = _limited(models, database.bottleneck)
    demand = None if limited is None else limited.demands[0]
    parts = [
        "The limit is not measured yet (the published formula stands in)"
        if demand is None
        else f"{LIMIT_WORDS.get(demand.resource, demand.resource)}"
    ]
    cost = _cost(demand, simulation)
    if cost:
        parts.append(cost)
    # Where another model than the one that names the limit gives the number, both are named.
    other = limited is not None and not limited.recommended
    parts.append(_position(database, best, f" by {best.model}" if other else ""))
    if ahead:
        parts.append(ahead)
    debt = _debt(database)
    if debt:
        parts.append(debt)
    if limited is not None and demand is not None:
        if not limited.recommended:
            bound = rate_text(demand.puts_per_second)
            parts.append(f"the {limited.model} model puts that limit at {bound} puts/s")
        parts.append(REMEDIES.get(demand.resource, ""))
        parts.append(_next_limit(limited))
    said = "; ".join(part for part in parts[1:] if part)
    return f"{now}. {parts[0]}: {said}." if now else f"{parts[0]}: {said}."


def _limited(models: tuple[ModelPart, ...], bottleneck: str | None) -> ModelPart | None:
    """The model to take the limit from: the one that names what is exported as the bottleneck."""
    measured = [model for model in models if model.demands]
    named = [model for model in measured if model.demands[0].resource == bottleneck]
    return next(iter(named or measured), None)


def _cost(demand: Demand | None, simulation: SimulationPart | None) -> str:
    """What a put costs; at saturation, where the simulator has been there."""
    if demand is None:
        return ""
    device = demand.resource in {"device_write", "device_read_write", "rate_limiter"}
    if device and simulation is not None and simulation.written:
        total = sum(part.bytes_per_put for part in simulation.written)
        largest = max(simulation.written, key=lambda part: part.bytes_per_put)
        return (
            f"at saturation a put costs {byte_text(total)} of device writes, "
            f"of which {100 * largest.share:.0f} % {largest.cause}"
        )
    words = COST_WORDS.get(demand.resource, demand.resource)
    if demand.unit == "bytes":
        return f"a put costs {byte_text(demand.demand_per_put)} of {words}"
    if demand.unit.endswith("seconds"):
        return f"a put costs {1e6 * demand.demand_per_put:,.1f} us of {words}"
    return f"a put costs {demand.demand_per_put:,.3g} {demand.unit}"


def _position(database: DatabaseSnapshot, best: CalibratedEstimate, whose: str) -> str:
    s_max = rate_text(best.puts_per_second)
    said = f"{whose}, 90 % sure between {rate_text(best.lower)} and {rate_text(best.upper)}"
    observed = value_of(database.observed_puts_per_second)
    if observed is None:
        return f"S_max is {s_max} puts/s{said}; the present rate is unknown"
    return (
        f"you are at {100 * observed / best.puts_per_second:.0f} % of S_max "
        f"({rate_text(observed)} of {s_max} puts/s{said})"
    )


def _next_limit(model: ModelPart) -> str:
    if len(model.demands) < 2:
        return ""
    following = model.demands[1]
    name = following.resource.replace("_", " ")
    return f"the next limit would be {name} at {rate_text(following.puts_per_second)} puts/s"


def _trouble(database: DatabaseSnapshot) -> str:
    """What is wrong now; it comes first."""
    error = value_of(database.background_error)
    if error is not None:
        return f"Writes have stopped for good ({error.message})"
    stalls = value_of(database.stalls) or ()
    if not stalls:
        return ""
    worst = next((stall for stall in stalls if stall.state == "stopped"), stalls[0])
    return f"Writes are {worst.state} now by {worst.cause} of column family {worst.column_family}"


def _ahead(database: DatabaseSnapshot) -> str:
    """What is coming."""
    ahead = database.time_to_stall_seconds
    if isinstance(ahead, Missing) or math.isinf(ahead.value):
        return ""
    outlook = database.stall_outlook
    cause = "" if outlook is None or outlook.cause is None else f" ({outlook.cause})"
    if ahead.value > 0.0:
        return f"heading for a stall in {duration_text(ahead.value)}{cause}"
    # 0 stands while a stall is in force and for a while after; the former is said already.
    return "" if value_of(database.stalls) else "a stall has only just ended"


def _debt(database: DatabaseSnapshot) -> str:
    debt = value_of(database.debt_bytes)
    clear = value_of(database.debt_clear_seconds)
    if debt is None or clear is None or clear < DEBT_WORTH_SAYING_SECONDS:
        return ""
    if math.isinf(clear):
        return f"{byte_text(debt)} of compaction debt that does not shrink at this rate"
    return f"{byte_text(debt)} of compaction debt clears in {duration_text(clear)} at this rate"
