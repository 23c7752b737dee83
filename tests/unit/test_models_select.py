"""Which model speaks: ``auto`` is V4.1 in the middle phase, V4 otherwise."""

import pytest

from agent.models import v4, v41
from agent.models.prediction import InvalidInput
from agent.models.select import auto_model, predict


@pytest.mark.parametrize(
    ("phase", "model"), [("initial", "v4"), ("middle", "v4.1"), ("final", "v4")]
)
def test_auto_takes_the_refined_model_in_the_middle_phase_only(phase: str, model: str) -> None:
    """The phase in force decides, given as an argument here."""
    assert model == auto_model(phase)
    assert model == predict("auto", 1000.0, phase=phase).model


@pytest.mark.parametrize(
    ("bandwidth_mib", "model", "phase"),
    [
        (3000.001, "v4", "initial"),
        (3000.0, "v4.1", "middle"),
        (800.001, "v4.1", "middle"),
        (800.0, "v4", "final"),
    ],
)
def test_auto_looks_at_the_inferred_phase_when_none_is_given(
    bandwidth_mib: float, model: str, phase: str
) -> None:
    """Deviation (c): in the listing an omitted phase always means V4."""
    prediction = predict("auto", bandwidth_mib)
    assert (model, phase) == (prediction.model, prediction.phase)


def test_the_named_model_gets_all_of_the_context() -> None:
    """Nothing is lost on the way, and V4 does not see amplifications."""
    refined = predict(
        "v4.1",
        1000.0,
        runtime_minutes=60.0,
        database_size_gb=10.0,
        record_size_bytes=500.0,
        write_amplification=5.0,
        read_amplification=2.0,
    )
    expected = v41.predict(
        1000.0,
        runtime_minutes=60.0,
        database_size_gb=10.0,
        record_size_bytes=500.0,
        write_amplification=5.0,
        read_amplification=2.0,
    )
    assert expected == refined
    plain = predict(
        "v4", 1000.0, runtime_minutes=120.0, database_size_gb=50.0, record_size_bytes=500.0
    )
    assert plain == v4.predict(
        1000.0, runtime_minutes=120.0, database_size_gb=50.0, record_size_bytes=500.0
    )
    assert plain.phase == "final"


@pytest.mark.parametrize("model", ["", "V4", "v4_1", "bottleneck"])
def test_an_unknown_model_is_refused_with_the_names_there_are(model: str) -> None:
    """The message lists what may be asked for."""
    with pytest.raises(InvalidInput, match=r"one of v4, v4\.1, auto"):
        predict(model, 1000.0)


@pytest.mark.parametrize("model", ["v4", "v4.1", "auto"])
def test_every_model_refuses_bad_inputs(model: str) -> None:
    """The checks do not depend on which model would have answered."""
    with pytest.raises(InvalidInput):
        predict(model, 0.0)
    with pytest.raises(InvalidInput):
        predict(model, 1000.0, runtime_minutes=float("nan"), phase="final")
