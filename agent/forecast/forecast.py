"""Time to the next write stall, delay or stop, of one database, seen from outside.

Interface: one ``StallForecast`` per incarnation of a database; every tick
``update(ForecastObservation) -> StallOutlook``. ``time_to_stall_seconds`` of the outlook is what
``smax_time_to_stall_seconds`` shows: 0 while a stall is in force or ended less than
``HOLD_SECONDS`` ago, infinite when not heading there, Missing with the reason when unknown.
``stalled`` and ``time_to_stall_seconds`` go into ``agent.forecast.score.ForecastScore``. Pure; time
comes in with the observation.

How a stall is seen coming (``agent.forecast.threats`` has the arithmetic):

- *put rate against S_max*: above it debt grows by the difference; a rate that rises is followed up
  to ``agent.forecast.threats.HORIZON_SECONDS`` ahead. S_max is taken to be at least what was held
  for minutes without growing debt.
- *measured growth*: peaks of L0 files and of pending compaction bytes against their limits; one
  merge that takes so long that L0 reaches its trigger before it can end; flushes that take longer
  than it takes to fill the memtables they empty.

Whichever comes first is announced once it has stood for ``PERSISTENCE_SECONDS``, and withdrawn when
nothing has pointed to a stall for ``HOLD_SECONDS``, or, with the put rate still within S_max's
interval or debt not coming down, for ``SUSTAINED_SECONDS``.
"""

import math
from dataclasses import dataclass, replace

from agent.forecast.capacity_plan import SMaxInterval
from agent.forecast.rate import SUSTAINED_SECONDS, ObservedRate
from agent.forecast.series import FamilyTrends, Flushes
from agent.forecast.threats import (
    PutRateOutlook,
    Threat,
    flush_threats,
    growth_threats,
    put_rate_threat,
)
from agent.readings import Known, Missing, Quantity
from probes.rocksdb.options_samples import ColumnFamilyOptions, OptionsSample
from probes.rocksdb.samples import LogSample, ManifestSample, StallCondition, WalSample

PERSISTENCE_SECONDS = 10.0
"""What points to a stall must do so for that long before it is announced: over two ticks of 10 s,
and a third of the 30 s that an announcement should be ahead."""

HOLD_SECONDS = 60.0
"""An announcement, and a stall's 0, stand until nothing has pointed to a stall for so long: longer
than the merge that empties L0 for a moment and than the pauses of a saturated database's
stop-and-go, so that neither flickers once per compaction."""


@dataclass(frozen=True, slots=True)
class ForecastObservation:
    """What one tick knows that bears on stalls.

    ``stalls`` are the stalls in force (``DatabaseSnapshot.stalls``), ``s_max`` the recommended
    S_max with its interval. ``at`` is monotonic, ``wall_seconds`` Unix time of the same moment.
    """

    at: float
    wall_seconds: float
    wal: Known[WalSample] | Missing
    manifest: Known[ManifestSample] | Missing
    options: Known[OptionsSample] | Missing
    log: Known[LogSample] | Missing
    stalls: Known[tuple[StallCondition, ...]] | Missing
    s_max: Known[SMaxInterval] | Missing


@dataclass(frozen=True, slots=True)
class StallOutlook:
    """The forecast of one tick.

    ``cause`` is what is expected to stall writes first: "l0_files", "memtables",
    "pending_compaction_bytes", or "put_rate_above_s_max" where the arithmetic speaks before any of
    them shows; None when nothing is announced. ``earliest_seconds`` and ``latest_seconds`` enclose
    the time to stall by the spread of its inputs (``latest_seconds`` infinite where it may not come
    at all). ``confidence`` is "high" when measured growth and the arithmetic agree, "medium" with
    one of them, "low" when S_max's interval leaves it open. ``stalled`` tells that a stall is in
    force or came and went since the last tick; None when that is not known.
    """

    time_to_stall_seconds: Quantity
    cause: str | None
    column_family: str | None
    earliest_seconds: float | None
    latest_seconds: float | None
    confidence: str | None
    detail: str
    stalled: bool | None


_NOT_HEADING = "no trend towards a limit, and the put rate is below S_max"


class StallForecast:
    """Follows one incarnation of a database from tick to tick."""

    def __init__(self) -> None:
        self._rate = ObservedRate()
        self._flushes = Flushes()
        self._families: dict[str, FamilyTrends] = {}
        self._stall_count: int | None = None
        self._last_stalled_at = -math.inf
        self._growing_at = -math.inf
        self._threatened_since: float | None = None
        self._threatened_at = -math.inf
        self._announced: Threat | None = None
        self._owed: dict[str, float] = {}  # by column family, when last threatened

    def update(self, observation: ForecastObservation) -> StallOutlook:
        """Take one tick into account and say when the next stall is due."""
        now = observation.at
        stalled = self._stalled(observation)
        if stalled:
            self._last_stalled_at = now
        rate = self._put_rate(observation)
        if isinstance(observation.log, Known):
            self._flushes.add(observation.log.value)
        limits = self._follow_families(observation)
        if isinstance(observation.stalls, Missing) and observation.stalls.reason == "not_open":
            return _unknown(observation.stalls, stalled)
        if stalled or now - self._last_stalled_at < HOLD_SECONDS:
            self._announced = self._threatened_since = None
            return _in_force(observation, now - self._last_stalled_at, stalled)
        if isinstance(limits, Missing):
            return _unknown(limits, stalled)
        if isinstance(rate, Missing):
            return _unknown(rate, stalled)
        return self._outlook(observation, rate, limits, stalled)

    def _outlook(
        self,
        observation: ForecastObservation,
        rate: PutRateOutlook,
        limits: dict[str, ColumnFamilyOptions],
        stalled: bool | None,
    ) -> StallOutlook:
        now = observation.at
        threats: list[Threat] = []
        growing = False
        for name, trends in self._families.items():
            found, grows = growth_threats(trends, limits[name], rate, self._flushes, now)
            threats += found
            growing |= grows
        if growing:
            self._growing_at = now
        self._rate.learn_sustained(now, max(self._last_stalled_at, self._growing_at))
        threats += flush_threats(self._flushes, limits.values(), rate)
        by_rate = put_rate_threat(rate, self._families, limits, self._flushes, growing=growing)
        if by_rate is not None:
            threats = [replace(threat, confidence="high") for threat in threats] + [by_rate]
        threat = min(threats, key=lambda candidate: candidate.seconds, default=None)
        return self._announce(observation, threat, rate, stalled)

    def _announce(
        self,
        observation: ForecastObservation,
        threat: Threat | None,
        rate: PutRateOutlook,
        stalled: bool | None,
    ) -> StallOutlook:
        """Persistence before an announcement, hysteresis after it."""
        now = observation.at
        if threat is not None:
            if self._threatened_since is None:
                self._threatened_since = now
            self._threatened_at = now
            self._owed = {name: trends.owed for name, trends in self._families.items()}
            if now - self._threatened_since >= PERSISTENCE_SECONDS or self._announced is not None:
                self._announced = threat
        elif self._announced is None:
            # One tick without does not begin the wait anew: rates are noisy.
            if now - self._threatened_at > 2.0 * PERSISTENCE_SECONDS:
                self._threatened_since = None
        elif now - self._threatened_at > self._hold_seconds(rate):
            self._announced = self._threatened_since = None
        else:
            threat = self._announced
        if self._announced is None or threat is None:
            at = observation.manifest.at if isinstance(observation.manifest, Known) else now
            return StallOutlook(
                Known(math.inf, "forecast", at), None, None, None, None, None, _NOT_HEADING, stalled
            )
        return StallOutlook(
            Known(threat.seconds, "forecast", now),
            threat.cause,
            threat.column_family,
            threat.earliest,
            threat.latest,
            threat.confidence,
            threat.detail,
            stalled,
        )

    def _hold_seconds(self, rate: PutRateOutlook) -> float:
        """How long an announcement stands after the last that pointed to it.

        A device at its limit slows the writers before RocksDB does, so that the rate stops rising,
        or falls, where it should cross S_max. As long as it stays within S_max's interval, or more
        is owed than when a stall was last in sight, that proves nothing, until the rate has been
        held for long enough to count as sustainable.
        """
        near = rate.s_max is not None and rate.fitted.per_second >= rate.s_max.lower
        owes_more = any(
            trends.owed > self._owed.get(name, math.inf) for name, trends in self._families.items()
        )
        return SUSTAINED_SECONDS if near or owes_more else HOLD_SECONDS

    def _put_rate(self, observation: ForecastObservation) -> PutRateOutlook | Missing:
        fitted = self._rate.follow(observation.wal, observation.manifest, observation.at)
        if isinstance(fitted, Missing):
            return fitted
        s_max = observation.s_max
        interval = s_max.value if isinstance(s_max, Known) else None
        floor = self._rate.sustained(observation.at)
        if interval is not None and floor is not None:
            interval = SMaxInterval(
                max(floor, interval.puts_per_second),
                max(floor, interval.lower),
                max(floor, interval.upper),
            )
        return PutRateOutlook(fitted, interval)

    def _follow_families(
        self, observation: ForecastObservation
    ) -> dict[str, ColumnFamilyOptions] | Missing:
        if isinstance(observation.manifest, Missing):
            return observation.manifest
        if isinstance(observation.options, Missing):
            return observation.options
        limits = {family.name: family for family in observation.options.value.column_families}
        manifest = observation.manifest.value
        shapes = {shape.name: shape for shape in manifest.column_families if shape.name in limits}
        self._families = {
            name: self._families.get(name) or FamilyTrends(name, limits[name]) for name in shapes
        }
        for name, trends in self._families.items():
            trends.add(manifest.at, shapes[name], limits[name])
        if not self._families:
            return Missing("no_limits", "OPTIONS and MANIFEST name no column family in common")
        return limits

    def _stalled(self, observation: ForecastObservation) -> bool | None:
        """In force now, or come and gone since the last tick: most stops last under a second."""
        entered = False
        if isinstance(observation.log, Known):
            count = sum(observation.log.value.stall_count.values())
            entered = self._stall_count is not None and count > self._stall_count
            self._stall_count = count
        if isinstance(observation.stalls, Missing):
            return True if entered else None
        return entered or bool(observation.stalls.value)


def _unknown(reason: Missing, stalled: bool | None) -> StallOutlook:
    return StallOutlook(reason, None, None, None, None, None, reason.detail, stalled)


def _in_force(
    observation: ForecastObservation, since_seconds: float, stalled: bool | None
) -> StallOutlook:
    """Nothing is left of the time to stall, between the stops of stop-and-go as well."""
    stalls = observation.stalls.value if isinstance(observation.stalls, Known) else ()
    first = stalls[0] if stalls else None
    return StallOutlook(
        Known(0.0, "log", observation.at),
        first.cause if first else None,
        first.column_family if first else None,
        0.0,
        0.0,
        "high",
        "a stall is in force" if first else f"the last stall was seen {since_seconds:.0f} s ago",
        stalled,
    )
