"""The phase in force: the published votes, and a hysteresis that keeps it from flapping."""

from collections.abc import Mapping
from dataclasses import dataclass

from agent.models.phase_votes import (
    PHASES,
    bandwidth_vote,
    phase_by_votes,
    runtime_vote,
    size_vote,
)


@dataclass(frozen=True, slots=True)
class PhaseEvidence:
    """What the votes are cast on; None does not vote.

    ``runtime_minutes`` is the database's age, not its process's uptime. The last three are the
    extension: they vote as one, and only when the runtime is unknown.
    """

    bandwidth_mib: float
    runtime_minutes: float | None
    database_size_gb: float | None
    levels_in_use: int | None  # below level 0
    write_amplification: float | None
    compaction_share: float | None  # compaction output / (flush + compaction output)


@dataclass(frozen=True, slots=True)
class PhaseInForce:
    """The phase, since when (monotonic seconds), and how each piece of evidence votes now."""

    name: str
    since: float
    votes: Mapping[str, str]
    candidate: str | None  # the phase that the votes give now, where it is another one


def lsm_vote(
    levels_in_use: int | None, write_amplification: float | None, compaction_share: float | None
) -> int | None:
    """Phase index by the LSM's own shape: an extension of ours, not of the published model.

    A young tree has one level below L0 and rewrites little; a grown one has three or more and
    most of its writes are compaction. The median of what is known votes; thresholds are those
    between which a leveled tree with the default multiplier of 10 gains its next level.
    """
    opinions = []
    if levels_in_use is not None:
        opinions.append(min(2, max(0, levels_in_use - 1)))
    if write_amplification is not None:
        opinions.append(0 if write_amplification < 2.0 else 1 if write_amplification < 6.0 else 2)
    if compaction_share is not None:
        opinions.append(0 if compaction_share < 0.5 else 1 if compaction_share < 0.8 else 2)
    if not opinions:
        return None
    return sorted(opinions)[(len(opinions) - 1) // 2]


_RUNTIME_STANDING_FOR = (0.0, 60.0, 120.0)
"""A runtime in minutes inside each phase: how an LSM vote takes the runtime's place."""


def votes(evidence: PhaseEvidence) -> tuple[int, dict[str, str]]:
    """Phase index by majority (ties go early), and each vote by name."""
    cast = {"bandwidth": PHASES[int(bandwidth_vote(evidence.bandwidth_mib))]}
    runtime = evidence.runtime_minutes
    if runtime is not None:
        cast["runtime"] = PHASES[int(runtime_vote(runtime))]
    else:
        substitute = lsm_vote(
            evidence.levels_in_use, evidence.write_amplification, evidence.compaction_share
        )
        if substitute is not None:
            cast["lsm"] = PHASES[substitute]
            runtime = _RUNTIME_STANDING_FOR[substitute]
    size = evidence.database_size_gb
    if size is not None:
        cast["size"] = PHASES[int(size_vote(size))]
    nan = float("nan")
    winner = phase_by_votes(
        evidence.bandwidth_mib, nan if runtime is None else runtime, nan if size is None else size
    )
    return int(winner), cast


class PhaseInference:
    """Follows the votes over time: another phase must win without a break for ``hold_seconds``.

    The phase therefore changes at most once in ``hold_seconds``, and evidence that alternates
    changes nothing.
    """

    def __init__(self, hold_seconds: float) -> None:
        self._hold_seconds = hold_seconds
        self._current: int | None = None
        self._since = 0.0
        self._candidate: int | None = None
        self._candidate_since = 0.0

    def hold_for(self, seconds: float) -> None:
        """Another ``hold_seconds`` from now on."""
        self._hold_seconds = seconds

    def interrupt(self) -> None:
        """A moment without evidence: a candidate must win without a break."""
        self._candidate = None

    def update(self, evidence: PhaseEvidence, now: float) -> PhaseInForce:
        """The phase in force after this evidence; ``now`` in monotonic seconds."""
        winner, cast = votes(evidence)
        if self._current is None:
            self._current, self._since = winner, now
        if winner == self._current:
            self._candidate = None
        elif winner != self._candidate:
            self._candidate, self._candidate_since = winner, now
        if self._candidate is not None and now - self._candidate_since >= self._hold_seconds:
            self._current, self._since, self._candidate = self._candidate, now, None
        return PhaseInForce(
            name=PHASES[self._current],
            since=self._since,
            votes=cast,
            candidate=None if self._candidate is None else PHASES[self._candidate],
        )
