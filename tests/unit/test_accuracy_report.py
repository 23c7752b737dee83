import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.bench.truth.answers import Prediction, of_document
from tests.bench.truth.judged import Judged, judge
from tests.bench.truth.report import page
from tests.bench.truth.results import (
    AnswerRecord,
    HoldingRecord,
    LoadRecord,
    RampRecord,
    RunRecord,
    SaturationRecord,
    TruthRecord,
    read_runs,
    write_run,
)
from tests.bench.truth.scenarios import SCENARIOS, Scenario, named


def run(
    scenario: str = "base",
    truth: float = 20_000.0,
    database: dict[str, Any] | None = None,
    **changes: Any,
) -> RunRecord:
    holding = HoldingRecord(0.95, 19_000, 19_000, 0, 0, 0, 1e-4, 0.01, 0.02, 0.05, holds=True)
    numbers = dict.fromkeys(SaturationRecord.__struct_fields__, 0.5)
    saturation = msgspec.convert({**numbers, "steady": True}, SaturationRecord)
    record = RunRecord(
        scenario=scenario,
        parameters=asdict(named(scenario)),
        started_wall_seconds=1e9 + truth,
        machine={"processor": "EPYC", "cores": "2", "kernel": "6.1"},
        cpu_priority=True,
        fill_seconds=60.0,
        fill_puts=1_400_000,
        settle_seconds=20.0,
        settled=True,
        load=LoadRecord(22_000, 6_000, 6_000, 120, 7_432, 0, 0, 0.01),
        truth=TruthRecord(truth, 20_000, [holding], True, saturation, "device_write"),
        answers=[AnswerRecord("before", 1e9, 120.0, database)],
        first_estimate_seconds={"recommended": 10.0},
        wall_seconds={},
        notes=[],
    )
    return msgspec.structs.replace(record, **changes)


def judged(record: RunRecord, **rates: tuple[float, float | None, float | None]) -> Judged:
    found = {
        model: Prediction(model, rate, lower, upper, "device_write")
        for model, (rate, lower, upper) in rates.items()
    }
    held_out = named(record.scenario).held_out
    first = {"recommended": 3.0, "v4": 3.0, "bottleneck": 9.0}
    return Judged(record, held_out, False, {"before": found}, first, [])


def line_of(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_scenario_has_its_error_and_whether_the_truth_was_inside() -> None:
    """One line: load, truth, limit, prediction, error, interval."""
    text = page([judged(run(), recommended=(22_000, 18_000, 25_000), v4=(1_800, None, None))])
    expected = ["base", "30 %", "20,000", "device_write", "22,000", "+10 %"]
    expected += ["18,000..25,000", "yes", "device_write", "9 s", "-91 %"]
    assert expected == line_of(text, "base")


def test_scores_are_separate_for_scenarios_held_out() -> None:
    """What was kept aside is not averaged away."""
    aside = next(scenario.name for scenario in SCENARIOS if scenario.held_out)
    seen = next(scenario.name for scenario in SCENARIOS if not scenario.held_out)
    text = page(
        [
            judged(run(seen), recommended=(20_000, 18_000, 25_000)),
            judged(run(aside), recommended=(30_000, 28_000, 35_000)),
        ]
    )
    assert line_of(text, "recommended, design")[1:5] == ["1 of 1", "0 %", "0 %", "0 %"]
    assert line_of(text, "recommended, held out")[2:6] == ["50 %", "50 %", "50 %", "+50 %"]
    assert line_of(text, "recommended, all")[-1].startswith("1 of 2 (")


def test_stalls_announced_early_are_told_from_false_alarms() -> None:
    """The ramp's stall 60 s ahead; one alarm in two quiet minutes."""
    record = run(
        wall_seconds={"load": 1000.0, "saturation": 1120.0},
        ramp=RampRecord(2000.0, 240.0, 10_000, 30_000, 100.0, None),
    )
    announced = [(1010.0, 30.0), (1020.0, math.inf), (2040.0, 50.0), (2090.0, 10.0)]
    text = page([replace(judged(record), announced=announced)])
    assert line_of(text, "base | 100 s") == ["base", "100 s", "60 s"]
    assert "In 2 minutes of load that did not stall, 1 stalls were announced." in text
    assert "1 of 1 were announced 30 s before" in text


def test_a_model_without_an_answer_is_counted_as_such() -> None:
    """Silence is no accuracy."""
    text = page([judged(run(), recommended=(20_000, None, None)), judged(run(truth=20_400))])
    assert line_of(text, "recommended, all")[1] == "1 of 2"


def test_repeated_scenarios_are_judged_by_their_median_and_their_spread_is_shown() -> None:
    """One run's scatter is not the models' error."""
    records = [run(truth=truth) for truth in (19_000.0, 20_000.0, 21_000.0)]
    text = page([judged(record, recommended=(20_000, None, None)) for record in records])
    assert "standard deviation of 5.0 % (scenarios run more than once: 1)" in text
    assert line_of(text, "recommended, all")[4] == "0 %"


def test_what_was_not_sustained_is_remarked() -> None:
    """A load that the database did not take makes the answer another question."""
    load = LoadRecord(22_000, 6_000, 5_000, 120, 7_432, 0, 0, 0.01)
    assert "only 83 % was accepted" in page([judged(run(load=load))])


def test_runs_are_read_back_as_written(tmp_path: Path) -> None:
    """The record is the whole truth of a run."""
    record = run()
    (tmp_path / "base" / "1").mkdir(parents=True)
    write_run(tmp_path / "base" / "1", record)
    assert [(tmp_path / "base" / "1", record)] == read_runs(tmp_path)


def test_without_a_recording_the_answers_of_the_api_are_judged(tmp_path: Path) -> None:
    """An older smaxd could not record."""
    document = {"predictions": [{"model": "v4", "puts_per_second": 1800.0}], "recommended": None}
    found = judge(tmp_path, run(database=document), frozenset())
    assert {"before": {"v4": Prediction("v4", 1800.0)}} == found.predictions
    assert not found.replayed


def test_an_unreadable_recording_leaves_the_answers_of_the_api(tmp_path: Path) -> None:
    """The report does not fail for one damaged file."""
    (tmp_path / "recording.gz").write_bytes(b"not a recording")
    assert not judge(tmp_path, run(recording="recording.gz"), frozenset()).replayed


def test_the_recommended_rate_takes_the_interval_of_its_model() -> None:
    """The API names the model; the interval stands beside it."""
    found = of_document(
        {
            "predictions": [],
            "estimates": [
                {"model": "bottleneck", "puts_per_second": 2.0, "lower": 1.0, "upper": 3.0}
            ],
            "recommended": {"model": "bottleneck", "puts_per_second": 2.0},
            "bottleneck": "cpu",
        }
    )
    assert Prediction("recommended", 2.0, 1.0, 3.0, "cpu") == found["recommended"]


def test_a_daemon_without_an_answer_predicts_nothing() -> None:
    """Nothing is invented."""
    assert of_document(None) == {}


def test_names_in_the_grid_are_unique_and_about_a_third_is_held_out() -> None:
    """By a hash, so that nobody chooses."""
    names = {scenario.name for scenario in SCENARIOS}
    assert len(names) == len(SCENARIOS)
    assert 0.2 <= sum(scenario.held_out for scenario in SCENARIOS) / len(SCENARIOS) <= 0.47


@pytest.mark.parametrize("field", [field.name for field in fields(Scenario)])
def test_every_parameter_varies_in_the_grid(field: str) -> None:
    """A parameter that never varies is none."""
    assert len({getattr(scenario, field) for scenario in SCENARIOS}) > 1
