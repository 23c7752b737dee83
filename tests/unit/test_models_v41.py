"""V4.1's corrections and confidence, with the deviations (a) to (e) from the reference listing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.models import arrays, v4, v41
from agent.models.phase_votes import PHASES, phase_index
from agent.models.prediction import CONFIDENCE_LEVELS, InvalidInput, Prediction

MIB = 1048576.0

BANDWIDTHS = st.floats(min_value=1e-3, max_value=1e6)
RUNTIMES = (
    st.none() | st.sampled_from([0.0, 24.999, 25.0, 30.0, 35.0, 35.001, 90.0]) | st.floats(0, 1e6)
)
SIZES = st.none() | st.sampled_from([0.0, 0.999, 1.0, 5.0, 30.0]) | st.floats(0, 1e6)
AMPLIFICATIONS = st.none() | st.sampled_from([0.0, 0.5, 0.8, 3.2, 3.5, 4.0]) | st.floats(0, 100)
RECORDS = st.floats(min_value=1.0, max_value=1e9)


@pytest.mark.parametrize(
    ("minutes", "ramp"),
    [
        (None, 1.0),
        (0.0, 1.0),
        (24.999, 1.0),
        (25.0, 1.0006692850924285),  # 1 + 0.1 / (1 + e**5)
        (27.5, 1.0075858180021244),  # 1 + 0.1 / (1 + e**2.5)
        (30.0, 1.05),
        (35.0, 1.0993307149075715),  # 1 + 0.1 / (1 + e**-5)
        (35.001, 1.1),
        (60.0, 1.1),
        (85.0, 1.1),  # deviation (e): no blending towards the final phase
        (95.0, 1.1),
        (1e6, 1.1),
    ],
)
def test_the_middle_phase_ramps_up_between_minute_25_and_35(
    minutes: float | None, ramp: float
) -> None:
    """Factor 1.10 * 1.05 * t: flat 1 before or unknown, a sigmoid, then 1.1 for good."""
    prediction = v41.predict(1000.0, phase="middle", runtime_minutes=minutes)
    assert 1.155 * ramp == pytest.approx(prediction.factor, rel=1e-12)


@pytest.mark.parametrize(
    ("size_gb", "factor"),
    [(None, 0.85), (0.0, 0.765), (0.999, 0.765), (1.0, 0.85), (50.0, 0.85)],
)
def test_the_initial_phase_is_cut_more_only_when_the_database_is_known_to_be_small(
    size_gb: float | None, factor: float
) -> None:
    """Deviation (b): 0.9 more below 1 GB, and never because the size is missing."""
    prediction = v41.predict(4000.0, phase="initial", database_size_gb=size_gb)
    assert factor == pytest.approx(prediction.factor, rel=1e-12)


def test_other_context_does_not_stand_for_a_missing_size() -> None:
    """Deviation (b) with everything but the size known."""
    prediction = v41.predict(
        4000.0, phase="initial", runtime_minutes=5.0, write_amplification=9.0, read_amplification=9
    )
    assert pytest.approx(0.85) == prediction.factor


@pytest.mark.parametrize(
    ("write_amplification", "read_amplification", "factor"),
    [
        (None, None, 0.89775),  # 1.05 * 0.95 * 0.9
        (3.0, 1.0, 0.89775),  # exactly 4.0
        (3.0, 1.001, 0.8528625),  # 0.95 more
        (3.2, None, 0.89775),  # 3.2 + the default 0.8 is 4.0
        (3.21, None, 0.8528625),
        (None, 0.5, 0.89775),  # the default 3.5 + 0.5 is 4.0
        (None, 0.51, 0.8528625),
        (0.0, 0.0, 0.89775),
        (0.0, None, 0.89775),
        (None, 0.0, 0.89775),
        (0.0, 0.9, 0.89775),  # 0 is known: no default in its place
        (3.9, 0.0, 0.89775),
        (20.0, 0.0, 0.8528625),
    ],
)
def test_the_final_phase_is_cut_more_only_when_amplification_is_known_to_be_high(
    write_amplification: float | None, read_amplification: float | None, factor: float
) -> None:
    """Deviation (a): WA or RA must be known; the missing one is 3.5 or 0.8."""
    prediction = v41.predict(
        500.0,
        phase="final",
        write_amplification=write_amplification,
        read_amplification=read_amplification,
    )
    assert factor == pytest.approx(prediction.factor, rel=1e-12)


def test_other_context_does_not_stand_for_missing_amplifications() -> None:
    """Deviation (a) with everything but WA and RA known."""
    prediction = v41.predict(500.0, phase="final", runtime_minutes=300.0, database_size_gb=99.0)
    assert pytest.approx(0.89775) == prediction.factor


@pytest.mark.parametrize(
    ("phase", "context"),
    [
        ("initial", {"write_amplification": 20.0, "runtime_minutes": 60.0}),
        ("middle", {"write_amplification": 20.0, "database_size_gb": 0.1}),
        ("final", {"runtime_minutes": 60.0, "database_size_gb": 0.1}),
    ],
)
def test_each_correction_belongs_to_its_own_phase(phase: str, context: dict[str, float]) -> None:
    """Context of the other two phases changes nothing."""
    bare = v41.predict(1000.0, phase=phase)
    assert bare == v41.predict(1000.0, phase=phase, **context)


@pytest.mark.parametrize(
    ("phase", "puts_per_second"),
    [("initial", 16.15), ("middle", 54.285), ("final", 41.2965)],
)
def test_the_prediction_is_v4_times_the_factor(phase: str, puts_per_second: float) -> None:
    """1000 records/s at 19, 47 and 46 per mille, times 0.85, 1.155 and 0.89775."""
    prediction = v41.predict(1000.0, phase=phase, record_size_bytes=MIB)
    assert puts_per_second == pytest.approx(prediction.puts_per_second, rel=1e-12)


def test_a_prediction_tells_all_that_it_came_from() -> None:
    """Utilization is V4's own; the factor is apart from it."""
    prediction = v41.predict(1000.0, phase="middle", record_size_bytes=MIB)
    expected = Prediction(
        puts_per_second=prediction.puts_per_second,
        model="v4.1",
        phase="middle",
        confidence="very_high",
        utilization=0.047,
        factor=prediction.factor,
        bandwidth_mib=1000.0,
        record_size=MIB,
        warnings=(),
    )
    assert expected == prediction


@pytest.mark.parametrize(
    ("phase", "context", "confidence"),
    [
        ("initial", {}, "medium"),  # 68.5 %
        ("initial", {"database_size_gb": 0.5}, "medium"),  # 0.765: medium loses no step
        ("middle", {}, "very_high"),  # 96.9 %
        ("middle", {"runtime_minutes": 25.0}, "very_high"),
        ("middle", {"runtime_minutes": 29.5}, "very_high"),  # factor 1.19949
        ("middle", {"runtime_minutes": 29.6}, "high"),  # factor 1.20211
        ("middle", {"runtime_minutes": 60.0}, "high"),  # factor 1.2705
        ("final", {}, "medium"),  # 70.5 %
        ("final", {"write_amplification": 9.0}, "medium"),
    ],
)
def test_confidence_is_that_of_the_published_accuracy_less_a_step_for_a_large_correction(
    phase: str, context: dict[str, float], confidence: str
) -> None:
    """Over 90 very high, over 60 medium; high and above drop when |factor - 1| > 0.2."""
    assert confidence == v41.predict(1000.0, phase=phase, **context).confidence


@pytest.mark.parametrize(
    ("factor", "confidence"),
    [(1.0, 3), (1.2, 3), (1.2001, 2), (0.8, 3), (0.7999, 2), (5.0, 2)],
)
def test_a_correction_is_large_only_beyond_two_tenths_either_way(
    factor: float, confidence: int
) -> None:
    """|factor - 1| = 0.2 itself is not beyond, and the loss is one step, not more."""
    assert confidence == v41.confidence(1, factor)


@pytest.mark.parametrize("bandwidth_mib", [0.5, 50.0, 300.0, 20000.0])
def test_bandwidth_plays_no_part_in_the_confidence(bandwidth_mib: float) -> None:
    """As in the reference listing, and unlike V4."""
    expected = ("medium", "very_high", "medium")
    actual = tuple(v41.predict(bandwidth_mib, phase=phase).confidence for phase in PHASES)
    assert expected == actual


@pytest.mark.parametrize(
    ("bandwidth_mib", "phase", "factor"),
    [(5000.0, "initial", 0.85), (1000.0, "middle", 1.155), (100.0, "final", 0.89775)],
)
def test_without_a_phase_argument_the_votes_decide(
    bandwidth_mib: float, phase: str, factor: float
) -> None:
    """Deviation (c): an omitted phase is inferred, not an error."""
    prediction = v41.predict(bandwidth_mib)
    assert phase == prediction.phase
    assert factor == pytest.approx(prediction.factor)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
@pytest.mark.parametrize(
    "argument",
    ["runtime_minutes", "database_size_gb", "write_amplification", "read_amplification"],
)
@pytest.mark.parametrize("phase", [None, "initial"])
def test_context_that_is_no_number_is_refused(argument: str, bad: float, phase: str | None) -> None:
    """Deviation (d) holds for every input, used in this phase or not."""
    with pytest.raises(InvalidInput, match=r"must be 0 or more and finite"):
        v41.predict(1000.0, phase=phase, **{argument: bad})


@pytest.mark.parametrize("bad", [math.inf, -1.0])
@pytest.mark.parametrize(
    "argument",
    ["runtime_minutes", "database_size_gb", "write_amplification", "read_amplification"],
)
def test_arrays_refuse_bad_context_too(argument: str, bad: float) -> None:
    """A negative size would else count as a known small database."""
    with pytest.raises(InvalidInput, match=r"must be 0 or more and finite"):
        arrays.predict_v41([1000.0, 1000.0], phase=[0, 0], **{argument: [1.0, bad]})


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_bandwidth_and_record_size_are_checked_as_for_v4(bad: float) -> None:
    """Deviation (d) for the two inputs that are always there."""
    with pytest.raises(InvalidInput, match="bandwidth"):
        v41.predict(bad, phase="middle")
    with pytest.raises(InvalidInput, match="record size"):
        v41.predict(100.0, phase="middle", record_size_bytes=bad)
    with pytest.raises(InvalidInput, match="bandwidth"):
        arrays.predict_v41([100.0, bad])
    with pytest.raises(InvalidInput, match="record size"):
        arrays.predict_v41([100.0], record_size_bytes=[bad])


def test_a_bandwidth_above_10000_is_warned_about_as_for_v4() -> None:
    """The same sentence from both models."""
    assert v4.predict(12000.0).warnings == v41.predict(12000.0).warnings != ()


@given(
    st.lists(
        st.tuples(BANDWIDTHS, RUNTIMES, SIZES, AMPLIFICATIONS, AMPLIFICATIONS, RECORDS),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([None, "initial", "middle", "final"]),
)
def test_arrays_predict_what_the_scalar_predicts(
    inputs: list[tuple[float, float | None, float | None, float | None, float | None, float]],
    phase: str | None,
) -> None:
    """Puts, phase, factor and confidence agree for known and unknown context alike."""
    bandwidths, runtimes, sizes, writes, reads, records = zip(*inputs, strict=True)
    found = arrays.predict_v41(
        bandwidths,
        phase=None if phase is None else phase_index(phase),
        runtime_minutes=runtimes,
        database_size_gb=sizes,
        record_size_bytes=records,
        write_amplification=writes,
        read_amplification=reads,
    )
    singles = [
        v41.predict(
            bandwidth,
            phase=phase,
            runtime_minutes=runtime,
            database_size_gb=size,
            record_size_bytes=record,
            write_amplification=write,
            read_amplification=read,
        )
        for bandwidth, runtime, size, write, read, record in inputs
    ]
    assert [p.factor for p in singles] == pytest.approx(
        np.asarray(found.factor).tolist(), rel=1e-12
    )
    assert [p.puts_per_second for p in singles] == pytest.approx(
        found.puts_per_second.tolist(), rel=1e-12
    )
    assert [p.phase for p in singles] == [PHASES[i] for i in found.phase]
    assert [p.confidence for p in singles] == [CONFIDENCE_LEVELS[i] for i in found.confidence]


def test_arrays_take_single_values_for_context() -> None:
    """One runtime, size or amplification serves all elements; None is unknown for all."""
    found = arrays.predict_v41(
        [5000.0, 1000.0, 100.0],
        phase=[0, 1, 2],
        runtime_minutes=30.0,
        database_size_gb=0.5,
        write_amplification=4.0,
    )
    assert pytest.approx(np.asarray(found.factor).tolist()) == [0.765, 1.21275, 0.8528625]
    bare = arrays.predict_v41([5000.0, 1000.0, 100.0], phase=[0, 1, 2])
    assert pytest.approx(np.asarray(bare.factor).tolist()) == [0.85, 1.155, 0.89775]


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_the_ramp_never_falls_with_age(one: float, other: float) -> None:
    """Later is never lower, within 1.0 and 1.1."""
    early, late = (float(v41.transition(minutes)) for minutes in sorted((one, other)))
    assert 1.0 <= early <= late <= 1.1
