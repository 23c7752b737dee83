"""When a drive will be worn out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.wear.endurance import wear_out

YEAR = 365 * 86400.0


def test_a_drive_goes_on_as_in_its_life_so_far() -> None:
    """A fifth in two years: eight more, a percent point either way."""
    out = wear_out(0.20, 2 * YEAR)
    assert out is not None
    assert out.expected_seconds == pytest.approx(8 * YEAR)
    assert out.earliest_seconds == pytest.approx(2 * YEAR * 0.79 / 0.21)
    assert out.latest_seconds == pytest.approx(2 * YEAR * 0.81 / 0.19)


def test_a_young_drive_tells_only_the_earliest() -> None:
    """Nothing used yet may be almost one percent."""
    out = wear_out(0.0, YEAR)
    assert out is not None
    assert (out.expected_seconds, out.latest_seconds) == (None, None)
    assert out.earliest_seconds == pytest.approx(99 * YEAR)


def test_the_first_percent_has_no_latest_date() -> None:
    """It may have come from rounding up."""
    out = wear_out(0.01, YEAR)
    assert out is not None
    assert out.expected_seconds == pytest.approx(99 * YEAR)
    assert out.latest_seconds is None


def test_a_worn_drive_is_worn_now() -> None:
    """NVMe counts on to 255 %."""
    out = wear_out(2.55, YEAR)
    assert out is not None
    assert out.expected_seconds == 0.0


@pytest.mark.parametrize(
    ("used_ratio", "power_on_seconds"), [(None, YEAR), (0.5, None), (0.5, 0.0), (-0.1, YEAR)]
)
def test_what_is_not_known_gives_no_date(
    used_ratio: float | None, power_on_seconds: float | None
) -> None:
    """Absent, not zero."""
    assert wear_out(used_ratio, power_on_seconds) is None


@given(st.integers(0, 255), st.floats(1.0, 1e10))
def test_the_dates_are_in_order(percent: int, power_on_seconds: float) -> None:
    """Earliest, expected, latest."""
    out = wear_out(percent / 100, power_on_seconds)
    assert out is not None
    dates = [out.earliest_seconds, out.expected_seconds, out.latest_seconds]
    told = [date for date in dates if date is not None]
    assert told == sorted(told)
    assert min(told) >= 0
