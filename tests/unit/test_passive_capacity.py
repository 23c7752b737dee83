"""Natural traffic alone, on recordings of real databases on throttled devices."""

import pytest

from tests.bench.passive_capacity import NAMES, TOLERANCE, passive_record


@pytest.mark.parametrize("name", NAMES)
def test_compaction_bursts_measure_the_device_within_ten_percent(name: str) -> None:
    """Never wrongly, soon after the first bursts, and without a gap from then on."""
    record = passive_record(name)
    assert record.worst_error is not None
    assert record.worst_error <= TOLERANCE
    assert record.wrong_seconds == 0.0
    assert record.first_seconds is not None
    assert record.first_seconds <= 150.0
    assert record.good_share_after_first > 0.99
