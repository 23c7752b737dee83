"""What all databases teach: observations and estimates in, calibrated estimates out. Pure.

    learning = Learning(remembered)            # a LearnedState, fresh or as it was saved
    view = learning.update(key, observation, estimates, phase)          # once per tick and database
    learning.forget(path)                      # a database is no longer watched
    baseline = learning.baseline(device, measured_bytes_per_second, wall_seconds)
    learning.probing(device)                   # ProbingMemory; remember_probing(entry) keeps it
    learning.revision                          # grows when something worth saving was learned
    learning.urgent_revision                   # the last of them that a kill must not cost
    learning.memory(wall_seconds)              # LearnedState, to be saved

    update(
        key: DatabaseKey,                      # path, incarnation, device identity
        observation: EpisodeObservation,       # agent.learning.observation
        estimates: Sequence[RawEstimate],      # every model's raw answer, this tick
        phase: str | None,                     # for ``auto``, before any score exists
    ) -> LearnedView

``raw_estimate(estimate)`` and ``raw_prediction(prediction, at)`` make RawEstimates out of what the
models answer. A model without an answer in a tick is simply not in ``estimates``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from agent.learning.calibration import Calibration
from agent.learning.episodes import Episode, EpisodeDetector
from agent.learning.labels import Label, RawEstimate
from agent.learning.memory import (
    MAX_ENTRIES,
    DatabaseMemory,
    DeviceIdentity,
    DeviceMemory,
    LearnedState,
    ProbingMemory,
    RunsMemory,
    pruned,
)
from agent.learning.observation import EpisodeObservation
from agent.learning.probing_memories import News, ProbingMemories
from agent.models.estimate import CalibratedEstimate, Estimate
from agent.models.prediction import Prediction
from agent.models.select import Recommendation


@dataclass(frozen=True, slots=True)
class DatabaseKey:
    """Which database, in which incarnation, on which device; the options are in the observation."""

    path: str
    incarnation: int
    device: DeviceIdentity


@dataclass(frozen=True, slots=True)
class LearnedView:
    """What is known after a tick.

    ``calibrated`` is by model. ``coverage_ratio`` and ``accuracy_ratio`` are the recommended
    model's. ``episodes`` are this tick's reports, for the log. ``last_label`` is the latest label
    that says what S_max was. ``saturated``: the database is the limit now.
    """

    calibrated: Mapping[str, CalibratedEstimate]
    recommended: CalibratedEstimate | None
    episodes_total: int
    accuracy_ratio: Mapping[str, float]
    coverage_ratio: float | None
    coverage_interval: tuple[float, float] | None
    episodes: tuple[Episode, ...]
    last_label: Label | None
    saturated: bool


def raw_estimate(estimate: Estimate) -> RawEstimate:
    """Of a measured model's answer; complete when no input was replaced by a fallback."""
    return RawEstimate(
        model=estimate.model,
        puts_per_second=estimate.puts_per_second,
        log_half_width=estimate.log_half_width,
        at=estimate.at,
        complete=not estimate.missing,
    )


def raw_prediction(prediction: Prediction, at: float) -> RawEstimate:
    """Of V4's or V4.1's answer, which claims no width."""
    return RawEstimate(prediction.model, prediction.puts_per_second, None, at)


class _Database:
    def __init__(self, remembered: DatabaseMemory | None) -> None:
        labels = () if remembered is None else remembered.labels
        self.calibration = Calibration(labels)
        self.episodes_total = 0 if remembered is None else remembered.episodes_total
        self.recommendation = Recommendation(None if remembered is None else remembered.recommended)
        self.detector = EpisodeDetector()
        self.incarnation: int | None = None
        self.counted: float | None = None  # the episode counted last, by its start
        self.memory = remembered


def _renamed(memory: DatabaseMemory, device: DeviceIdentity) -> DatabaseMemory:
    """With the labels of a device whose model was not read then, and is now, as those of it."""
    if memory.device.model is not None or memory.device.key != device.nameless_key:
        return memory
    labels = tuple(
        msgspec.structs.replace(label, device_key=device.key)
        if label.device_key == device.nameless_key
        else label
        for label in memory.labels
    )
    return msgspec.structs.replace(memory, device=device, labels=labels)


class Learning:
    """Everything the host has learned; the only state between ticks of this part."""

    def __init__(self, remembered: LearnedState) -> None:
        self._remembered = {entry.path: entry for entry in remembered.databases}
        self._devices = {entry.device.key: entry for entry in remembered.devices}
        self._probing = ProbingMemories(remembered.probing)
        self._databases: dict[str, _Database] = {}
        self.revision = 0
        self.urgent_revision = 0
        """The revision of the last news: an episode that was counted, or is over, a capacity that
        was measured, a run of fio that began or ended. They are rare; how an episode under way goes
        on is told every minute."""

    def update(
        self,
        key: DatabaseKey,
        observation: EpisodeObservation,
        estimates: Sequence[RawEstimate],
        phase: str | None,
    ) -> LearnedView:
        """Take one tick into account."""
        database = self._databases.get(key.path)
        if database is None:
            remembered = self._remembered.get(key.path)
            database = _Database(None if remembered is None else _renamed(remembered, key.device))
            self._databases[key.path] = database
        if database.incarnation != key.incarnation:
            database.incarnation = key.incarnation
            database.detector = EpisodeDetector()
        calibration = database.calibration
        calibration.set_conditions(observation.options_key, key.device.key)
        calibration.present({raw.model: raw.puts_per_second for raw in estimates})
        episodes = database.detector.update(observation)
        for episode in episodes:
            self._learn(database, episode)
        usable = [
            raw
            for raw in estimates
            if raw.puts_per_second > 0 and math.isfinite(raw.puts_per_second)
        ]
        calibrated = {
            raw.model: calibration.calibrated(
                raw.model, raw.puts_per_second, raw.log_half_width, observation.wall_seconds
            )
            for raw in usable
        }
        if not database.detector.saturated:
            for raw in usable:
                calibration.note(raw, calibrated[raw.model], observation.at)
        model = database.recommendation.update(
            tuple(calibrated.values()),
            {raw.model for raw in usable if raw.complete},
            phase,
            observation.at,
        )
        recommended = None if model is None else calibrated[model]
        self._remember(key, database, observation, model)
        exact = [label for label in calibration.labels if label.exact]
        return LearnedView(
            calibrated=calibrated,
            recommended=recommended,
            episodes_total=database.episodes_total,
            accuracy_ratio={
                name: estimate.accuracy_ratio
                for name, estimate in calibrated.items()
                if estimate.accuracy_ratio is not None
            },
            coverage_ratio=None if recommended is None else recommended.coverage_ratio,
            coverage_interval=None if recommended is None else recommended.coverage_interval,
            episodes=episodes,
            last_label=exact[-1] if exact else None,
            saturated=database.detector.saturated,
        )

    def _learn(self, database: _Database, episode: Episode) -> None:
        if database.calibration.label(episode):
            self.revision += 1
            if episode.status != "open":
                self.urgent_revision = self.revision
        if episode.kind == "floor":
            return
        counted = database.counted == episode.started_wall_seconds
        if episode.status == "withdrawn" and counted:
            database.episodes_total -= 1
            database.counted = None
            self._news()
        elif episode.status != "withdrawn" and not counted:
            database.episodes_total += 1
            database.counted = episode.started_wall_seconds
            self._news()

    def _news(self) -> None:
        self.revision += 1
        self.urgent_revision = self.revision

    def _remember(
        self,
        key: DatabaseKey,
        database: _Database,
        observation: EpisodeObservation,
        recommended: str | None,
    ) -> None:
        before = database.memory
        database.memory = DatabaseMemory(
            path=key.path,
            device=key.device,
            options_key=observation.options_key,
            labels=database.calibration.labels,
            episodes_total=database.episodes_total,
            recommended=recommended,
            seen_wall_seconds=observation.wall_seconds,
        )
        if database.calibration.labels and (
            before is None
            or (before.options_key, before.device.key, before.recommended)
            != (observation.options_key, key.device.key, recommended)
        ):
            self.revision += 1

    def forget(self, path: str) -> None:
        """Stop following a database; what was learned of it stays in the memory.

        As far as it would be saved: on a host where databases come and go, each under a path of
        its own, those that left first are forgotten.
        """
        database = self._databases.pop(path, None)
        if database is not None and database.memory is not None:
            self._remembered.pop(path, None)
            self._remembered[path] = database.memory
            while len(self._remembered) > MAX_ENTRIES:
                del self._remembered[next(iter(self._remembered))]

    def baseline(
        self, device: DeviceIdentity, measured_bytes_per_second: float | None, wall_seconds: float
    ) -> float | None:
        """The best capacity known of a device, bytes/s, this measurement included; None: none."""
        known = self._devices.get(device.key) or self._devices.pop(device.nameless_key, None)
        best = None if known is None else known.baseline_bytes_per_second
        if measured_bytes_per_second is not None and (best or 0.0) < measured_bytes_per_second:
            known = DeviceMemory(device, measured_bytes_per_second, wall_seconds, wall_seconds)
            self._news()
        elif known is not None:
            known = DeviceMemory(
                device, known.baseline_bytes_per_second, known.measured_wall_seconds, wall_seconds
            )
        if known is None:
            return None
        self._devices[device.key] = known
        return known.baseline_bytes_per_second

    def probing(self, device: DeviceIdentity) -> ProbingMemory | None:
        """How it was last measured; None where nothing is known of it.

        What was measured before this was kept had its longer run as well.
        """
        known = self._probing.get(device)
        if known is None and (old := self._devices.get(device.key)) is not None:
            runs = RunsMemory(long_run_done=True)
            return ProbingMemory(device, None, runs, old.seen_wall_seconds)
        return known

    def remember_probing(self, entry: ProbingMemory) -> None:
        """Keep how a device was last measured; to be told every tick."""
        news = self._probing.remember(entry)
        if news is News.AT_ONCE:
            self._news()
        elif news is News.LATER:
            self.revision += 1

    def memory(self, wall_seconds: float) -> LearnedState:
        """Everything worth keeping, to be saved."""
        followed = {path: d.memory for path, d in self._databases.items() if d.memory is not None}
        return pruned(
            LearnedState(
                databases=tuple({**self._remembered, **followed}.values()),
                devices=tuple(self._devices.values()),
                probing=self._probing.all(),
            ),
            wall_seconds,
        )
