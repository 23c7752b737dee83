"""The state of each alert: `for`, clear-hysteresis, and data that vanished."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.alerts.engine import AlertState, advance
from agent.alerts.rules import Observation, RuleSettings
from tests.unit.agent_samples import WALL

FALLING = "headroom_low_warning"
RISING = "write_delayed"
RULES = {
    FALLING: RuleSettings(threshold=0.20, clear=0.25, for_seconds=300.0),
    RISING: RuleSettings(threshold=1.0, clear=0.0, for_seconds=30.0),
    "device_bandwidth_declined": RuleSettings(threshold=0.8, clear=0.9, for_seconds=0.0),
}


def seen(
    value: float | None,
    alert: str = FALLING,
    database: str = "orders",
    device: str = "sda",
    summary: str = "a sentence",
) -> Observation:
    return Observation(alert, database, device, value, summary)


class Follower:
    """One subject's alert through a series of observations, ten seconds apart."""

    def __init__(self, rules: dict[str, RuleSettings] | None = None) -> None:
        self.rules = rules or RULES
        self.states: tuple[AlertState, ...] = ()
        self.now = -10.0

    def step(self, *observed: Observation, elapsed: float = 10.0) -> AlertState | None:
        self.now += elapsed
        self.states = advance(self.rules, self.states, observed, self.now, WALL + self.now)
        assert len(self.states) <= 1
        return self.states[0] if self.states else None

    def active(self, value: float | None, alert: str = FALLING, elapsed: float = 10.0) -> bool:
        state = self.step(seen(value, alert), elapsed=elapsed)
        assert state is not None
        return state.active


def test_an_alert_begins_after_its_time_and_not_before() -> None:
    """300 s from the first value beyond the threshold."""
    follower = Follower()
    history = [follower.active(0.1) for _ in range(31)]
    assert history == [False] * 30 + [True]
    (state,) = follower.states
    assert (state.pending_since, state.since_wall_seconds) == (0.0, WALL + 300.0)
    assert (state.alert, state.severity, state.value) == (
        "RocksdbWriteHeadroomLow",
        "warning",
        0.1,
    )
    assert (state.database, state.device, state.summary) == ("orders", "sda", "a sentence")


def test_one_value_short_of_the_threshold_starts_the_time_anew() -> None:
    """Without a break means every value."""
    follower = Follower()
    for _ in range(29):
        follower.active(0.1)
    assert not follower.active(0.21)
    history = [follower.active(0.1) for _ in range(31)]
    assert history == [False] * 30 + [True]


def test_the_threshold_itself_is_beyond() -> None:
    """At or beyond, for falling and for rising values."""
    falling, rising = Follower(), Follower()
    falling.active(0.20)
    assert falling.active(0.20, elapsed=300.0)
    rising.active(1.0, RISING)
    assert rising.active(1.0, RISING, elapsed=30.0)


def test_without_a_time_an_alert_begins_at_once() -> None:
    """A write stop is told on the tick that sees it."""
    follower = Follower({FALLING: RuleSettings(0.2, 0.25, 0.0)})
    assert follower.active(0.2)


def test_between_threshold_and_clear_nothing_changes() -> None:
    """Neither does an active alert end nor an inactive one begin."""
    follower = Follower({FALLING: RuleSettings(0.20, 0.25, 0.0)})
    assert [follower.active(value) for value in (0.22, 0.249, 0.201)] == [False] * 3
    assert follower.active(0.1)
    assert [follower.active(value) for value in (0.22, 0.249, 0.201)] == [True] * 3


def test_it_ends_at_the_clear_value_and_says_when_it_began_until_then() -> None:
    """Clear itself is back."""
    follower = Follower({FALLING: RuleSettings(0.20, 0.25, 0.0)})
    follower.active(0.1)
    follower.active(0.22)
    assert follower.states[0].since_wall_seconds == WALL
    assert not follower.active(0.25)
    assert follower.states[0].since_wall_seconds is None


def test_a_rising_value_is_judged_the_other_way_round() -> None:
    """1 begins, a half changes nothing, 0 ends."""
    follower = Follower({RISING: RuleSettings(1.0, 0.0, 0.0)})
    history = [follower.active(value, RISING) for value in (0.5, 1.0, 0.5, 0.0, 0.5)]
    assert history == [False, True, True, False, False]


def test_equal_threshold_and_clear_do_not_flap() -> None:
    """A value on both is beyond."""
    follower = Follower({FALLING: RuleSettings(0.2, 0.2, 0.0)})
    assert [follower.active(0.2) for _ in range(4)] == [True] * 4
    assert not follower.active(0.2001)


def test_an_alert_that_ended_takes_its_whole_time_to_begin_again() -> None:
    """Nothing of the old time is kept."""
    follower = Follower()
    follower.active(0.1)
    assert follower.active(0.1, elapsed=300.0)
    assert not follower.active(0.9)
    assert not follower.active(0.1)
    assert not follower.active(0.1, elapsed=299.0)
    assert follower.active(0.1, elapsed=1.0)


@pytest.mark.parametrize("how", ["value unknown", "subject gone"])
def test_data_that_vanished_does_not_end_an_alert(how: str) -> None:
    """It stays with its last value, and says that it cannot be seen."""
    follower = Follower()
    follower.active(0.1)
    follower.active(0.1, elapsed=300.0)
    before = follower.states[0]
    for _ in range(100):
        state = follower.step(seen(None)) if how == "value unknown" else follower.step()
        assert state == replace(before, data_missing=True, pending_since=None)
    assert follower.active(0.22)
    assert not follower.states[0].data_missing
    assert not follower.active(0.3)


@pytest.mark.parametrize("how", ["value unknown", "subject gone"])
def test_data_that_vanished_does_not_begin_an_alert_either(how: str) -> None:
    """The time starts over: nothing is known about the gap."""
    follower = Follower()
    for _ in range(29):
        follower.active(0.1)
    follower.step(*([seen(None)] if how == "value unknown" else []))
    assert not follower.active(0.1)
    assert not follower.active(0.1, elapsed=299.0)
    assert follower.active(0.1, elapsed=1.0)


def test_an_inactive_alert_of_a_subject_that_left_is_dropped() -> None:
    """A database that is not watched any more has no alerts to show."""
    follower = Follower()
    follower.active(0.9)
    assert follower.step() is None


def test_a_value_that_was_never_seen_is_shown_as_missing() -> None:
    """An inactive alert with no data is not the same as a healthy one."""
    state = Follower().step(seen(None))
    assert state is not None
    assert (state.active, state.value, state.data_missing) == (False, None, True)


def test_a_disabled_rule_has_no_state_even_while_it_was_active() -> None:
    """The operator switched it off: nothing is left hanging."""
    follower = Follower({FALLING: RuleSettings(0.2, 0.25, 0.0)})
    assert follower.active(0.1)
    follower.rules = {FALLING: RuleSettings(0.2, 0.25, 0.0, enabled=False)}
    assert follower.step(seen(0.1)) is None
    assert follower.step() is None


def test_nan_neither_begins_nor_ends_an_alert() -> None:
    """A value that compares with nothing changes nothing."""
    follower = Follower({FALLING: RuleSettings(0.2, 0.25, 0.0)})
    assert not follower.active(math.nan)
    assert follower.active(0.1)
    assert follower.active(math.nan)


def test_alerts_of_different_rules_and_subjects_are_apart_and_in_order() -> None:
    """Sorted by rule and subject, so that output is stable."""
    observed = [
        seen(1.0, RISING, "b"),
        seen(0.5, "device_bandwidth_declined", "", "sdb"),
        seen(0.95, "device_bandwidth_declined", "", "sda"),
        seen(1.0, RISING, "a"),
    ]
    states = advance(RULES, (), observed, 0.0, WALL)
    assert [(s.alert, s.database, s.device, s.active) for s in states] == [
        ("RocksdbWriteDelayed", "a", "sda", False),
        ("RocksdbWriteDelayed", "b", "sda", False),
        ("SsdWriteBandwidthDegraded", "", "sda", False),
        ("SsdWriteBandwidthDegraded", "", "sdb", True),
    ]
    assert len({state.key for state in states}) == 4


def test_a_device_that_is_unknown_for_a_while_does_not_split_a_databases_alert() -> None:
    """An alert under a label that never comes back would never end."""
    follower = Follower({FALLING: RuleSettings(0.2, 0.25, 0.0)})
    follower.step(seen(0.1, device=""))
    state = follower.step(seen(0.1))
    assert state is not None
    assert (state.active, state.device, state.since_wall_seconds) == (True, "sda", WALL)
    state = follower.step(seen(None, device=""))
    assert state is not None
    assert (state.active, state.device) == (True, "sda")
    state = follower.step(seen(0.9, device="sdb"))
    assert state is not None
    assert (state.active, state.device) == (False, "sdb")


GAP = "the subject is not observed"


@given(
    falling=st.booleans(),
    band=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 0.5)),
    for_seconds=st.sampled_from([0.0, 10.0, 25.0, 60.0]),
    steps=st.lists(
        st.tuples(
            st.sampled_from([1.0, 5.0, 10.0, 30.0]),
            st.one_of(
                st.floats(-0.5, 1.5), st.sampled_from(["threshold", "clear", GAP]), st.none()
            ),
        ),
        max_size=60,
    ),
)
def test_the_invariants_hold_for_any_series_of_values_and_gaps(
    falling: bool,
    band: tuple[float, float],
    for_seconds: float,
    steps: list[tuple[float, float | str | None]],
) -> None:
    """Against the docstring of the engine, told from the history alone."""
    alert = FALLING if falling else RISING
    worse, width = band
    better = worse + width if falling else worse - width
    follower = Follower({alert: RuleSettings(worse, better, for_seconds)})
    was_active = False
    beyond_since: float | None = None
    for elapsed, what in steps:
        value = {"threshold": worse, "clear": better}.get(str(what), what)
        if value == GAP:
            state = follower.step(elapsed=elapsed)
            assert (state is not None and state.active) == was_active
            beyond_since = None
            continue
        assert value is None or isinstance(value, float)
        state = follower.step(seen(value, alert), elapsed=elapsed)
        assert state is not None
        if value is None:
            assert state.active == was_active
            assert state.data_missing
            beyond_since = None
            continue
        beyond = value <= worse if falling else value >= worse
        back = value >= better if falling else value <= better
        beyond_since = (
            None if not beyond else follower.now if beyond_since is None else beyond_since
        )
        long_enough = beyond_since is not None and follower.now - beyond_since >= for_seconds
        assert state.active == (long_enough if not was_active else beyond or not back)
        assert state.value == value
        assert not state.data_missing
        assert (state.since_wall_seconds is not None) == state.active
        was_active = state.active
