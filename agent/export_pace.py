"""When an export is tried again. Pure."""

from typing import Final

MAX_BACKOFF_SECONDS: Final = 300.0
"""A receiver that is back is served again after this at the latest."""


def next_delay_seconds(
    interval_seconds: float, failures: int, asked_seconds: float, random: float
) -> float:
    """Until the next try, after ``failures`` in a row.

    Twice as long with each failure, spread by up to a fifth either way by ``random`` (0 to 1), so
    that a fleet does not come back in step. ``asked_seconds`` is what the receiver asked for, 0
    for nothing; more than ``MAX_BACKOFF_SECONDS`` it does not get. Nothing is kept for later: the
    next export has the values of then, and totals lose nothing.
    """
    if failures == 0:
        return interval_seconds
    longest = max(interval_seconds, MAX_BACKOFF_SECONDS)
    backoff = min(interval_seconds * 2.0 ** min(failures, 30), longest)
    return max(backoff * (0.8 + 0.4 * random), min(asked_seconds, MAX_BACKOFF_SECONDS))
