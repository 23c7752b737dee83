"""A number taken apart: the product of its factors is the number, to floating-point precision."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.explain import decomposition
from agent.explain.explanation import Factor
from agent.models import v4, v41
from agent.models.estimate import Estimate, ResourceUse
from agent.models.phase_votes import FINAL, INITIAL, MIDDLE, PHASES
from agent.models.prediction import MIB, Prediction
from tests.unit import explained

bandwidths = st.floats(0.5, 20_000.0)
record_sizes = st.floats(8.0, 1e6)
calibrations = st.one_of(st.none(), st.floats(0.05, 20.0))


def product(factors: tuple[Factor, ...]) -> float:
    return math.prod(factor.value for factor in factors)


def exactly(value: float) -> object:
    return pytest.approx(value, rel=1e-14)


@given(
    bandwidths,
    record_sizes,
    st.sampled_from(PHASES),
    st.one_of(st.none(), st.floats(0.0, 1000.0)),
    st.one_of(st.none(), st.floats(0.0, 100.0)),
    st.one_of(st.none(), st.floats(0.0, 60.0)),
    calibrations,
)
def test_the_factors_of_a_published_model_multiply_to_its_number(
    bandwidth: float,
    record: float,
    phase: str,
    minutes: float | None,
    size: float | None,
    amplification: float | None,
    calibration: float | None,
) -> None:
    """Of V4 and of V4.1, with every condition of the latter met or not."""
    for prediction in (
        v4.predict(bandwidth, phase=phase, record_size_bytes=record),
        v41.predict(
            bandwidth,
            phase=phase,
            record_size_bytes=record,
            runtime_minutes=minutes,
            database_size_gb=size,
            write_amplification=amplification,
        ),
    ):
        rate = prediction.puts_per_second * (1.0 if calibration is None else calibration)
        factors = decomposition.of_prediction(prediction, calibration, rate)

        assert product(factors) == exactly(rate)
        assert decomposition.UNEXPLAINED not in [factor.name for factor in factors]


@given(bandwidths, record_sizes, st.sampled_from(PHASES), calibrations)
def test_the_shares_of_the_distance_to_the_reference_add_up_to_one(
    bandwidth: float, record: float, phase: str, calibration: float | None
) -> None:
    """In log space, whichever way each factor pulls."""
    prediction = v41.predict(bandwidth, phase=phase, record_size_bytes=record)
    rate = prediction.puts_per_second * (1.0 if calibration is None else calibration)
    distance = math.log(rate / decomposition.reference_puts_per_second())
    shares = [f.log_share for f in decomposition.of_prediction(prediction, calibration, rate)]

    if abs(distance) > 1e-3:
        assert sum(share for share in shares if share is not None) == pytest.approx(1.0, abs=1e-9)


def test_at_the_reference_itself_there_is_no_distance_to_share() -> None:
    """Nothing over nothing is no share, not 0 %."""
    bandwidth, record, _ = decomposition.reference_point()
    prediction = v4.predict(bandwidth / MIB, phase="middle", record_size_bytes=record)
    factors = decomposition.of_prediction(prediction, None, prediction.puts_per_second)

    assert [factor.log_share for factor in factors] == [None, None, None]


def test_the_reference_is_what_validate_recomputes() -> None:
    """50,932 puts/s in the middle phase, of 114,472 measured."""
    assert decomposition.reference_puts_per_second() == pytest.approx(50_932.0, abs=1.0)


@pytest.mark.parametrize(
    ("phase", "constant"),
    [
        (PHASES[INITIAL], v41.INITIAL_FACTOR),
        (PHASES[MIDDLE], v41.MIDDLE_FACTOR),
        (PHASES[FINAL], v41.FINAL_FACTOR),
    ],
)
def test_the_published_corrections_are_those_of_the_model(phase: str, constant: float) -> None:
    """Listed one by one here, multiplied there."""
    assert math.prod(decomposition.PUBLISHED_CORRECTIONS[phase]) == exactly(constant)


@pytest.mark.parametrize(
    ("prediction", "name", "value"),
    [
        (v41.predict(1000.0, phase="initial", database_size_gb=0.5), "small database", 0.9),
        (v41.predict(1000.0, phase="middle", runtime_minutes=60.0), "transition", 1.1),
        (v41.predict(1000.0, phase="final", write_amplification=9.0), "high amplification", 0.95),
    ],
)
def test_a_conditional_correction_is_named(prediction: Prediction, name: str, value: float) -> None:
    """It stands beside the fixed ones only when its condition is met."""
    factors = decomposition.of_prediction(prediction, None, prediction.puts_per_second)

    assert factors[-1].name == name
    assert factors[-1].value == pytest.approx(value)


def test_what_the_parts_do_not_explain_is_shown_as_such() -> None:
    """A number that was capped elsewhere keeps an exact product."""
    factors = decomposition.of_prediction(explained.V4, None, 1500.0)

    assert factors[-1].name == decomposition.UNEXPLAINED
    assert product(factors) == exactly(1500.0)


@given(st.floats(1e-9, 1e6), st.floats(1e-3, 1e12), st.floats(1e-3, 1.0), st.floats(0.1, 10.0))
def test_the_factors_of_the_binding_resource_multiply_to_the_estimate(
    demand: float, free: float, attainable: float, calibration: float
) -> None:
    """Free capacity, over demand, times the utilization that can be reached, times calibration."""
    raw = attainable * free / demand
    row = ResourceUse("device_write", "bytes", demand, free, raw, "test")
    estimate = Estimate("bottleneck", raw, 0.3, (row,), (), "test", 0.0)
    factors = decomposition.of_estimate(estimate, calibration, raw * calibration)

    assert product(factors) == exactly(raw * calibration)
    assert [factor.name for factor in factors] == [
        "free device_write",
        "1 / demand",
        "attainable utilization",
        "calibration",
    ]


@pytest.mark.parametrize("demand", [0.0, -1.0])
def test_an_estimate_without_a_demand_has_no_factors(demand: float) -> None:
    """Nothing to divide by is nothing to show."""
    row = dataclasses.replace(explained.BOTTLENECK.resources[0], demand=demand)
    broken = dataclasses.replace(explained.BOTTLENECK, resources=(row,))

    assert decomposition.of_estimate(broken, None, 1000.0) == ()
    assert decomposition.of_estimate(dataclasses.replace(broken, resources=()), None, 1000.0) == ()
