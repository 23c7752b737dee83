"""The observed put rate, from the best source that speaks: WAL, then LOG events, then MANIFEST."""

from agent.rates import CounterWindow
from agent.readings import Known, Missing, Quantity
from probes.rocksdb.samples import LogSample, ManifestSample, WalSample

OBSERVED_WINDOW_SECONDS = 60.0
"""DESIGN: headroom compares the 60 s mean."""

FLUSH_WINDOW_SECONDS = 900.0
"""Without a WAL the rate is known only from flush to flush, which may be minutes apart."""

QUIET_FACTOR = 3.0
"""A flush overdue by this factor of the mean distance says that the rate has changed."""


class PutRate:
    """Follows the sequence number; rates never mix two sources, for their lags differ."""

    def __init__(self) -> None:
        self._wal = CounterWindow(OBSERVED_WINDOW_SECONDS)
        self._flushed = CounterWindow(FLUSH_WINDOW_SECONDS)
        self._last_flushed: int | None = None
        self.sequence_number: Known[int] | Missing = Missing(
            "not_yet_measured", "no sequence number was read yet"
        )

    def update(
        self,
        wal: Known[WalSample] | Missing,
        manifest: Known[ManifestSample] | Missing,
        log: Known[LogSample] | Missing,
        now: float,
    ) -> Quantity:
        """The mean put rate, puts/s; also sets ``sequence_number``."""
        if isinstance(manifest, Known):
            self.sequence_number = Known(manifest.value.last_sequence, "manifest", manifest.at)
            if manifest.value.last_sequence != self._last_flushed:
                # Only a change tells a time: between flushes the number stands still by nature.
                self._last_flushed = manifest.value.last_sequence
                self._flushed.add(manifest.value.at, float(manifest.value.last_sequence))
        else:
            self.sequence_number = manifest
        if isinstance(wal, Known):
            self.sequence_number = Known(wal.value.last_sequence, "wal", wal.at)
            self._wal.add(wal.value.at, float(wal.value.last_sequence))
            mean = self._wal.mean(OBSERVED_WINDOW_SECONDS)
            if mean is not None:
                return Known(mean.per_second, "wal", mean.at)
            return Missing("not_yet_measured", "a rate needs two readings of the WAL")
        self._wal.clear()
        by_log = _rate_of_flushes(log)
        if isinstance(by_log, Known):
            return by_log
        by_manifest = self._rate_of_manifest(now)
        return wal if isinstance(by_manifest, Missing) else by_manifest

    def _rate_of_manifest(self, now: float) -> Quantity:
        mean = self._flushed.mean(FLUSH_WINDOW_SECONDS)
        if mean is None or now - mean.at > max(QUIET_FACTOR * mean.span_seconds, 60.0):
            return Missing("no_recent_flush", "no two flushes in the last minutes")
        return Known(mean.per_second, "manifest", mean.at)


def _rate_of_flushes(log: Known[LogSample] | Missing) -> Quantity:
    """Entries of all recent flushes but the first over the time between first and last.

    A flush holds what was written since the one before, so the first one's entries belong to the
    time before it.
    """
    if isinstance(log, Missing):
        return log
    flushes = sorted(
        (f for f in log.value.recent_flushes if f.entries is not None),
        key=lambda flush: flush.wall_seconds,
    )
    if len(flushes) < 3:
        return Missing("no_recent_flush", "fewer than three flushes in the last minutes")
    span = flushes[-1].wall_seconds - flushes[0].wall_seconds
    newest = log.value.last_wall_seconds or flushes[-1].wall_seconds
    overdue = newest - flushes[-1].wall_seconds
    if span <= 0 or overdue > QUIET_FACTOR * max(span / (len(flushes) - 1), 10.0):
        return Missing("no_recent_flush", f"the last flush was {overdue:.0f} s ago")
    entries = sum(flush.entries or 0 for flush in flushes[1:])
    return Known(entries / span, "log flush events", log.at - overdue)
