"""The phase in force: votes with the LSM's substitute, and a hysteresis that does not flap."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.phase import PhaseEvidence, PhaseInference, lsm_vote, votes

HOLD = 300.0
NOTHING = PhaseEvidence(100.0, None, None, None, None, None)
INITIAL = replace(NOTHING, bandwidth_mib=5000.0)
MIDDLE = replace(NOTHING, bandwidth_mib=1000.0)
FINAL = NOTHING


@pytest.mark.parametrize(
    ("bandwidth_mib", "phase"),
    [(3000.001, 0), (3000.0, 1), (800.001, 1), (800.0, 2)],
)
def test_bandwidth_always_votes(bandwidth_mib: float, phase: int) -> None:
    """Alone it decides, with the published bounds."""
    names = ("initial", "middle", "final")
    assert (phase, {"bandwidth": names[phase]}) == votes(
        replace(NOTHING, bandwidth_mib=bandwidth_mib)
    )


def test_a_known_runtime_and_size_vote_as_published() -> None:
    """Three votes, each under its own name."""
    evidence = replace(MIDDLE, runtime_minutes=30.0, database_size_gb=5.0)
    assert votes(evidence) == (1, {"bandwidth": "middle", "runtime": "middle", "size": "middle"})
    evidence = replace(INITIAL, runtime_minutes=90.0, database_size_gb=30.0)
    assert votes(evidence) == (2, {"bandwidth": "initial", "runtime": "final", "size": "final"})


def test_the_lsm_does_not_vote_while_the_runtime_is_known() -> None:
    """A grown tree says final, but it is not asked."""
    evidence = PhaseEvidence(5000.0, 1.0, None, 6, 30.0, 0.95)
    assert votes(evidence) == (0, {"bandwidth": "initial", "runtime": "initial"})


def test_the_lsm_takes_the_place_of_an_unknown_runtime() -> None:
    """With the size it can outvote the bandwidth."""
    evidence = PhaseEvidence(5000.0, None, 50.0, 6, 30.0, 0.95)
    assert votes(evidence) == (2, {"bandwidth": "initial", "lsm": "final", "size": "final"})
    alone = PhaseEvidence(5000.0, None, None, 6, 30.0, 0.95)
    assert votes(alone)[0] == 0, "one to one goes to the earlier phase"


@pytest.mark.parametrize(
    ("levels", "amplification", "share", "phase"),
    [
        (None, None, None, None),
        (0, None, None, 0),
        (1, None, None, 0),
        (2, None, None, 1),
        (3, None, None, 2),
        (7, None, None, 2),
        (None, 1.999, None, 0),
        (None, 2.0, None, 1),
        (None, 5.999, None, 1),
        (None, 6.0, None, 2),
        (None, None, 0.499, 0),
        (None, None, 0.5, 1),
        (None, None, 0.799, 1),
        (None, None, 0.8, 2),
        (1, 3.0, 0.9, 1),  # the median of 0, 1, 2
        (3, 1.0, 0.9, 2),  # of 2, 0, 2
        (3, 1.0, None, 0),  # of two the earlier
        (2, 9.0, None, 1),
    ],
)
def test_the_lsm_votes_with_the_median_of_what_is_known(
    levels: int | None, amplification: float | None, share: float | None, phase: int | None
) -> None:
    """Levels in use, write amplification and compaction share, each with two bounds."""
    assert phase == lsm_vote(levels, amplification, share)


def test_the_first_evidence_decides_at_once() -> None:
    """There is nothing to hold on to yet."""
    in_force = PhaseInference(HOLD).update(FINAL, 1000.0)
    assert (in_force.name, in_force.since, in_force.candidate) == ("final", 1000.0, None)


def test_another_phase_must_win_for_the_whole_hold_time() -> None:
    """One moment short of it the old phase is in force, and the candidate is shown."""
    inference = PhaseInference(HOLD)
    inference.update(INITIAL, 0.0)
    waiting = inference.update(MIDDLE, 10.0)
    assert (waiting.name, waiting.candidate) == ("initial", "middle")
    almost = inference.update(MIDDLE, 309.999)
    assert (almost.name, almost.since, almost.candidate) == ("initial", 0.0, "middle")
    changed = inference.update(MIDDLE, 310.0)
    assert (changed.name, changed.since, changed.candidate) == ("middle", 310.0, None)


def test_one_moment_of_the_old_evidence_starts_the_wait_anew() -> None:
    """Without a break means without a break."""
    inference = PhaseInference(HOLD)
    inference.update(INITIAL, 0.0)
    inference.update(MIDDLE, 10.0)
    assert inference.update(INITIAL, 300.0).candidate is None
    inference.update(MIDDLE, 310.0)
    assert inference.update(MIDDLE, 609.0).name == "initial"
    assert inference.update(MIDDLE, 610.0).name == "middle"


def test_a_second_candidate_does_not_inherit_the_wait_of_the_first() -> None:
    """Middle waited for 200 s, then final shows up and waits for itself."""
    inference = PhaseInference(HOLD)
    inference.update(INITIAL, 0.0)
    inference.update(MIDDLE, 10.0)
    inference.update(FINAL, 210.0)
    assert inference.update(FINAL, 310.0).name == "initial"
    assert inference.update(FINAL, 510.0).name == "final"


def test_evidence_that_alternates_changes_nothing() -> None:
    """A day of flipping every tick between two phases."""
    inference = PhaseInference(HOLD)
    names = {
        inference.update(MIDDLE if tick % 2 else FINAL, 10.0 * tick).name for tick in range(8640)
    }
    assert names == {"final"}


def test_a_hold_time_of_zero_follows_the_votes() -> None:
    """The operator may switch the hysteresis off."""
    inference = PhaseInference(0.0)
    names = [inference.update(e, 10.0 * i).name for i, e in enumerate((INITIAL, FINAL, MIDDLE))]
    assert names == ["initial", "final", "middle"]


def test_the_phase_may_go_back() -> None:
    """A database that was emptied and a device that recovered are initial again."""
    inference = PhaseInference(HOLD)
    inference.update(FINAL, 0.0)
    inference.update(INITIAL, 10.0)
    assert inference.update(INITIAL, 310.0).name == "initial"


def test_the_votes_shown_are_those_of_now() -> None:
    """A status line shows why the candidate wants in."""
    inference = PhaseInference(HOLD)
    inference.update(INITIAL, 0.0)
    assert inference.update(replace(FINAL, database_size_gb=50.0), 10.0).votes == {
        "bandwidth": "final",
        "size": "final",
    }


@given(
    st.lists(
        st.tuples(st.sampled_from([INITIAL, MIDDLE, FINAL]), st.floats(0.1, 400.0)), min_size=1
    )
)
def test_it_changes_at_most_once_in_a_hold_time_and_only_to_what_held(
    steps: list[tuple[PhaseEvidence, float]],
) -> None:
    """Whatever the evidence and the ticks, each change was preceded by a hold time of agreement."""
    inference = PhaseInference(HOLD)
    now = 0.0
    history = []
    for evidence, elapsed in steps:
        now += elapsed
        history.append((now, votes(evidence)[0], inference.update(evidence, now)))
    names = ("initial", "middle", "final")
    changes = []
    for (_, _, before), (at, _, after) in pairwise(history):
        if before.name != after.name:
            changes.append(at)
            held = [names[w] == after.name for t, w, _ in history if at - HOLD <= t <= at]
            assert all(held)
    assert all(later - earlier >= HOLD for earlier, later in pairwise(changes))


def test_a_moment_without_evidence_interrupts_the_wait() -> None:
    """What was not seen to hold did not hold without a break."""
    inference = PhaseInference(hold_seconds=100.0)
    early = PhaseEvidence(4000.0, 1.0, 1.0, None, None, None)
    late = PhaseEvidence(100.0, 1000.0, 100.0, None, None, None)
    inference.update(early, 0.0)
    inference.update(late, 10.0)

    inference.interrupt()

    assert inference.update(late, 150.0).name == "initial"
    assert inference.update(late, 250.0).name == "final"
