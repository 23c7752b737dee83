"""Trends: a ramp is told from noise and from a burst, peaks from the teeth of a saw."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.forecast.trends import FittedRate, PeakTrend, RateTrend, SawtoothTrend

TICK = 10.0


def fitted(rates: list[float]) -> FittedRate | None:
    trend, counter = RateTrend(), 0.0
    trend.add(0.0, counter)
    for number, rate in enumerate(rates, start=1):
        counter += rate * TICK
        trend.add(number * TICK, counter)
    return trend.fit()


def followed(values: list[float], fall: float = 2.0) -> SawtoothTrend:
    series = SawtoothTrend(fall)
    for number, value in enumerate(values):
        series.add(number * TICK, value)
    return series


def saw(*peaks: float) -> list[float]:
    """Rise to each peak from nothing, in three steps."""
    return [part * peak for peak in peaks for part in (0.0, 0.5, 1.0)] + [0.0]


def test_a_ramp_is_followed_to_its_end() -> None:
    """At 50 puts/s more every second, the line ends at the rate of the last interval's end."""
    line = fitted([10_000.0 + 50.0 * (tick * TICK + 5.0) for tick in range(6)])
    assert line is not None
    assert (line.rising, line.span_seconds) == (True, 60.0)
    assert (line.slope, line.per_second) == pytest.approx((50.0, 13_000.0))


def test_too_few_readings_are_no_line() -> None:
    """Four intervals have no standard error worth the name."""
    assert fitted([1.0, 2.0, 3.0, 4.0]) is None


def test_a_steady_rate_with_noise_does_not_rise() -> None:
    """Of a hundred windows of a load with 5 % of noise one or two look like a ramp."""
    rng = random.Random(1)  # noqa: S311 - noise, not a secret
    rising = [
        fitted([rng.gauss(10_000.0, 500.0) for _ in range(24)]).rising  # type: ignore[union-attr]
        for _ in range(1000)
    ]
    assert sum(rising) <= 20


def test_a_noisy_ramp_is_seen_within_two_minutes() -> None:
    """From half to full load in 200 s, with 5 % of noise: nearly always."""
    rng = random.Random(2)  # noqa: S311 - noise, not a secret
    seen = [
        fitted([rng.gauss(10_000.0 + 500.0 * tick, 500.0) for tick in range(12)]).rising  # type: ignore[union-attr]
        for _ in range(200)
    ]
    assert sum(seen) >= 195


@pytest.mark.parametrize("ticks_ago", range(1, 12))
def test_a_step_up_is_no_ramp(ticks_ago: int) -> None:
    """A burst is not followed further, however long ago it began."""
    line = fitted([10_000.0] * (12 - ticks_ago) + [13_000.0] * ticks_ago)
    assert line is not None
    assert not line.rising


def test_a_start_from_nothing_is_no_ramp() -> None:
    """The first interval of a load is a part of one, which must not look like a steep rise."""
    line = fitted([0.0, 0.0, 4000.0, 9800.0, 10_000.0, 10_100.0])
    assert line is not None
    assert not line.rising


def test_a_counter_that_went_back_forgets_the_rates_before() -> None:
    """What happened in between is unknown."""
    trend = RateTrend()
    for number in range(10):
        trend.add(number * TICK, number * 1000.0)
    trend.add(100.0, 0.0)
    assert trend.fit() is None


def test_a_sawtooth_of_equal_peaks_does_not_grow() -> None:
    """However steep its teeth."""
    assert followed(saw(9, 9, 9, 9)).trend() == PeakTrend(9.0, 0.0, 0.0, 90.0, 4)


def test_growing_peaks_grow_by_their_distance_over_their_time() -> None:
    """Two files more every 30 s."""
    trend = followed(saw(8, 10, 12)).trend()
    assert trend is not None
    assert (trend.level, trend.slope, trend.slope_low) == pytest.approx((12.0, 2 / 30, 2 / 30))


def test_two_peaks_are_no_trend() -> None:
    """They always have a slope."""
    assert followed(saw(8, 12)).trend() is None


def test_the_present_rise_counts_once_it_is_above_the_last_peak() -> None:
    """It is at least as high as it is now."""
    below = followed([*saw(8, 8, 8), 7.0]).trend()
    above = followed([*saw(8, 8, 8), 11.0]).trend()
    assert below is not None
    assert above is not None
    assert (below.peaks, below.level, above.peaks, above.level) == (3, 8.0, 4, 11.0)


def test_one_peak_out_of_line_is_no_growth() -> None:
    """The lower quartile of the slopes has to be positive."""
    trend = followed(saw(8, 14, 8, 9, 8)).trend()
    assert trend is not None
    assert trend.slope_low <= 0.0


def test_peaks_of_another_time_are_forgotten() -> None:
    """Ten minutes later they belong to another load."""
    series = followed(saw(8, 10, 12))
    series.add(1000.0, 1.0)
    assert series.trend() is None


def test_a_fall_smaller_than_a_merge_is_no_peak() -> None:
    """One file less is a move."""
    assert followed([4, 8, 7, 9, 8, 10, 9]).highest_peak is None


def test_the_longest_cycle_is_between_two_falls() -> None:
    """Three ticks each here; the last fall was at the end."""
    series = followed(saw(8, 10, 12))
    assert (series.longest_cycle_seconds, series.since_fall) == (30.0, 90.0)


@given(st.lists(st.floats(0.0, 1e12), max_size=60))
def test_no_peak_is_higher_than_what_was_seen(values: list[float]) -> None:
    """And the level of a trend is one of them."""
    trend = followed(values).trend()
    if trend is not None:
        assert trend.level <= max(values)
        assert trend.slope_low <= trend.slope
