import math

import pytest

from tests.bench.truth.announcements import false_alarms, lead_seconds, stall_begin
from tests.bench.truth.results import RampRecord


def ramp(delayed: float | None, stopped: float | None) -> RampRecord:
    return RampRecord(1000.0, 240.0, 10_000.0, 30_000.0, delayed, stopped)


@pytest.mark.parametrize(
    ("delayed", "stopped", "expected"),
    [(90.0, 120.0, 1090.0), (None, 120.0, 1120.0), (90.0, 80.0, 1080.0), (None, None, None)],
)
def test_a_stall_begins_with_the_first_delay_or_stop(
    delayed: float | None, stopped: float | None, expected: float | None
) -> None:
    """Whichever comes first; none came, none began."""
    assert stall_begin(ramp(delayed, stopped)) == expected


def test_the_lead_counts_from_the_announcement_that_lasted() -> None:
    """One that was taken back warned of nothing."""
    announced = [(1010.0, 50.0), (1020.0, math.inf), (1040.0, 60.0), (1050.0, 45.0)]
    assert lead_seconds(announced, 1000.0, 1100.0) == 60.0


def test_an_announcement_after_the_stall_or_before_the_ramp_is_no_lead() -> None:
    """It is late, or about something else."""
    assert lead_seconds([(990.0, 10.0), (1100.0, 0.0)], 1000.0, 1100.0) is None


def test_an_announcement_taken_back_before_the_stall_is_no_lead() -> None:
    """The last word counts."""
    assert lead_seconds([(1010.0, 50.0), (1090.0, math.inf)], 1000.0, 1100.0) is None


def test_false_alarms_are_counted_by_their_beginnings() -> None:
    """One that lasts ten ticks is one."""
    announced = [(1.0, 5.0), (2.0, 5.0), (3.0, math.inf), (4.0, 9.0), (50.0, 1.0)]
    assert false_alarms(announced, 0.0, 10.0) == 2
    assert false_alarms([], 0.0, 10.0) == 0
