"""The clock of the wear accounts never runs ahead of the true time."""

from hypothesis import given
from hypothesis import strategies as st

from agent.wear.account_clock import AccountClock, BootTime, certain_seconds


def test_within_a_boot_the_uptime_counts() -> None:
    """Suspension included."""
    clock = AccountClock(1000.0, BootTime("a", 50.0)).advanced(BootTime("a", 80.0))
    assert clock == AccountClock(1030.0, BootTime("a", 80.0))


def test_a_reboot_buys_its_uptime_and_no_more() -> None:
    """However long the machine was off by its wall clock."""
    clock = AccountClock(1000.0, BootTime("a", 5e6)).advanced(BootTime("b", 30.0))
    assert clock.account_seconds == 1030.0


def test_time_that_goes_back_within_a_boot_is_no_time() -> None:
    """A machine restored from a snapshot; it goes on from there."""
    clock = AccountClock(1000.0, BootTime("a", 50.0)).advanced(BootTime("a", 20.0))
    assert clock.account_seconds == 1000.0
    assert clock.advanced(BootTime("a", 25.0)).account_seconds == 1005.0


boots = st.lists(st.floats(1, 1e6), min_size=1, max_size=4)


@given(boots, st.floats(0, 1), st.floats(0, 1), st.booleans(), st.booleans())
def test_never_more_than_has_passed(
    durations: list[float], then_share: float, now_share: float, then_known: bool, now_known: bool
) -> None:
    """Whatever boots lie between, and whether or not they have names."""
    then_at = then_share * durations[0]
    last = len(durations) - 1
    now_at = now_share * durations[last]
    if last == 0:
        then_at, now_at = sorted((then_at, now_at))
        passed = now_at - then_at
    else:
        passed = durations[0] - then_at + sum(durations[1:last]) + now_at
    then = BootTime("0" if then_known else None, then_at)
    now = BootTime(str(last) if now_known else None, now_at)
    assert 0 <= certain_seconds(then, now) <= passed + 1e-6
