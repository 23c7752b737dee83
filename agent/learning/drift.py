"""Has a model's error changed? Page's cumulative sum, two-sided, over its scores.

Theory: while nothing changes, errors measured in their own standard deviation scatter around 0.
The sum of (error - allowance), never let below 0, stays low then, and climbs steadily once the mean
has moved by more than the allowance. An alarm is raised when it passes the threshold (E. S. Page,
Continuous Inspection Schemes, Biometrika 41, 1954; the same statistic is known as Page and
Hinkley's test). Where the mean began to move is then the split of the scores that leaves the least
sum of squares on both sides (D. V. Hinkley, Biometrika 57, 1970): where the sum last left 0 would
be too early whenever it happened to hover just above. With an allowance of 0.5 and a threshold of
4 standard deviations, the two-sided chart raises one false alarm in 168 scores, and finds a shift
of one standard deviation within 8 scores, of two within 3 to 4, on average (D. C. Montgomery,
Introduction to Statistical Quality Control, table of CUSUM run lengths).

>>> chart = PageHinkley()
>>> [chart.update(score) for score in (0.3, -0.8, 0.5, -0.2, 2.5, 2.1, 2.4)]
[False, False, False, False, False, False, True]
>>> chart.began  # the index of the first score after the change
4
"""

ALLOWANCE = 0.5
"""Standard deviations: half of the shift that is to be found (one)."""

THRESHOLD = 4.0
"""Standard deviations of accumulated excess at which drift is called."""

LARGEST_SCORE = 3.0
"""A single odd episode counts for at most so many standard deviations: no alarm by itself."""


class PageHinkley:
    """Follows one stream of standardized errors; an alarm starts it anew."""

    def __init__(self, allowance: float = ALLOWANCE, threshold: float = THRESHOLD) -> None:
        self._allowance = allowance
        self._threshold = threshold
        self._up = self._down = 0.0
        self._scores: list[float] = []
        self.began = 0
        """After an alarm: the index, since the last alarm, of the first score of the new level."""

    def update(self, score: float) -> bool:
        """Take a standardized error; True when the mean has demonstrably moved."""
        score = max(-LARGEST_SCORE, min(LARGEST_SCORE, score))
        self._scores.append(score)
        self._up = max(0.0, self._up + score - self._allowance)
        self._down = max(0.0, self._down - score - self._allowance)
        if max(self._up, self._down) < self._threshold:
            return False
        self.began = _split(self._scores)
        self._up = self._down = 0.0
        self._scores = []
        return True


def _split(scores: list[float]) -> int:
    """The index that parts the scores into the two most different levels."""
    total, count = sum(scores), len(scores)
    best, index, left = -1.0, 0, 0.0
    for size, score in enumerate(scores[:-1], 1):
        left += score
        apart = left / size - (total - left) / (count - size)
        if size * (count - size) * apart**2 > best:
            best, index = size * (count - size) * apart**2, size
    return index
