"""What points to a write stall, and when it would come: the arithmetic behind the forecast.

Each function looks at one way into a stall and answers with the ``Threat``s it finds credible.
Limits are RocksDB's (db/column_family.cc, GetWriteStallConditionAndCause). Pure.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from agent.forecast.capacity_plan import SMaxInterval
from agent.forecast.series import FamilyTrends, Flushes, compaction_limits
from agent.forecast.trends import FittedRate
from probes.rocksdb.options_samples import ColumnFamilyOptions

HORIZON_SECONDS = 60.0
"""A rising put rate is followed so far ahead, as long as it was watched rising: most rises end."""


@dataclass(frozen=True, slots=True)
class Threat:
    """One way into a stall: cause, and in how many seconds (earliest and latest by its spread)."""

    cause: str
    column_family: str | None
    seconds: float
    earliest: float
    latest: float
    confidence: str
    detail: str


@dataclass(frozen=True, slots=True)
class PutRateOutlook:
    """The put rate's line, and S_max where it is known."""

    fitted: FittedRate
    s_max: SMaxInterval | None

    def at(self, seconds: float) -> float:
        """The rate so far ahead, no further than ``HORIZON_SECONDS``."""
        if not self.fitted.rising:
            return self.fitted.per_second
        ahead = min(seconds, HORIZON_SECONDS)
        return self.fitted.per_second + self.fitted.slope * ahead

    def reaches(self, rate: float) -> float | None:
        """Seconds until the rate is ``rate``, 0 when it is; None when not within the horizon."""
        if self.fitted.per_second >= rate:
            return 0.0
        if not self.fitted.rising:
            return None
        seconds = (rate - self.fitted.per_second) / self.fitted.slope
        return seconds if seconds <= HORIZON_SECONDS else None


def growth_threats(
    trends: FamilyTrends,
    options: ColumnFamilyOptions,
    rate: PutRateOutlook,
    flushes: Flushes,
    now: float,
) -> tuple[list[Threat], bool]:
    """Measured growth of L0 and pending bytes, and whether either grows at all.

    Peaks grow with a rising load even where it is sustainable, and after a start until L0 has found
    its level, so growth is believed only (a) where it lasted as long as it would still have to, and
    (b) where the put rate comes near S_max: within its interval, or S_max is not known.
    """
    files_limit, pending_limit = compaction_limits(options)
    threats: list[Threat] = []
    growing = False
    for cause, series, limit, unit in (
        ("l0_files", trends.files, files_limit, "L0 files"),
        ("pending_compaction_bytes", trends.pending, pending_limit, "pending bytes"),
    ):
        trend = series.trend()
        if trend is None or trend.slope_low <= 0:
            continue
        growing = True
        if not math.isfinite(limit):
            continue
        seconds = max(0.0, limit - trend.level) / trend.slope
        if seconds > trend.span_seconds or not _near_s_max(rate, seconds):
            continue
        threats.append(
            Threat(
                cause,
                trends.name,
                seconds,
                0.5 * seconds,
                max(0.0, limit - trend.level) / trend.slope_low,
                "medium",
                f"peaks of {unit} in {trends.name} grow by {trend.slope * 60:.3g} a minute and "
                f"stand at {trend.level:.3g} of {limit:.3g}",
            )
        )
    excursion = _excursion(trends, files_limit, rate, flushes, now)
    return ([*threats, excursion] if excursion else threats), growing


def _near_s_max(rate: PutRateOutlook, seconds: float) -> bool:
    return rate.s_max is None or rate.at(seconds) >= rate.s_max.lower


def _excursion(
    trends: FamilyTrends,
    limit: float,
    rate: PutRateOutlook,
    flushes: Flushes,
    now: float,
) -> Threat | None:
    """A rise of L0 beyond its usual peaks: does it reach the trigger before a merge ends it?

    The merge is taken to last as long as the longest of late; once it has lasted longer, as long
    again as it has lasted (the mean residual life of a heavy-tailed duration).
    """
    series = trends.files
    since, longest = series.since_fall, series.longest_cycle_seconds
    per_file = flushes.puts_per_file(trends.name)
    usual = series.highest_peak
    if since is None or longest is None or usual is None or series.value is None:
        return None
    if per_file is None or series.value <= usual:
        return None
    per_second = rate.fitted.per_second / per_file
    if not math.isfinite(limit) or per_second <= 0:
        return None
    elapsed = now - since
    remaining = longest - elapsed if elapsed < longest else elapsed
    seconds = max(0.0, limit - series.value) / per_second
    if seconds > remaining:
        return None
    if rate.s_max is not None and rate.at(seconds) < rate.s_max.puts_per_second:
        return None  # one slow merge is no trend: below S_max the next one makes up for it
    return Threat(
        "l0_files",
        trends.name,
        seconds,
        seconds,
        math.inf,
        "medium",
        f"{series.value:.0f} L0 files in {trends.name}, {per_second * 60:.3g} more a minute, and "
        f"the merge that takes them has run for {elapsed:.0f} s",
    )


def flush_threats(
    flushes: Flushes,
    families: Collection[ColumnFamilyOptions],
    rate: PutRateOutlook,
) -> list[Threat]:
    """Flushes that will take longer than filling the memtables that may wait for them.

    Writes stop when ``max_write_buffer_number`` memtables wait for their flush, the one being
    flushed included; above 3 they are delayed one earlier (column_family.cc). So a flush may take
    as long as filling one less.
    """
    threats = []
    for options in families:
        slow = flushes.slow_seconds(options.name)
        per_file = flushes.puts_per_file(options.name)
        number = options.max_write_buffer_number
        if slow is None or per_file is None or number is None or slow <= 0:
            continue
        spare = number - 2 if number > 3 else number - 1
        if spare < 1:
            continue
        limit = spare * per_file / slow  # puts/s at which filling is as fast as flushing
        seconds = rate.reaches(limit)
        if seconds is None or not _near_s_max(rate, seconds):
            continue
        threats.append(
            Threat(
                "memtables",
                options.name,
                seconds,
                0.0,
                math.inf,
                "medium",
                f"flushes of {options.name} take up to {slow:.1f} s, which is enough to fill "
                f"{spare} memtable(s) at {limit:,.0f} puts/s",
            )
        )
    return threats


def put_rate_threat(
    rate: PutRateOutlook,
    families: Mapping[str, FamilyTrends],
    limits: Mapping[str, ColumnFamilyOptions],
    flushes: Flushes,
    *,
    growing: bool,
) -> Threat | None:
    """The put rate above S_max, now or soon: the excess fills what room is left in L0.

    A steady rate within S_max's interval needs measured growth beside it; above the interval, or
    rising through S_max, it speaks for itself.
    """
    if rate.s_max is None:
        return None
    value = _overload_seconds(rate, rate.s_max.puts_per_second, families, limits, flushes)
    if value is None:
        return None
    above = rate.fitted.per_second > rate.s_max.upper
    if not (above or rate.fitted.rising or growing):
        return None
    earliest = _overload_seconds(rate, rate.s_max.lower, families, limits, flushes)
    latest = _overload_seconds(rate, rate.s_max.upper, families, limits, flushes)
    return Threat(
        "put_rate_above_s_max",
        None,
        value,
        0.0 if earliest is None else earliest,
        math.inf if latest is None else latest,
        "medium" if above or growing else "low",
        f"{rate.fitted.per_second:,.0f} puts/s"
        + (f", {rate.fitted.slope * 60:,.0f} more every minute," if rate.fitted.rising else "")
        + f" against a sustainable {rate.s_max.puts_per_second:,.0f}",
    )


def _overload_seconds(
    rate: PutRateOutlook,
    sustainable: float,
    families: Mapping[str, FamilyTrends],
    limits: Mapping[str, ColumnFamilyOptions],
    flushes: Flushes,
) -> float | None:
    """Until the put rate has been above ``sustainable`` for long enough to fill L0's room.

    The excess grows with a rising rate: slope/2 * t^2 + excess * t = room.
    """
    crossing = rate.reaches(sustainable)
    if crossing is None:
        return None
    room = math.inf
    for name, trends in families.items():
        per_file = flushes.puts_per_file(name)
        limit, _ = compaction_limits(limits[name])
        trend = trends.files.trend()
        level = max(trends.files.value or 0.0, trend.level if trend else 0.0)
        if per_file is not None and math.isfinite(limit):
            room = min(room, max(0.0, limit - level) * per_file)
    if not math.isfinite(room):
        return crossing
    excess = max(0.0, rate.fitted.per_second - sustainable)
    slope = rate.fitted.slope if rate.fitted.rising else 0.0
    if slope <= 0:
        return crossing + room / excess if excess > 0 else None
    return crossing + (math.sqrt(excess**2 + 2.0 * slope * room) - excess) / slope
