"""What a guard tells harm by besides the LOG: a WAL that stops growing, waiting that grows.

Each meter follows its counter look by look, ``learn``s what is usual before fio starts, and tells
``harm`` while it runs. What cannot be read is no evidence.
"""

import os
import stat
from collections import deque
from collections.abc import Callable
from typing import Final

from probes.errors import ProbeError
from probes.pressure import parse_pressure

KEPT_SECONDS: Final = 2.0
"""How much of the past a rate may be taken of: more than it takes to learn the usual."""

LISTINGS: Final = 5
LISTINGS_SECONDS: Final = 1.0
"""So many listings of a directory in so long: it may hold 20,000 files, and change all the time.

More than memtables are switched even where they are small: each begins a new WAL.
"""

COLLAPSE_SECONDS: Final = 0.2
"""Over how long the growth of the WAL is taken: shorter pauses are memtable switches."""

COLLAPSED_RATIO: Final = 0.2
"""Growth below this share of the usual is a collapse ..."""

STEADY_RATIO: Final = 0.5
"""... where it never was below this share of it in the second before ..."""

LEAST_WAL_BYTES_PER_SECOND: Final = 65536.0
"""... and came to this much: fewer puts come in irregular groups."""

PRESSURE_SECONDS: Final = 0.5
"""Over how long the share of stalled time is taken."""

PRESSURE_HIGH: Final = 0.9
PRESSURE_RISE: Final = 0.4
"""A share this high, and this much above the second before, is harm."""


class _Counter:
    """The readings of a counter over the last moments, and its rates."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """One more reading; those that are too old go."""
        self._readings.append((at, value))
        while self._readings[0][0] < at - KEPT_SECONDS:
            self._readings.popleft()

    def forget(self) -> None:
        """Begin anew: what follows is not to be compared with what was."""
        self._readings.clear()

    def rates(self, over_seconds: float) -> list[float]:
        """Per second, up to each reading that has so much time before it; the newest comes last."""
        found = []
        readings = list(self._readings)
        start = 0
        for end_at, end_value in readings[1:]:
            while readings[start + 1][0] <= end_at - over_seconds:
                start += 1
            at, value = readings[start]
            if end_at - at >= over_seconds:
                found.append((end_value - value) / (end_at - at))
        return found

    def rate(self, over_seconds: float) -> float | None:
        """Per second over the last such time; None while it has not passed."""
        rates = self.rates(over_seconds)
        return rates[-1] if rates else None


class WalGrowth:
    """How fast the live WAL grows."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path: str | None = None
        self._size = 0
        self._listed_mtime_ns = -1
        self._listed: deque[float] = deque(maxlen=LISTINGS)
        self._grown = 0
        self._counter = _Counter()
        self._usual: float | None = None

    def follow(self, now: float) -> None:
        """Add what grew since the last look, in whichever file."""
        grown = self._grow()
        if grown == 0 and self._switch(now):
            grown = self._grow()
        self._grown += grown
        self._counter.add(now, self._grown)

    def learn(self) -> None:
        """Take the last second as the usual, if it was steady enough to tell a collapse."""
        rates = self._counter.rates(COLLAPSE_SECONDS)
        if not rates:
            return
        mean = sum(rates) / len(rates)
        if mean >= LEAST_WAL_BYTES_PER_SECOND and min(rates) >= STEADY_RATIO * mean:
            self._usual = mean
        self._counter.forget()

    def harm(self) -> str | None:
        """A sentence when it hardly grows any more."""
        rate = self._counter.rate(COLLAPSE_SECONDS)
        if self._usual is None or rate is None or rate >= COLLAPSED_RATIO * self._usual:
            return None
        return (
            f"the WAL in {self._directory} grows by {rate / 1024:.0f} KiB/s, "
            f"{self._usual / 1024:.0f} KiB/s before"
        )

    def _grow(self) -> int:
        """Bytes added to the WAL that is followed, since the last look."""
        if self._path is None:
            return 0
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            self._path = None
            return 0
        if not stat.S_ISREG(status.st_mode):
            self._path = None
            return 0
        added = max(0, status.st_size - self._size)
        self._size = status.st_size
        return added

    def _switch(self, now: float) -> bool:
        """Follow the newest WAL; True when that is another one. Lists only a changed directory."""
        try:
            mtime_ns = os.stat(self._directory).st_mtime_ns
            if mtime_ns == self._listed_mtime_ns and self._path is not None:
                return False
            if len(self._listed) == LISTINGS and now - self._listed[0] < LISTINGS_SECONDS:
                self._counter.forget()  # there may be a new WAL, which is not followed yet
                return False
            self._listed_mtime_ns = mtime_ns
            self._listed.append(now)
            stems = [name[:-4] for name in os.listdir(self._directory) if name.endswith(".log")]
        except OSError:
            return False
        newest = max((stem for stem in stems if stem.isdigit()), key=int, default=None)
        path = None if newest is None else os.path.join(self._directory, f"{newest}.log")
        if path is None or path == self._path:
            return False
        first = self._path is None and not self._grown
        self._path, self._size = path, 0
        if first:
            self._grow()  # what it held before is no growth
            return False
        return True


class Pressure:
    """The share of time in which tasks of one control group waited for I/O."""

    def __init__(self, path: str, read_file: Callable[[str, int], bytes]) -> None:
        self._path = path
        self._read_file = read_file
        self._counters = {"some": _Counter(), "full": _Counter()}
        self._usual: dict[str, float] = {}

    def follow(self, now: float) -> None:
        """Read the totals of stalled time."""
        try:
            sample = parse_pressure(self._read_file(self._path, 4096), now)
        except (OSError, ProbeError):
            return  # the group is gone, or the kernel has no PSI: no evidence
        if sample is None:
            return
        self._counters["some"].add(now, sample.some_total_seconds)
        if sample.full_total_seconds is not None:
            self._counters["full"].add(now, sample.full_total_seconds)

    def learn(self) -> None:
        """Take the last moments as the usual."""
        for kind, counter in self._counters.items():
            share = counter.rate(PRESSURE_SECONDS)
            if share is not None:
                self._usual[kind] = share
            counter.forget()

    def harm(self) -> str | None:
        """A sentence when they wait far more than was usual."""
        for kind, usual in self._usual.items():
            share = self._counters[kind].rate(PRESSURE_SECONDS)
            if share is not None and share >= max(PRESSURE_HIGH, usual + PRESSURE_RISE):
                return (
                    f"the database waits for I/O {share:.0%} of the time ({kind}), "
                    f"{usual:.0%} before"
                )
        return None
