"""The score of forecasts: lead times, stalls nobody announced, alarms nobody needed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.forecast.score import KEPT_LEADS, ForecastScore, ScoreSummary
from agent.readings import Known, Missing, Quantity

NEVER = Known(math.inf, "forecast", 0.0)
UNKNOWN = Missing("not_yet_measured", "test")


def soon(seconds: float) -> Quantity:
    return Known(seconds, "forecast", 0.0)


def scored(*ticks: tuple[float, Quantity, bool | None]) -> ScoreSummary:
    score = ForecastScore()
    for at, forecast, stalled in ticks:
        score.update(at, forecast, stalled=stalled)
    return score.summary()


def test_the_lead_is_counted_from_the_announcement_that_stood() -> None:
    """An earlier announcement that was withdrawn does not lengthen the lead."""
    summary = scored(
        (0, soon(100), False),
        (10, NEVER, False),
        (20, soon(90), False),
        (60, soon(50), False),
        (100, soon(5), True),
    )
    assert (summary.lead_seconds, summary.stalls, summary.announced_stalls) == ((80.0,), 1, 1)


def test_an_unknown_forecast_does_not_break_an_announcement() -> None:
    """A probe that fails for one tick takes nothing back."""
    summary = scored((0, soon(60), False), (10, UNKNOWN, False), (50, soon(5), True))
    assert summary.lead_seconds == (50.0,)


def test_a_stall_without_announcement_has_no_lead() -> None:
    """It counts, with a lead of 0."""
    summary = scored((0, NEVER, False), (10, soon(0), True))
    assert (summary.lead_seconds, summary.stalls, summary.announced_stalls) == ((0.0,), 1, 0)


def test_a_stall_while_the_forecast_was_unknown_does_not_count() -> None:
    """No forecast was wrong there."""
    summary = scored((0, UNKNOWN, False), (10, soon(0), True))
    assert (summary.stalls, summary.lead_seconds) == (0, ())


def test_stop_and_go_is_one_stall() -> None:
    """Only the first stall of an episode can be foretold."""
    ticks = [(float(at), soon(0), at % 60 < 20) for at in range(600, 1800, 20)]
    summary = scored((0, soon(600), False), *ticks)
    assert (summary.stalls, summary.lead_seconds, summary.false_alarms) == (1, (600.0,), 0)


def test_a_stall_long_after_the_last_is_another() -> None:
    """Ten minutes without one begin a new episode."""
    quiet = [(float(at), NEVER, False) for at in range(20, 700, 20)]
    summary = scored((0, NEVER, False), (10, soon(0), True), *quiet, (700, soon(0), True))
    assert summary.stalls == 2


@pytest.mark.parametrize(
    ("announced", "stall_at", "false_alarms"),
    [(20.0, 590.0, 0), (20.0, 610.0, 1), (400.0, 1190.0, 0), (400.0, 1210.0, 1)],
)
def test_an_alarm_is_false_after_three_times_its_time_and_ten_minutes(
    announced: float, stall_at: float, false_alarms: int
) -> None:
    """A withdrawn announcement is judged by whether a stall came before its deadline."""
    quiet = [(float(at), NEVER, False) for at in range(10, int(stall_at), 10)]
    summary = scored((0, soon(announced), False), *quiet, (stall_at, soon(0), True))
    assert false_alarms == summary.false_alarms


def test_a_flickering_announcement_is_one_alarm() -> None:
    """Announced again before its deadline, it is still the same false alarm."""
    flicker = [(float(at), soon(60) if at % 40 else NEVER, False) for at in range(0, 600, 20)]
    calm = [(float(at), NEVER, False) for at in range(600, 4000, 20)]
    summary = scored(*flicker, *calm)
    assert summary.false_alarms == 1


def test_an_announcement_that_stands_past_its_deadline_is_false_and_starts_anew() -> None:
    """ "In a minute" for forty minutes is one false alarm per deadline that passed."""
    summary = scored(*((float(at), soon(60), False) for at in range(0, 1900, 20)))
    assert summary.false_alarms == 3


def test_what_is_announced_after_a_stall_belongs_to_it() -> None:
    """The 0 that stands for a minute after a stall is no alarm."""
    summary = scored(
        (0, soon(0), True),
        (20, soon(0), False),
        *((float(at), NEVER, False) for at in range(40, 2000, 20)),
    )
    assert summary.false_alarms == 0


def test_stalls_are_counted_however_many_leads_are_remembered() -> None:
    """What Prometheus is given as a counter never goes back."""
    foretold = KEPT_LEADS
    at, ticks = 0.0, []
    for number in range(foretold + 5):
        first = soon(100) if number < foretold else NEVER
        ticks += [(at, NEVER, False), (at + 1.0, first, False), (at + 101.0, soon(0), True)]
        at += 1000.0
    summary = scored(*ticks)
    assert (summary.stalls, summary.announced_stalls) == (foretold + 5, foretold)
    assert len(summary.lead_seconds) == KEPT_LEADS


def test_nothing_seen_is_no_score() -> None:
    """The median of nothing is None."""
    assert scored() == ScoreSummary(0, 0, None, (), 0)


TICK = st.tuples(
    st.floats(0.0, 60.0),
    st.one_of(st.just(UNKNOWN), st.just(NEVER), st.floats(0.0, 1e4).map(soon)),
    st.sampled_from([True, False, None]),
)


@given(st.lists(TICK, max_size=60))
def test_leads_are_never_negative_nor_longer_than_the_time_seen(
    ticks: list[tuple[float, Quantity, bool | None]],
) -> None:
    """Whatever comes, each stall has one lead within the time observed."""
    score, at = ForecastScore(), 0.0
    for elapsed, forecast, stalled in ticks:
        at += elapsed
        score.update(at, forecast, stalled=stalled)
    summary = score.summary()
    assert summary.stalls == len(summary.lead_seconds)
    assert all(0.0 <= lead <= at for lead in summary.lead_seconds)
