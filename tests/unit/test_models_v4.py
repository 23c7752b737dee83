"""V4 against the published formula; every expectation is worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models import arrays, v4
from agent.models.phase_votes import PHASES, phase_by_votes, phase_index
from agent.models.prediction import CONFIDENCE_LEVELS, InvalidInput, Prediction

MIB = 1048576.0

BANDWIDTHS = st.one_of(
    st.sampled_from([0.001, 99.999, 100.0, 499.999, 500.0, 800.0, 800.001, 3000.0, 3000.001]),
    st.floats(min_value=1e-3, max_value=1e6),
)
RUNTIMES = st.none() | st.sampled_from([0.0, 29.999, 30.0, 89.999, 90.0]) | st.floats(0, 1e7)
SIZES = st.none() | st.sampled_from([0.0, 1.0, 4.999, 5.0, 29.999, 30.0]) | st.floats(0, 1e6)
RECORDS = st.floats(min_value=1.0, max_value=1e9)


@pytest.mark.parametrize(
    ("phase", "puts_per_second", "utilization"),
    [("initial", 19.0, 0.019), ("middle", 47.0, 0.047), ("final", 46.0, 0.046)],
)
def test_a_phase_turns_bandwidth_over_record_size_into_its_share(
    phase: str, puts_per_second: float, utilization: float
) -> None:
    """1000 MiB/s of 1 MiB records are 1000 records/s, times 0.019, 0.047 or 0.046."""
    prediction = v4.predict(1000.0, phase=phase, record_size_bytes=MIB)
    assert puts_per_second == pytest.approx(prediction.puts_per_second, rel=1e-12)
    assert utilization == prediction.utilization


@pytest.mark.parametrize(
    ("bandwidth_mib", "phase", "puts_per_second"),
    [(4116.6, "initial", 78860), (1074.8, "middle", 50932), (852.5, "final", 39538)],
)
def test_the_reference_points_recompute_with_the_default_record_size(
    bandwidth_mib: float, phase: str, puts_per_second: int
) -> None:
    """DESIGN section 5 lists what the printed formula gives with 1040 bytes."""
    assert puts_per_second == round(v4.predict(bandwidth_mib, phase=phase).puts_per_second)


def test_a_prediction_tells_all_that_it_came_from() -> None:
    """Model, phase, confidence, utilization, factor and inputs come with the number."""
    expected = Prediction(
        puts_per_second=23.5,
        model="v4",
        phase="middle",
        confidence="high",
        utilization=0.047,
        factor=1.0,
        bandwidth_mib=500.0,
        record_size=MIB,
        warnings=(),
    )
    assert expected == v4.predict(500.0, phase="middle", record_size_bytes=MIB)


@pytest.mark.parametrize(
    ("bandwidth_mib", "phase"),
    [
        (3000.001, "initial"),
        (3000.0, "middle"),
        (800.001, "middle"),
        (800.0, "final"),
        (0.1, "final"),
        (10001.0, "initial"),
    ],
)
def test_bandwidth_alone_decides_the_phase_when_nothing_else_is_known(
    bandwidth_mib: float, phase: str
) -> None:
    """Above 3000 initial, above 800 middle, else final; the bounds belong to the later phase."""
    assert phase == v4.predict(bandwidth_mib).phase


@pytest.mark.parametrize(
    ("runtime_minutes", "phase"),
    [
        (0.0, "initial"),
        (29.999, "initial"),
        (30.0, "middle"),
        (89.999, "middle"),
        (90.0, "final"),
        (1e6, "final"),
    ],
)
def test_two_votes_of_runtime_and_size_outvote_bandwidth(
    runtime_minutes: float, phase: str
) -> None:
    """Runtime under 30 min votes initial, under 90 middle, else final; the size agrees here."""
    size = {"initial": 1.0, "middle": 10.0, "final": 100.0}[phase]
    against = {"initial": 100.0, "middle": 100.0, "final": 5000.0}[phase]
    decided = v4.predict(against, runtime_minutes=runtime_minutes, database_size_gb=size)
    assert phase == decided.phase


@pytest.mark.parametrize(
    ("size_gb", "phase"),
    [
        (0.0, "initial"),
        (4.999, "initial"),
        (5.0, "middle"),
        (29.999, "middle"),
        (30.0, "final"),
        (1e5, "final"),
    ],
)
def test_the_size_vote_changes_hands_at_5_and_30_gigabytes(size_gb: float, phase: str) -> None:
    """Under 5 GB initial, under 30 middle, else final; the runtime agrees here."""
    runtime = {"initial": 1.0, "middle": 60.0, "final": 500.0}[phase]
    against = {"initial": 100.0, "middle": 5000.0, "final": 5000.0}[phase]
    decided = v4.predict(against, runtime_minutes=runtime, database_size_gb=size_gb)
    assert phase == decided.phase


@pytest.mark.parametrize(
    ("bandwidth_mib", "runtime_minutes", "size_gb", "phase"),
    [
        (5000.0, 60.0, None, "initial"),  # initial : middle
        (1000.0, 10.0, None, "initial"),
        (5000.0, 100.0, None, "initial"),  # initial : final
        (100.0, None, 1.0, "initial"),
        (1000.0, 100.0, None, "middle"),  # middle : final
        (100.0, None, 10.0, "middle"),
        (100.0, 0.0, None, "initial"),  # 0 is known
        (100.0, None, 0.0, "initial"),
        (5000.0, 60.0, 100.0, "initial"),  # one each
        (1000.0, 100.0, 1.0, "initial"),
        (100.0, 10.0, 10.0, "initial"),
        (1000.0, 60.0, 1.0, "middle"),  # two to one
        (100.0, 100.0, 1.0, "final"),
    ],
)
def test_a_tie_goes_to_the_earlier_phase_and_a_majority_wins(
    bandwidth_mib: float, runtime_minutes: float | None, size_gb: float | None, phase: str
) -> None:
    """All the ways in which two or three votes can disagree."""
    decided = v4.predict(bandwidth_mib, runtime_minutes=runtime_minutes, database_size_gb=size_gb)
    assert phase == decided.phase


def test_a_given_phase_is_not_put_to_the_vote() -> None:
    """The argument wins over three votes against it."""
    decided = v4.predict(5000.0, phase="final", runtime_minutes=1.0, database_size_gb=1.0)
    assert decided.phase == "final"


@pytest.mark.parametrize(
    ("bandwidth_mib", "initial", "later"),
    [
        (500.0, "medium", "high"),
        (5000.0, "medium", "high"),
        (499.999, "low", "medium"),
        (100.0, "low", "medium"),
        (99.999, "low", "low"),
        (0.5, "low", "low"),
    ],
)
def test_confidence_loses_a_step_below_500_and_is_low_below_100(
    bandwidth_mib: float, initial: str, later: str
) -> None:
    """Initial starts medium, middle and final high."""
    expected = (initial, later, later)
    actual = tuple(v4.predict(bandwidth_mib, phase=phase).confidence for phase in PHASES)
    assert expected == actual


def test_only_a_bandwidth_above_10000_is_warned_about() -> None:
    """10000 MiB/s itself is still plausible; the warning names value and remedy."""
    assert v4.predict(10000.0).warnings == ()
    (warning,) = v4.predict(10001.0).warnings
    assert "10001 MiB/s" in warning
    assert "unit" in warning


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0])
def test_a_bandwidth_or_record_size_that_is_not_positive_and_finite_is_refused(
    bad: float,
) -> None:
    """NaN and infinity are errors too, unlike in the reference listing (deviation d)."""
    with pytest.raises(InvalidInput, match="bandwidth"):
        v4.predict(bad)
    with pytest.raises(InvalidInput, match="record size"):
        v4.predict(100.0, record_size_bytes=bad)
    with pytest.raises(InvalidInput, match="bandwidth"):
        arrays.predict_v4([100.0, bad, 200.0])
    with pytest.raises(InvalidInput, match="record size"):
        arrays.predict_v4([100.0, 100.0], record_size_bytes=[1.0, bad])


@pytest.mark.parametrize("phase", [None, "middle"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_a_known_runtime_or_size_that_is_no_number_is_refused_even_when_the_phase_is_given(
    bad: float, phase: str | None
) -> None:
    """0 minutes and 0 GB are fine; negative, NaN and infinite are not."""
    with pytest.raises(InvalidInput, match="runtime"):
        v4.predict(100.0, phase=phase, runtime_minutes=bad)
    with pytest.raises(InvalidInput, match="size"):
        v4.predict(100.0, phase=phase, database_size_gb=bad)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, -1.0])
def test_arrays_refuse_the_same_values_but_take_nan_for_unknown(bad: float) -> None:
    """In an array only NaN can say "unknown"."""
    with pytest.raises(InvalidInput, match="runtime"):
        arrays.predict_v4([100.0, 100.0], runtime_minutes=[1.0, bad])
    with pytest.raises(InvalidInput, match="size"):
        arrays.predict_v4([100.0, 100.0], phase=[0, 1], database_size_gb=[1.0, bad])
    unknown = arrays.predict_v4([100.0], runtime_minutes=[math.nan], database_size_gb=[math.nan])
    assert unknown.phase.tolist() == [2]


def test_an_unknown_phase_name_is_refused_with_the_names_there_are() -> None:
    """A typing error must not become some phase."""
    with pytest.raises(InvalidInput, match="'midle'; one of initial, middle, final"):
        v4.predict(100.0, phase="midle")
    with pytest.raises(ValueError, match="one of initial, middle, final"):
        phase_index("Initial")


@pytest.mark.parametrize("phases", [[0, 3], [-1, 0], [0.0, 1.0]])
def test_phase_arrays_must_hold_indices(phases: list[float]) -> None:
    """Negative indices would silently count from the end."""
    with pytest.raises(InvalidInput, match="phase"):
        arrays.predict_v4([100.0, 100.0], phase=phases)


def test_empty_arrays_give_empty_predictions() -> None:
    """No inputs, no outputs, no error."""
    predictions = arrays.predict_v4([])
    assert (0,) == predictions.puts_per_second.shape == predictions.phase.shape


def test_one_phase_and_one_record_size_serve_a_whole_array() -> None:
    """Scalars spread over the shape of the bandwidths."""
    predictions = arrays.predict_v4([1000.0, 2000.0], phase=1, record_size_bytes=MIB)
    assert pytest.approx(predictions.puts_per_second.tolist()) == [47.0, 94.0]
    assert predictions.factor == 1.0
    assert predictions.phase.tolist() == [1, 1]


@given(st.lists(st.tuples(BANDWIDTHS, RUNTIMES, SIZES, RECORDS), min_size=1, max_size=20))
def test_arrays_predict_what_the_scalar_predicts_by_votes(
    inputs: list[tuple[float, float | None, float | None, float]],
) -> None:
    """One implementation serves both, so nothing may differ in the last bit."""
    bandwidths, runtimes, sizes, records = zip(*inputs, strict=True)
    found = arrays.predict_v4(
        bandwidths, runtime_minutes=runtimes, database_size_gb=sizes, record_size_bytes=records
    )
    singles = [
        v4.predict(b, runtime_minutes=r, database_size_gb=s, record_size_bytes=k)
        for b, r, s, k in inputs
    ]
    assert [p.puts_per_second for p in singles] == found.puts_per_second.tolist()
    assert [p.phase for p in singles] == [PHASES[i] for i in found.phase]
    assert [p.confidence for p in singles] == [CONFIDENCE_LEVELS[i] for i in found.confidence]


@given(st.lists(st.tuples(BANDWIDTHS, st.sampled_from(PHASES), RECORDS), min_size=1, max_size=20))
def test_arrays_predict_what_the_scalar_predicts_with_phases_given(
    inputs: list[tuple[float, str, float]],
) -> None:
    """The vote is skipped in both."""
    bandwidths, phases, records = zip(*inputs, strict=True)
    found = arrays.predict_v4(
        bandwidths, phase=[phase_index(p) for p in phases], record_size_bytes=records
    )
    singles = [v4.predict(b, phase=p, record_size_bytes=k) for b, p, k in inputs]
    assert [p.puts_per_second for p in singles] == found.puts_per_second.tolist()
    assert [p.confidence for p in singles] == [CONFIDENCE_LEVELS[i] for i in found.confidence]


@given(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2))
def test_the_vote_is_the_most_frequent_and_earliest_of_the_three(
    bandwidth: int, runtime: int, size: int
) -> None:
    """All 27 ballots against a count by hand."""
    cast = [bandwidth, runtime, size]
    expected = max(range(3), key=lambda phase: (cast.count(phase), -phase))
    actual = phase_by_votes(
        (5000.0, 1000.0, 100.0)[bandwidth], (10.0, 60.0, 120.0)[runtime], (1.0, 10.0, 50.0)[size]
    )
    assert expected == actual


@given(BANDWIDTHS, st.sampled_from(PHASES), RECORDS)
def test_s_max_is_proportional_to_bandwidth_over_record_size(
    bandwidth: float, phase: str, record: float
) -> None:
    """Twice the bandwidth carries twice the puts, twice the record half of them."""
    once = v4.predict(bandwidth, phase=phase, record_size_bytes=record).puts_per_second
    wider = v4.predict(2 * bandwidth, phase=phase, record_size_bytes=record).puts_per_second
    larger = v4.predict(bandwidth, phase=phase, record_size_bytes=2 * record).puts_per_second
    assert (2 * once, once / 2) == pytest.approx((wider, larger))
    assert math.isfinite(once)
    assert once > 0


def test_numpy_scalars_are_as_good_as_floats() -> None:
    """A caller that takes one element out of an array gets plain answers."""
    prediction = v4.predict(np.float64(1000.0), runtime_minutes=np.float64(60.0))
    assert (prediction.phase, prediction.confidence) == ("middle", "high")


def test_inputs_that_give_no_finite_rate_are_refused() -> None:
    """Each is valid, together they overflow."""
    with pytest.raises(InvalidInput, match="no finite put rate"):
        v4.predict(1e308, phase="final", record_size_bytes=1e-300)
