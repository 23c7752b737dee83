"""Today's models on recordings of real databases, beside what those really sustained."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from agent.main import host_state_for
from agent.readings import Known
from agent.recording.recording import open_recording
from agent.recording.replay import replay
from agent.simulator import InlineSimulator
from agent.snapshot import DatabaseSnapshot
from agent.workload import MEMTABLE_OVERHEAD_BYTES

RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"
NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/truth.json"))

WORST_ERROR = 0.15
"""Twice what docs/accuracy.md shows: a regression fails, the scatter of a clock does not."""


@dataclass(frozen=True)
class Recorded:
    """The truth, and what is said before saturation and after one episode."""

    truth: float
    bottleneck: str | None
    keys: int
    before: DatabaseSnapshot
    after: DatabaseSnapshot


@cache
def recorded(name: str) -> Recorded:
    truth = json.loads((RECORDINGS / name / "truth.json").read_text())
    recording = open_recording(str(RECORDINGS / name / "recording.gz"))
    snapshots = list(
        replay(
            recording,
            host_state_for(recording.header.config),
            InlineSimulator(),
        )
    )
    found = {
        moment: next(s for s in reversed(snapshots) if s.wall_seconds <= at).databases[0]
        for moment, at in truth["moments"].items()
    }
    return Recorded(truth["puts_per_second"], truth["bottleneck"], truth["keys"], **found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_recommended_rate_is_near_what_was_sustained(name: str, moment: str) -> None:
    """And never far above it: an operator acts on it."""
    run = recorded(name)
    said = getattr(run, moment).recommended
    assert isinstance(said, Known)
    assert said.value.puts_per_second == pytest.approx(run.truth, rel=WORST_ERROR)
    assert said.value.lower <= run.truth <= said.value.upper


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_is_named(name: str) -> None:
    """From the load before any saturation."""
    run = recorded(name)
    assert run.before.bottleneck == run.bottleneck


@pytest.mark.parametrize("name", NAMES)
def test_the_keys_are_counted_from_outside(name: str) -> None:
    """Within about a tenth of how many there are, by what one or two merges dropped."""
    run = recorded(name)
    assert isinstance(run.before.inputs, Known)
    assert isinstance(run.before.levels, Known)
    costs = run.before.inputs.value.costs
    assert costs.key_space_bytes is not None
    table_bytes = costs.record_bytes + MEMTABLE_OVERHEAD_BYTES
    assert costs.key_space_bytes * 1.0 / (table_bytes * costs.flush_output_ratio) == pytest.approx(
        run.keys, rel=0.12
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_was_learned_from(name: str) -> None:
    """Before it nothing was verified; after it one label stands behind the number."""
    run = recorded(name)
    assert isinstance(run.before.recommended, Known)
    assert isinstance(run.after.recommended, Known)
    assert (run.before.recommended.value.confidence, run.before.episodes_total) == ("unverified", 0)
    assert run.after.recommended.value.labels >= 1
    assert run.after.episodes_total >= 1


@pytest.mark.parametrize("name", NAMES)
def test_no_stall_is_announced_under_a_load_that_is_sustained(name: str) -> None:
    """At a third of S_max."""
    ahead = recorded(name).before.time_to_stall_seconds
    assert isinstance(ahead, Known)
    assert ahead.value == float("inf")
