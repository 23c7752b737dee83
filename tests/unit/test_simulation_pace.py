"""How often the simulator runs."""

import pytest

from agent.simulation_pace import (
    EARLY_RUNS,
    EARLY_SAVED_SECONDS,
    EARLY_SECONDS,
    FAR_RATIO,
    SIMULATION_INTERVAL_SECONDS,
    SimulationPace,
)

TICK = 5.0


def runs(rates: list[float], rarer: float = 1.0) -> list[float]:
    """When it ran; one rate a tick."""
    pace = SimulationPace()
    return [n * TICK for n, rate in enumerate(rates) if pace.due(n * TICK, rate, rarer)]


def test_while_nothing_moves_it_runs_at_its_interval() -> None:
    """At once, and then every five minutes."""
    assert runs([100.0] * 121) == [
        0.0,
        SIMULATION_INTERVAL_SECONDS,
        2 * SIMULATION_INTERVAL_SECONDS,
    ]


def test_a_restrained_agent_runs_it_more_rarely() -> None:
    """By the factor given."""
    assert runs([100.0] * 241, rarer=4.0) == [0.0, 4 * SIMULATION_INTERVAL_SECONDS]


def test_inputs_that_move_bring_the_next_runs_forward() -> None:
    """As often as allowed at first, then as often as is saved up."""
    moving = [100.0 * 1.06**n for n in range(12)] + [100.0] * 0
    early = runs(moving)
    assert early[:3] == [0.0, EARLY_SECONDS, 2 * EARLY_SECONDS]
    endless = [100.0, 110.0] * 720
    seconds = len(endless) * TICK
    assert len(runs(endless)) == pytest.approx(EARLY_RUNS + seconds / EARLY_SAVED_SECONDS, abs=3)


def test_a_host_that_became_another_is_simulated_whatever_was_saved_up() -> None:
    """A device that ages to half: the last answer must not stand for minutes."""
    spent = [100.0, 110.0] * 30
    ran = runs(spent + [100.0 / FAR_RATIO / 1.01] * 6)
    assert any(at >= len(spent) * TICK for at in ran)
