"""What a tick leaves for the history: numbers taken out of its snapshot. Pure.

sampler = Sampler()
sample = sampler.take(snapshot)     # None while there is nothing to record
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.history.columns import DATABASES, DEVICES, MODELS, Table, Value
from agent.learning.episodes import Episode
from agent.readings import Known, printable, value_of
from agent.snapshot import DatabaseSnapshot, DeviceSnapshot, Snapshot

SAMPLE_SECONDS = 10.0
"""The finest resolution; ticks that come faster leave nothing in between."""

EARLY_SECONDS = 0.5
"""A tick may come so much before its time: the next one must not be waited for."""

LONGEST_STALL_STEP_SECONDS = 120.0
"""Stall seconds that grew over a longer time cannot be said to belong to this sample."""

WORST_HEADROOM = -1000.0
"""A headroom below says no more, and a single one must not bend a mean beyond recognition."""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One series at one moment; ``values`` in the order of the table's columns."""

    table: Table
    series: tuple[str, str]
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class EpisodeEvent:
    """A saturation episode, as it was measured so far."""

    database: str
    episode: Episode


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An alert that began; ``ended_wall_seconds`` is set when it is over."""

    alert: str
    severity: str
    database: str
    device: str
    started_wall_seconds: float
    ended_wall_seconds: float | None
    summary: str

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What identifies it, also in another run of the agent."""
        started = int(self.started_wall_seconds)
        return (self.alert, self.severity, self.database, self.device, started)


@dataclass(frozen=True, slots=True)
class ModelScore:
    """How a model has done against the episodes so far."""

    database: str
    model: str
    labels: int
    accuracy_ratio: float | None
    coverage_ratio: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What one tick leaves.

    ``first`` is the first of this agent's run, or the first after one that was lost: it has every
    alert that is active, so that others that are open on record have ended unseen.
    """

    wall_seconds: float
    rows: tuple[SampleRow, ...]
    episodes: tuple[EpisodeEvent, ...]
    alerts: tuple[AlertEvent, ...]
    scores: tuple[ModelScore, ...]
    first: bool

    @property
    def weight(self) -> int:
        """How many rows it will be."""
        return len(self.rows) + len(self.episodes) + len(self.alerts) + len(self.scores)


class Sampler:
    """Decides when there is something to record; what happened between two samples included."""

    def __init__(self) -> None:
        self._sampled_at: float | None = None
        self._stalls: dict[str, _StallTotals] = {}
        self._alerts: dict[tuple[str, str, str, str, int], AlertEvent] = {}
        self._scores: dict[tuple[str, str], ModelScore] = {}
        self._first = True

    def take(self, snapshot: Snapshot) -> Sample | None:
        """What this tick leaves; None for nothing."""
        due = (
            self._sampled_at is None
            or snapshot.at - self._sampled_at >= SAMPLE_SECONDS - EARLY_SECONDS
        )
        episodes = tuple(
            EpisodeEvent(printable(database.name), episode)
            for database in snapshot.databases
            for episode in database.episodes
            if episode.kind != "floor"  # a load that was carried is no saturation
        )
        alerts = self._changed_alerts(snapshot)
        if not (due or episodes or alerts):
            return None
        rows: tuple[SampleRow, ...] = ()
        scores: tuple[ModelScore, ...] = ()
        if due:
            self._sampled_at = snapshot.at
            rows = tuple(self._rows(snapshot))
            scores = self._changed_scores(snapshot)
        first, self._first = self._first, False
        return Sample(snapshot.wall_seconds, rows, episodes, alerts, scores, first)

    def tell_all(self) -> None:
        """A sample was lost: the next one has all that stands, and not only what changed."""
        self._first = True
        self._alerts = {}
        self._scores = {}

    def _rows(self, snapshot: Snapshot) -> list[SampleRow]:
        rows = []
        stalls: dict[str, _StallTotals] = {}
        for database in snapshot.databases:
            name = printable(database.name)
            before = self._stalls.get(name)
            now = _stall_totals(database, snapshot.at)
            if now is not None:
                stalls[name] = now
            elif before is not None and snapshot.at - before.at <= LONGEST_STALL_STEP_SECONDS:
                stalls[name] = before  # what happens meanwhile belongs to the next that is known
            stopped = _grown(before, now, "stopped")
            delayed = _grown(before, now, "delayed")
            values = _database_values(database, stopped, delayed)
            rows.append(SampleRow(DATABASES, (name, ""), values))
            rows += [
                SampleRow(MODELS, (name, model), said)
                for model, said in _model_values(database).items()
            ]
        self._stalls = stalls
        for device in snapshot.devices:
            rows.append(SampleRow(DEVICES, (printable(device.name), ""), _device_values(device)))
        # Of a database that is gone nothing is known: that is a gap, and not a row of unknowns.
        return [row for row in rows if any(value is not None for value in row.values)]

    def _changed_alerts(self, snapshot: Snapshot) -> tuple[AlertEvent, ...]:
        now = {}
        for state in snapshot.alerts:
            if state.active and state.since_wall_seconds is not None:
                event = AlertEvent(
                    state.alert,
                    state.severity,
                    printable(state.database),
                    printable(state.device) if not state.database else "",
                    state.since_wall_seconds,
                    None,
                    printable(state.summary),
                )
                now[event.key] = event
        began = [event for key, event in now.items() if key not in self._alerts]
        ended = [
            AlertEvent(*key[:4], event.started_wall_seconds, snapshot.wall_seconds, event.summary)
            for key, event in self._alerts.items()
            if key not in now
        ]
        self._alerts = now
        return (*ended, *began)

    def _changed_scores(self, snapshot: Snapshot) -> tuple[ModelScore, ...]:
        now = {}
        for database in snapshot.databases:
            for estimate in value_of(database.calibrated) or ():
                if estimate.labels:
                    score = ModelScore(
                        printable(database.name),
                        estimate.model,
                        estimate.labels,
                        estimate.accuracy_ratio,
                        estimate.coverage_ratio,
                    )
                    now[(score.database, score.model)] = score
        changed = tuple(score for key, score in now.items() if self._scores.get(key) != score)
        self._scores = now
        return changed


@dataclass(frozen=True, slots=True)
class _StallTotals:
    at: float
    incarnation: int
    seconds: Mapping[str, float]


def _stall_totals(database: DatabaseSnapshot, at: float) -> _StallTotals | None:
    totals = database.stall_seconds
    if not isinstance(totals, Known):
        return None
    return _StallTotals(at, database.incarnations, totals.value)


def _grown(before: _StallTotals | None, now: _StallTotals | None, state: str) -> float | None:
    """Seconds since the sample before; None when that cannot be told."""
    if before is None or now is None or before.incarnation != now.incarnation:
        return None
    if now.at - before.at > LONGEST_STALL_STEP_SECONDS:
        return None
    grown = now.seconds.get(state, 0.0) - before.seconds.get(state, 0.0)
    return grown if grown >= 0.0 else None


def _database_values(
    database: DatabaseSnapshot, stopped: float | None, delayed: float | None
) -> tuple[Value, ...]:
    best = value_of(database.recommended)
    phase = value_of(database.phase)
    broken = database.background_error
    device = next((p.device for p in database.places if p.role == "data" and p.device), None)
    return (
        value_of(database.observed_puts_per_second),
        None if best is None else best.puts_per_second,
        None if best is None else best.lower,
        None if best is None else best.upper,
        _at_least(value_of(database.headroom_ratio)),
        _at_least(value_of(database.headroom_lower_ratio)),
        database.recommended_model or None,
        None if phase is None else phase.name,
        database.bottleneck,
        None if device is None else printable(device),
        value_of(database.available_bytes_per_second),
        value_of(database.foreign_bytes_per_second),
        value_of(database.compaction_bytes_per_second),
        value_of(database.pending_compaction_bytes),
        value_of(database.debt_bytes),
        stopped,
        delayed,
        value_of(database.time_to_stall_seconds),
        None if best is None else float(database.saturated),
        float(broken.value is not None) if isinstance(broken, Known) else None,
        value_of(database.record_size_bytes),
        value_of(database.write_amplification_ratio),
        value_of(database.size_bytes),
        value_of(database.cpu_cores),
    )


def _at_least(headroom: float | None) -> float | None:
    return None if headroom is None else max(WORST_HEADROOM, headroom)


def _model_values(database: DatabaseSnapshot) -> dict[str, tuple[Value, ...]]:
    """By model: what it says itself, and that corrected by what was learned."""
    raw: dict[str, float] = {}
    for prediction in value_of(database.predictions) or ():
        raw[prediction.model] = prediction.puts_per_second
    for estimate in value_of(database.estimates) or ():
        raw[estimate.model] = estimate.puts_per_second
    calibrated = {
        estimate.model: estimate.puts_per_second for estimate in value_of(database.calibrated) or ()
    }
    return {
        model: (raw.get(model), calibrated.get(model))
        for model in dict.fromkeys((*raw, *calibrated))
    }


def _device_values(device: DeviceSnapshot) -> tuple[Value, ...]:
    capacity = value_of(device.capacity)
    return (
        None if capacity is None else capacity.bytes_per_second,
        value_of(device.capacity_ratio),
        value_of(device.write_bytes_per_second),
        value_of(device.read_bytes_per_second),
        value_of(device.write_await_seconds),
        value_of(device.mean_queue_depth),
        value_of(device.endurance_used_ratio),
    )
