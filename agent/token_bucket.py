"""A rate limit as Go's golang.org/x/time/rate has it: tokens fill a bucket, each use takes one."""


class TokenBucket:
    """Full at first. ``burst`` 0 lets nothing through."""

    def __init__(self, interval_seconds: float, burst: int) -> None:
        self._interval_seconds = interval_seconds
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Whether there is a token at ``now`` (monotonic seconds); it is taken then."""
        if self._at is not None:
            filled = max(0.0, now - self._at) / self._interval_seconds
            self._tokens = min(self._burst, self._tokens + filled)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
