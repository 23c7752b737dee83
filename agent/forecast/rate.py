"""The put rate as the forecast of stalls sees it: its line, and what was held for minutes. Pure."""

from agent.forecast.trends import FittedRate, RateTrend
from agent.rates import CounterWindow
from agent.readings import Known, Missing
from probes.rocksdb.samples import ManifestSample, WalSample

SUSTAINED_SECONDS = 300.0
"""A rate held for so long without growing debt was sustainable, whatever a model says; a few cycles
of compaction."""

FLUSH_OVERDUE_SECONDS = 120.0
"""Without a WAL the put rate is known from flush to flush; so long without one, and it is not."""

SUSTAINED_VALID_SECONDS = 1800.0
"""And is taken as sustainable for so long after: then the tree or the device may be another."""


class ObservedRate:
    """Follows the sequence number of one incarnation of a database."""

    def __init__(self) -> None:
        self._trend = RateTrend()
        self._held = CounterWindow(SUSTAINED_SECONDS)
        self._last: tuple[str, float, int] | None = None  # source, when, sequence number
        self._sustained: tuple[float, float] | None = None  # when, puts/s

    def follow(
        self,
        wal: Known[WalSample] | Missing,
        manifest: Known[ManifestSample] | Missing,
        now: float,
    ) -> FittedRate | Missing:
        """Add the sequence number of the WAL, or, without one, of the MANIFEST when it has grown.

        The latter stands still between flushes, and is no rate while there are none.
        """
        if isinstance(wal, Known):
            self._add("wal", wal.value.at, wal.value.last_sequence, now)
        elif isinstance(manifest, Known):
            last = self._last
            sequence = manifest.value.last_sequence
            if last is None or last[0] != "manifest" or last[2] != sequence:
                self._add("manifest", manifest.at, sequence, now)
        else:
            self._forget()
            return wal
        if self._last is not None and now - self._last[1] > FLUSH_OVERDUE_SECONDS:
            self._forget()
        return self._trend.fit() or Missing(
            "not_yet_measured", "a trend of the put rate needs a minute of readings"
        )

    def _add(self, source: str, at: float, sequence: int, now: float) -> None:
        last = self._last
        if last is not None and (last[0] != source or now - last[1] > FLUSH_OVERDUE_SECONDS):
            self._forget()
        self._trend.add(at, float(sequence))
        self._held.add(at, float(sequence))
        self._last = (source, at, sequence)

    def _forget(self) -> None:
        self._trend.clear()
        self._held.clear()
        self._last = None

    def learn_sustained(self, now: float, undisturbed_since: float) -> None:
        """Note the mean rate of the last minutes, unless a stall or growing debt disturbed them."""
        if now - undisturbed_since < SUSTAINED_SECONDS:
            return
        mean = self._held.mean(SUSTAINED_SECONDS)
        if mean is None or mean.span_seconds < SUSTAINED_SECONDS:
            return
        held = self.sustained(now)
        if held is None or mean.per_second >= held:
            self._sustained = (now, mean.per_second)

    def sustained(self, now: float) -> float | None:
        """The highest rate held of late, puts/s; None when none was."""
        if self._sustained is None or now - self._sustained[0] > SUSTAINED_VALID_SECONDS:
            return None
        return self._sustained[1]
