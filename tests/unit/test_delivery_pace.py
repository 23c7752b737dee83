"""When a receiver is tried again: answers, backoff, circuit breaker."""

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery.answer import LONGEST_RETRY_AFTER_SECONDS, Answer, answer_of
from agent.delivery.circuit import (
    FIRST_OPEN_SECONDS,
    LONGEST_OPEN_SECONDS,
    OPENS_AFTER_FAILURES,
    Circuit,
)
from agent.delivery.pace import BASE_SECONDS, LONGEST_SECONDS, Pace, backoff_seconds
from tests.unit.delivery_samples import WALL

FAILED = Answer("failed", "answered 500")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (202, "delivered"),
        (301, "rejected"),
        (400, "rejected"),
        (401, "rejected"),
        (404, "rejected"),
        (408, "failed"),
        (429, "failed"),
        (500, "failed"),
        (503, "failed"),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, outcome: str) -> None:
    """Only what may go better by itself is tried again."""
    assert answer_of(status, "", None, "", WALL).outcome == outcome


def test_a_redirect_is_not_followed_and_the_answer_says_what_to_do() -> None:
    """A signed body must not go where somebody else points."""
    assert "name the final URL" in answer_of(302, "Found", None, "", WALL).detail


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (email.utils.formatdate(WALL + 30, usegmt=True), 30.0),
        (email.utils.formatdate(WALL - 30, usegmt=True), 0.0),
        ("99999999999999999999", LONGEST_RETRY_AFTER_SECONDS),
        ("soon", None),
        ("-5", None),
        ("\u0663", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    """RFC 9110, with a limit: nobody may silence the agent for a year."""
    assert answer_of(503, "", value, "", WALL).retry_after_seconds == seconds


@given(st.integers(1, 10**6), st.floats(0.0, 1.0, exclude_max=True))
def test_backoff_grows_and_stays_within_its_limit(failures: int, unit: float) -> None:
    """Full jitter: anywhere between nothing and the ceiling."""
    ceiling = min(LONGEST_SECONDS, BASE_SECONDS * 2.0 ** min(failures - 1, 30))

    assert 0.0 <= backoff_seconds(failures, unit) <= ceiling
    assert backoff_seconds(failures, 0.5) == ceiling / 2


def test_a_circuit_opens_after_failures_in_a_row_only() -> None:
    """A success in between begins the count anew."""
    circuit = Circuit()
    for _ in range(OPENS_AFTER_FAILURES - 1):
        circuit = circuit.failed(0.0, 0.5)
    assert circuit.state == "closed"
    assert circuit.succeeded().failed(0.0, 0.5).state == "closed"

    circuit = circuit.failed(10.0, 0.5)

    assert circuit.state == "open"
    assert circuit.wait_seconds(10.0) == 0.75 * FIRST_OPEN_SECONDS
    assert circuit.wait_seconds(10.0 + 0.75 * FIRST_OPEN_SECONDS) == 0.0


def test_agents_that_lost_a_receiver_together_do_not_ask_for_it_together() -> None:
    """Each is away for a time of its own, never less than half of what it may be."""
    lost = Circuit(failures=OPENS_AFTER_FAILURES - 1)
    waits = [lost.failed(0.0, chance).wait_seconds(0.0) for chance in (0.0, 0.3, 0.6, 0.9)]

    assert waits == sorted(set(waits))
    assert waits[0] == FIRST_OPEN_SECONDS / 2
    assert waits[-1] < FIRST_OPEN_SECONDS


def test_an_open_circuit_allows_no_attempt_before_its_time() -> None:
    """Whoever does not ask first is told so."""
    circuit = Circuit("open", OPENS_AFTER_FAILURES, until=20.0)

    with pytest.raises(ValueError, match="open"):
        circuit.trying(19.0)


def test_half_open_closes_with_a_success_and_opens_for_longer_with_a_failure() -> None:
    """One attempt decides."""
    trial = Circuit("open", OPENS_AFTER_FAILURES, until=20.0).trying(20.0)
    assert trial.state == "half_open"

    assert trial.succeeded() == Circuit()
    again = trial.failed(21.0, 0.5)
    assert (again.state, again.wait_seconds(21.0)) == ("open", 1.5 * FIRST_OPEN_SECONDS)
    for _ in range(20):
        again = again.trying(again.until).failed(again.until, 0.5)
    assert again.open_seconds == LONGEST_OPEN_SECONDS


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0.0, 500.0), st.floats(0.0, 1.0, exclude_max=True)),
        max_size=60,
    )
)
def test_an_attempt_is_possible_again_within_the_longest_time(
    tries: list[tuple[bool, float, float]],
) -> None:
    """Whatever the history: a receiver that is back is found."""
    circuit, now = Circuit(), 0.0
    for ok, pause, unit in tries:
        now += pause
        if circuit.wait_seconds(now) > 0.0:
            continue
        circuit = circuit.trying(now)
        circuit = circuit.succeeded() if ok else circuit.failed(now, unit)
        assert circuit.state != "half_open"
        assert 0.0 <= circuit.wait_seconds(now) <= LONGEST_OPEN_SECONDS


def test_the_pace_heeds_the_longest_of_its_reasons() -> None:
    """Backoff, the receiver's wish and the breaker."""
    first = Pace().after(Answer("failed", "", retry_after_seconds=40.0), 100.0, 0.9)
    assert first.wait_seconds(100.0) == 40.0

    pace = Pace()
    for _ in range(OPENS_AFTER_FAILURES):
        pace = pace.after(FAILED, 100.0, 0.0)
    assert pace.wait_seconds(100.0) == FIRST_OPEN_SECONDS / 2


def test_a_rejection_is_a_sign_of_life() -> None:
    """The receiver is up: what comes next is sent at once."""
    pace = Pace().after(FAILED, 0.0, 0.9).after(Answer("rejected", ""), 5.0, 0.9)

    assert pace == Pace()
