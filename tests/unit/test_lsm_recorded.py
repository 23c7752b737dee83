"""The simulator and the closed form against databases that were really saturated.

Each file of tests/data/lsm holds what was known of a RocksDB from outside during a partial load,
and the mean put rate it then held with writers that always had a next put. Devices were throttled
loop devices. Nothing in the models was fitted to them.
"""

import json
from pathlib import Path

import msgspec
import pytest

from agent.models.lsm import ModelInputs
from agent.models.lsm_amplification import saturated_written_bytes_per_put
from agent.models.lsm_estimate import simulator_estimate
from agent.models.lsm_simulator import simulate

RECORDED = sorted((Path(__file__).parents[1] / "data" / "lsm").glob("*.json"))

SIMULATOR_TOLERANCE = 0.10
"""The truth's own repeatability is 1 to 3 %; one turn of level 0 more or less in it is as much."""

CLOSED_FORM_TOLERANCE = 0.20


def recorded(path: Path) -> tuple[ModelInputs, float]:
    case = json.loads(path.read_text())
    return msgspec.convert(case["inputs"], ModelInputs), case["truth_puts_per_second"]


def test_there_are_recorded_cases() -> None:
    """Level and universal compaction among them."""
    styles = {recorded(path)[0].options.style for path in RECORDED}
    assert styles == {"level", "universal"}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_simulated_rate_is_the_one_that_was_held(path: Path) -> None:
    """Within a tenth, with the device as the bottleneck."""
    inputs, truth = recorded(path)
    found = simulate(inputs)
    assert found.puts_per_second == pytest.approx(truth, rel=SIMULATOR_TOLERANCE)
    assert found.converged
    assert simulator_estimate(inputs, found).bottleneck == "device_write"


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_truth_lies_in_the_interval_claimed(path: Path) -> None:
    """The model's own 90 % interval, before any label."""
    inputs, truth = recorded(path)
    estimate = simulator_estimate(inputs, simulate(inputs))
    assert estimate.lower <= truth <= estimate.upper


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_closed_form_comes_near_it(path: Path) -> None:
    """Bytes per put over the device's bandwidth."""
    inputs, truth = recorded(path)
    written = sum(saturated_written_bytes_per_put(inputs).values())
    rate = inputs.host.device_write_bytes_per_second / written
    assert rate == pytest.approx(truth, rel=CLOSED_FORM_TOLERANCE)
