"""The load of ``whatif`` as operators write it."""

import pytest

from agent.whatif.change import ChangeError
from agent.whatif.load import parse_load


@pytest.mark.parametrize(
    ("rate", "present", "wanted"),
    [
        ("+20000", 6000.0, 26_000.0),
        ("-5000", 6000.0, 1000.0),
        ("=30000", 6000.0, 30_000.0),
        ("=30000", None, 30_000.0),
        ("x1.5", 6000.0, 9000.0),
        ("x.5", 6000.0, 3000.0),
        ("+20,000", 0.0, 20_000.0),
        (" =1_000 ", None, 1000.0),
    ],
)
def test_a_rate_is_on_top_of_in_all_or_times_the_present(
    rate: str, present: float | None, wanted: float
) -> None:
    """The sign says which."""
    assert parse_load(rate, "1h").put_rate(present) == wanted


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("90s", 90.0),
        ("30m", 1800.0),
        ("30min", 1800.0),
        ("4h", 14_400.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("2d", 172_800.0),
        ("1w", 604_800.0),
        ("1h 30 min", 5400.0),
    ],
)
def test_a_duration_is_read_as_people_write_it(duration: str, seconds: float) -> None:
    """Parts add up."""
    assert parse_load("=1", duration).duration_seconds == seconds


@pytest.mark.parametrize("rate", ["", "20000", "+", "x", "*2", "+1e5", "=-3", "=nan", "+inf", "1x"])
def test_a_rate_that_cannot_be_read_is_refused_with_examples(rate: str) -> None:
    """A bare number could mean either."""
    with pytest.raises(ChangeError, match=r"--put-rate is .*write \+20000"):
        parse_load(rate, "1h")


@pytest.mark.parametrize(
    "duration", ["", "4", "h", "4 hours", "0s", "-1h", "400d", "1h,30m", "inf"]
)
def test_a_duration_that_cannot_be_read_is_refused_with_examples(duration: str) -> None:
    """Of nothing, or beyond a year, too."""
    with pytest.raises(ChangeError, match=r"--duration is .*write 90s"):
        parse_load("=1", duration)


@pytest.mark.parametrize("rate", ["+1000", "-1000", "x2"])
def test_a_relative_rate_needs_the_present_one(rate: str) -> None:
    """And says what to write instead."""
    with pytest.raises(ChangeError, match="present put rate is not known"):
        parse_load(rate, "1h").put_rate(None)


@pytest.mark.parametrize(("rate", "present"), [("-5000", 1000.0), ("x9999999", 1000.0)])
def test_a_rate_must_be_one_that_can_be(rate: str, present: float) -> None:
    """Not negative, not beyond any database."""
    with pytest.raises(ChangeError, match="it must be 0 to 1,000,000,000"):
        parse_load(rate, "1h").put_rate(present)
