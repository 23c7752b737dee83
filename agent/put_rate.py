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
        wall_seconds: float,
    ) -> Quantity:
        """The mean put rate, puts/s; also sets ``sequence_number``."""
        if isinstance(manifest, Known):
            self.sequence_number = Known(manifest.value.last_sequence, "manifest", manifest.at)
            self._follow_flushes(manifest.value)
        else:
            self.sequence_number = manifest
            self._last_flushed = None
        if isinstance(wal, Known):
            self.sequence_number = Known(wal.value.last_sequence, "wal", wal.at)
            self._wal.add(wal.value.at, float(wal.value.last_sequence))
            mean = self._wal.mean(OBSERVED_WINDOW_SECONDS)
            if mean is not None:
                return Known(mean.per_second, "wal", mean.at)
            return Missing("not_yet_measured", "a rate needs two readings of the WAL")
        self._wal.clear()
        by_log = _rate_of_flushes(log, now, wall_seconds)
        if isinstance(by_log, Known):
            return by_log
        if isinstance(manifest, Missing):
            return wal  # nothing tells that the flushes before still say anything
        by_manifest = self._rate_of_manifest(now)
        return wal if isinstance(by_manifest, Missing) else by_manifest

    def _follow_flushes(self, manifest: ManifestSample) -> None:
        """Note when the number changes: between flushes it stands still by nature.

        The number found at first, or after a gap, was reached at an unknown time before.
        """
        before, self._last_flushed = self._last_flushed, manifest.last_sequence
        if before is not None and manifest.last_sequence < before:
            self._flushed.clear()
        elif before is not None and manifest.last_sequence > before:
            self._flushed.add(manifest.at, float(manifest.last_sequence))

    def _rate_of_manifest(self, now: float) -> Quantity:
        mean = self._flushed.mean(FLUSH_WINDOW_SECONDS)
        if mean is None:
            return Missing("no_recent_flush", "no two flushes in the last minutes")
        distance = mean.span_seconds / (len(self._flushed) - 1)
        if now - mean.at > max(QUIET_FACTOR * distance, 60.0):
            return Missing("no_recent_flush", "no two flushes in the last minutes")
        return Known(mean.per_second, "manifest", mean.at)


def _rate_of_flushes(log: Known[LogSample] | Missing, now: float, wall_seconds: float) -> Quantity:
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
    # By the clock, not by the LOG's last line: an idle database writes no lines.
    overdue = max(0.0, wall_seconds - flushes[-1].wall_seconds)
    if span <= 0 or overdue > QUIET_FACTOR * max(span / (len(flushes) - 1), 10.0):
        return Missing("no_recent_flush", f"the last flush was {overdue:.0f} s ago")
    entries = sum(flush.entries or 0 for flush in flushes[1:])
    return Known(entries / span, "log flush events", now - overdue)
