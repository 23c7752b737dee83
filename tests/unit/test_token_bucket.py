"""The rate limit."""

from agent.token_bucket import TokenBucket


def test_a_burst_is_let_through_and_then_one_an_interval() -> None:
    bucket = TokenBucket(2.0, 3)
    taken = [bucket.take(now) for now in (0.0, 0.0, 0.0, 0.0, 1.9, 2.0, 2.1, 4.0)]

    assert taken == [True, True, True, False, False, True, False, True]


def test_a_quiet_time_fills_no_more_than_the_burst() -> None:
    bucket = TokenBucket(1.0, 2)
    bucket.take(0.0)
    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]


def test_no_burst_lets_nothing_through() -> None:
    """As in exporter-toolkit."""
    bucket = TokenBucket(1.0, 0)
    assert [bucket.take(now) for now in (0.0, 10.0)] == [False, False]
