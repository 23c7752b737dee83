"""Which scenarios of the grid are one change of whatif away from base."""

import pytest

from agent.whatif.change import Change
from tests.bench.truth.scenarios import Scenario
from tests.bench.truth.whatif_section import MB, MIB, change_to


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (Scenario(name="x", memtable_mib=16), Change(write_buffer_bytes=16 * MIB)),
        (Scenario(name="x", device_mb_per_second=60), Change(device_bytes_per_second=60 * MB)),
        (Scenario(name="x", value_bytes=400), Change(value_bytes=400.0)),
        (Scenario(name="x", compression="lz4"), Change(compression="lz4")),
        (Scenario(name="x", wal="off"), Change(wal=False)),
    ],
)
def test_one_difference_is_a_change(scenario: Scenario, expected: Change) -> None:
    """In whatif's units."""
    assert expected == change_to(scenario)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(name="x"),
        Scenario(name="x", memtable_mib=16, jobs=4),
        Scenario(name="x", wal="sync"),
        Scenario(name="x", load_ratio=0.6),
    ],
)
def test_none_two_or_what_whatif_does_not_know_is_none(scenario: Scenario) -> None:
    """A load is no change of S_max, and whatif has no option for syncs."""
    assert change_to(scenario) is None
