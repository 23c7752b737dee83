"""The document of ``smaxd explain``: how a database's S_max came about, as typed JSON.

SI base units; ages in seconds. A stable contract: fields are added, never renamed or removed.
"""

import math
from typing import Any

import msgspec

from agent.models.estimate import MissingInput
from agent.models.lsm import ModelInputs


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """A number with source and age, or null with reason and detail.

    JSON has no infinity: reason "infinite" and a detail that says what it means here.
    """

    value: float | None
    source: str | None = None
    age_seconds: float | None = None
    reason: str | None = None
    detail: str | None = None


class Factor(msgspec.Struct, frozen=True):
    """One factor of a number that is a product.

    ``log_share`` is ln(value / reference) over ln(number / reference's number): the share of the
    distance to the reference that this factor accounts for; the shares of all factors add up to 1,
    and a share below 0 pulls the other way. None where there is no reference or no distance.
    """

    name: str
    value: float
    unit: str
    reference: float | None
    log_share: float | None
    note: str


class Term(msgspec.Struct, frozen=True):
    """One summand of a factor that is itself a sum."""

    name: str
    value: float
    unit: str


class Demand(msgspec.Struct, frozen=True):
    """What a put costs a resource, and how much of the resource is in use now (None: unknown)."""

    resource: str
    unit: str
    demand_per_put: float
    free_capacity_per_second: float
    puts_per_second: float
    utilization_now: float | None
    spread_ratio: float | None
    source: str


class ModelPart(msgspec.Struct, frozen=True):
    """What one model says. The product of ``factors`` is ``puts_per_second``, exactly.

    ``raw_puts_per_second`` is before calibration. ``reference`` names what the factors are
    compared with. ``bandwidth_terms`` add up to the factor "available bandwidth" of V4 and V4.1.
    """

    model: str
    recommended: bool
    puts_per_second: float
    raw_puts_per_second: float
    lower: float | None
    upper: float | None
    confidence: str
    factors: tuple[Factor, ...]
    reference: str | None
    reference_puts_per_second: float | None
    bandwidth_terms: tuple[Term, ...]
    demands: tuple[Demand, ...]  # binding resource first
    advice: str
    source: str


class WrittenShare(msgspec.Struct, frozen=True):
    """Device writes of one put at saturation by cause: wal, flush, compaction."""

    cause: str
    bytes_per_put: float
    share: float


class SimulationPart(msgspec.Struct, frozen=True):
    """What the simulator saw at the rate it found; ratios are shares of the simulated time."""

    puts_per_second: float
    written: tuple[WrittenShare, ...]
    stopped_ratio: float
    delayed_ratio: float
    utilization: dict[str, float]
    stall_causes: dict[str, float]  # ratio of the time by what stalled the writes
    level0_files_mean: float
    pending_compaction_bytes_end: float
    simulated_seconds: float
    converged: bool


class Vote(msgspec.Struct, frozen=True):
    """One voter on the phase: what it saw (None: not kept), the rule, and its vote."""

    voter: str
    value: float | None
    unit: str
    phase: str
    rule: str


class PhasePart(msgspec.Struct, frozen=True):
    """The phase in force and the votes of this moment."""

    name: str
    for_seconds: float
    votes: tuple[Vote, ...]
    candidate: str | None


class StallPart(msgspec.Struct, frozen=True):
    """The stall forecast's grounds; ``latest_seconds`` None: it may not come at all."""

    cause: str | None
    column_family: str | None
    earliest_seconds: float | None
    latest_seconds: float | None
    confidence: str | None
    detail: str


class ConfidencePart(msgspec.Struct, frozen=True):
    """What the recommended number's confidence consists of; ``why`` are sentences."""

    level: str
    basis: str
    labels: int
    lower: float | None
    upper: float | None
    accuracy_ratio: float | None
    coverage_ratio: float | None
    coverage_interval: tuple[float, float] | None
    widened: str | None
    inputs_log_spread: float | None
    why: tuple[str, ...]


class Absence(msgspec.Struct, frozen=True):
    """A quantity that is not known, and why."""

    quantity: str
    reason: str
    detail: str


class Age(msgspec.Struct, frozen=True):
    """How old a quantity that is known is, and where it came from."""

    quantity: str
    source: str
    age_seconds: float


class DiskPart(msgspec.Struct, frozen=True):
    """The device and filesystem under the database's data."""

    device: str
    capacity_bytes_per_second: Reading
    foreign_bytes_per_second: Reading
    filesystem_free_bytes: float


class Explanation(msgspec.Struct, frozen=True):
    """Everything that explains one database's number."""

    database: str
    path: str
    sentence: str
    recommended_model: str | None
    puts_per_second: Reading
    observed_puts_per_second: Reading
    headroom_ratio: Reading
    time_to_stall_seconds: Reading
    stall: StallPart | None
    debt_bytes: Reading
    debt_clear_seconds: Reading
    models: tuple[ModelPart, ...]  # the recommended one first
    simulation: SimulationPart | None
    phase: PhasePart | None
    confidence: ConfidencePart | None
    missing: tuple[Absence, ...]
    fallbacks: tuple[MissingInput, ...]
    ages: tuple[Age, ...]  # the oldest first
    disk: DiskPart | None
    inputs: ModelInputs | None
    size_bytes: Reading


class ExplainDocument(msgspec.Struct, frozen=True):
    """The answer of /api/v1/explain: one database, or all that are watched."""

    version: str
    time: float
    snapshot_age_seconds: float
    databases: tuple[Explanation, ...]
    stalled: bool = False  # the agent does not tick: everything here is history


class UnknownDatabase(msgspec.Struct, frozen=True):
    """The answer (404) for a database that is not watched."""

    error: str
    known: tuple[str, ...]


def encode(document: ExplainDocument) -> bytes:
    """As JSON. An infinite model input (a limit switched off) becomes the string "Infinity"."""
    return msgspec.json.encode(_without_infinity(msgspec.to_builtins(document)))


def decode(body: bytes) -> ExplainDocument:
    """The document back, whole; msgspec.DecodeError when it is none."""
    return msgspec.json.decode(body, type=ExplainDocument, strict=False)


def _without_infinity(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _without_infinity(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(inner) for inner in value]
    return value
