import copy
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.self_limits import (
    FALL_SECONDS,
    RISE_SECONDS,
    Degradation,
    Level,
    OwnUse,
    SelfDegradation,
    SelfLimits,
)

TICK = 10.0
LIMITS = SelfLimits(cpu_ratio=0.005, resident_bytes=80e6)


class Agent:
    """An agent whose cost is given tick by tick."""

    def __init__(self, limits: SelfLimits = LIMITS) -> None:
        self.degradation = SelfDegradation(limits)
        self.at = 0.0
        self.cpu_seconds = 1.0
        self.children_seconds = 0.0

    def runs(
        self,
        seconds: float,
        cpu_ratio: float,
        resident_bytes: float = 60e6,
        children_ratio: float = 0.0,
    ) -> Degradation:
        end = self.at + seconds
        while True:
            found = self.degradation.update(
                OwnUse(self.at, self.cpu_seconds, self.children_seconds, resident_bytes)
            )
            if self.at >= end:
                return found
            self.at += TICK
            self.cpu_seconds += cpu_ratio * TICK
            self.children_seconds += children_ratio * TICK


def test_an_agent_within_its_limits_gives_up_nothing() -> None:
    """Also after a day, and with the CPU its start took."""
    found = Agent().runs(86_400.0, 0.003)
    assert (found.level, found.reason, found.detail) == (Level.NORMAL, None, "")
    assert (found.tick_factor, found.secondary_enabled, found.children_factor) == (1, True, 1.0)


def test_the_first_step_comes_before_the_limit_is_exceeded() -> None:
    """At 0.42 % of 0.5 % the secondary becomes rare, and the reason says by how much."""
    found = Agent().runs(RISE_SECONDS, 0.0042)
    assert found.level == Level.RARE_CHILDREN
    assert found.reason == "cpu"
    assert found.detail == "the agent used 0.42% of one core over 300 s; its limit is 0.50%"
    assert found.secondary_enabled
    assert found.children_factor > 1.0


def test_steps_go_in_order_and_stop_at_the_last() -> None:
    """Each level has its own time to show what it saves."""
    agent = Agent()
    levels = [agent.runs(RISE_SECONDS, 0.02).level for _ in range(6)]
    assert levels == [1, 2, 3, 4, 4, 4]
    found = agent.runs(0.0, 0.02)
    assert (found.tick_factor, found.secondary_enabled) == (4, False)


def test_nothing_is_judged_before_there_is_a_mean() -> None:
    """A first LOG to be read is a burst, not a habit."""
    found = Agent().runs(RISE_SECONDS - TICK, 0.5)
    assert found.level == Level.NORMAL
    assert found.cpu_ratio is None


def test_the_mean_forgets_what_is_longer_ago_than_ten_minutes() -> None:
    """An hour of idling does not hide a cost that has begun."""
    agent = Agent()
    agent.runs(3600.0, 0.0)
    found = agent.runs(600.0, 0.0039)
    assert found.cpu_ratio == pytest.approx(0.0039)


def test_recovery_takes_an_hour_per_step() -> None:
    """A quiet half hour proves little."""
    agent = Agent()
    agent.runs(2 * RISE_SECONDS, 0.0045)
    assert agent.runs(FALL_SECONDS - TICK, 0.001).level == Level.NO_SECONDARY
    assert agent.runs(TICK, 0.001).level == Level.RARE_CHILDREN
    found = agent.runs(FALL_SECONDS, 0.001)
    assert (found.level, found.reason, found.detail) == (Level.NORMAL, None, "")


def test_ticks_stay_rare_when_twice_as_many_would_be_too_many() -> None:
    """0.24 % at half the ticks is 0.48 % at all of them."""
    agent = Agent()
    agent.runs(3 * RISE_SECONDS, 0.0045)
    assert agent.runs(10 * FALL_SECONDS, 0.0024).level == Level.DOUBLE_TICK


def test_children_come_back_only_when_four_times_as_many_fit() -> None:
    """0.1 % of rare children is 0.4 % of frequent ones, beside 0.1 % of the agent's own."""
    agent = Agent()
    assert agent.runs(RISE_SECONDS, 0.001, children_ratio=0.004).level == Level.RARE_CHILDREN
    found = agent.runs(10 * FALL_SECONDS, 0.001, children_ratio=0.001)
    assert found.level == Level.RARE_CHILDREN
    assert agent.runs(FALL_SECONDS, 0.001, children_ratio=0.0005).level == Level.NORMAL


def test_children_are_rarer_with_rarer_ticks() -> None:
    """Answers that come with ticks are no use between them."""
    agent = Agent()
    factors = [agent.runs(RISE_SECONDS, 0.02).children_factor for _ in range(4)]
    assert factors == [4.0, 4.0, 8.0, 16.0]


def test_memory_takes_the_secondary_but_no_ticks() -> None:
    """Rarer ticks hold as much memory as frequent ones."""
    found = Agent().runs(FALL_SECONDS, 0.001, 75e6)
    assert found.level == Level.NO_SECONDARY
    assert found.reason == "memory"
    assert found.detail == "the agent held 75 MB over 300 s; its limit is 80 MB"
    assert found.tick_factor == 1


def test_memory_is_asked_back_now_and_then_while_it_is_short() -> None:
    """Collecting garbage with every tick would cost what it saves."""
    agent = Agent()
    asked = [agent.runs(TICK, 0.001, 75e6).release_memory for _ in range(240)]
    assert 2 <= sum(asked) <= 240 * TICK / RISE_SECONDS
    assert not any(agent.runs(TICK, 0.001, 60e6).release_memory for _ in range(240))


def test_a_peak_of_memory_is_no_shortage() -> None:
    """What a tick takes and gives back does not stay."""
    agent = Agent()
    for number in range(100):
        found = agent.runs(TICK, 0.001, 120e6 if number % 3 == 0 else 60e6)
    assert found.level == Level.NORMAL


def test_memory_that_has_gone_down_gives_the_secondary_back() -> None:
    """The way down leads through all levels."""
    agent = Agent()
    agent.runs(2 * RISE_SECONDS, 0.001, 75e6)
    assert agent.runs(3 * FALL_SECONDS, 0.001, 70e6).level == Level.NO_SECONDARY
    assert agent.runs(3 * FALL_SECONDS, 0.001, 60e6).level == Level.NORMAL


uses = st.lists(
    st.tuples(
        st.sampled_from([1.0, TICK, 60.0, 400.0, 4000.0]),
        st.floats(0.0, 0.02),
        st.floats(40e6, 100e6),
    ),
    max_size=200,
)


def fed(history: list[tuple[float, float, float]]) -> tuple[Agent, list[Degradation]]:
    agent = Agent()
    found = [agent.degradation.update(OwnUse(0.0, agent.cpu_seconds, 0.0, 60e6))]
    for elapsed, cpu_ratio, resident_bytes in history:
        agent.at += elapsed
        agent.cpu_seconds += cpu_ratio * elapsed
        found.append(
            agent.degradation.update(
                OwnUse(agent.at, agent.cpu_seconds, agent.at * 1e-4, resident_bytes)
            )
        )
    return agent, found


@given(uses)
def test_steps_are_single_and_never_close_together(
    history: list[tuple[float, float, float]],
) -> None:
    """Whatever the use does: five minutes between two steps, an hour before one down."""
    for before, after in itertools.pairwise(fed(history)[1]):
        step = after.level - before.level
        assert abs(step) <= 1
        if step:
            distance = FALL_SECONDS if step < 0 else RISE_SECONDS
            assert after.since - before.since >= distance


@given(
    uses,
    st.floats(1.0, 4000.0),
    st.tuples(st.floats(0, 0.02), st.floats(0, 0.02)),
    st.tuples(st.floats(40e6, 100e6), st.floats(40e6, 100e6)),
)
def test_more_use_never_gives_a_lower_level(
    history: list[tuple[float, float, float]],
    elapsed: float,
    cpu: tuple[float, float],
    resident: tuple[float, float],
) -> None:
    """From the same past."""
    agent, _ = fed(history)
    levels = []
    for cpu_ratio, resident_bytes in zip(sorted(cpu), sorted(resident), strict=True):
        at = agent.at + elapsed
        use = OwnUse(at, agent.cpu_seconds + cpu_ratio * elapsed, at * 1e-4, resident_bytes)
        levels.append(copy.deepcopy(agent.degradation).update(use).level)
    assert levels[0] <= levels[1]


@given(uses)
def test_a_level_above_normal_always_has_its_reason(
    history: list[tuple[float, float, float]],
) -> None:
    """An operator who sees a rarer tick reads why."""
    for found in fed(history)[1]:
        assert (found.level == Level.NORMAL) == (found.reason is None) == (found.detail == "")


@given(
    tick_ratio=st.floats(0.0, 0.03),
    fixed_ratio=st.floats(0.0, 0.001),
    simulator_ratio=st.floats(0.0, 0.03),
    secondary_ratio=st.floats(0.0, 0.002),
)
def test_a_constant_host_is_given_one_level_and_keeps_it(
    tick_ratio: float, fixed_ratio: float, simulator_ratio: float, secondary_ratio: float
) -> None:
    """The cost follows the level, and the level the cost: without swinging."""
    agent = Agent()
    levels = []
    for _ in range(1200):
        found = agent.degradation.update(
            OwnUse(agent.at, agent.cpu_seconds, agent.children_seconds, 60e6)
        )
        levels.append(found.level)
        children = simulator_ratio + (secondary_ratio if found.secondary_enabled else 0.0)
        agent.at += 60.0
        agent.cpu_seconds += (tick_ratio / found.tick_factor + fixed_ratio) * 60.0
        agent.children_seconds += children / found.children_factor * 60.0
    assert levels == sorted(levels)
