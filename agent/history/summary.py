"""The figures of a capacity review: one database over a stretch of the past. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.explain.quantity_text import duration_text, rate_text
from agent.explain.sentence import LIMIT_WORDS, REMEDIES
from agent.history.past import Line, PastDatabase

SHORT_HEADROOM: Final = 0.2
"""Where the alert on low headroom begins by default."""

SHORT_SHARE: Final = 0.01
"""Short for less than this share of the time is the tail that every load has."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Rates in puts/s, times in seconds, ratios of 1; None where nothing is on record.

    ``recorded_seconds`` is the time that rows stand for, without gaps. Median and 95th percentile
    are over time, of what the rows hold: means over the resolution. ``put_max`` and
    ``headroom_min`` are of the finest samples. ``short_seconds`` is the time with a headroom (the
    prudent one, against the interval's lower end) under ``SHORT_HEADROOM``; ``limit`` was the
    bottleneck for most of that time, or of all time where there was none.
    """

    name: str
    recorded_seconds: float
    put_median: float | None
    put_p95: float | None
    put_max: float | None
    s_max_median: float | None
    headroom_min: float | None
    headroom_min_at: int | None
    short_seconds: float
    stopped_seconds: float | None
    delayed_seconds: float | None
    limit: str | None
    episodes: int

    @property
    def stalled_seconds(self) -> float | None:
        """Stopped or delayed."""
        if self.stopped_seconds is None and self.delayed_seconds is None:
            return None
        return (self.stopped_seconds or 0.0) + (self.delayed_seconds or 0.0)


def summarize(database: PastDatabase) -> Summary:
    """The figures of one database."""
    line = database.line
    seconds = [span for _, span in line.spans()]
    puts = _weighted(line.numbers("observed_puts_per_second"), seconds)
    s_max = _weighted(line.numbers("s_max_puts_per_second"), seconds)
    lowest = line.numbers("headroom_ratio_min")
    prudent = line.numbers("headroom_lower_ratio")
    worst = min(
        (
            (value, time)
            for time, value in zip(line.times, lowest, strict=True)
            if value is not None
        ),
        default=None,
    )
    short = [
        span if value is not None and value < SHORT_HEADROOM else 0.0
        for value, span in zip(prudent, seconds, strict=True)
    ]
    bottlenecks = line.words("bottleneck")
    return Summary(
        name=database.name,
        recorded_seconds=sum(seconds),
        put_median=quantile(puts, 0.5),
        put_p95=quantile(puts, 0.95),
        put_max=max(_known(line.numbers("observed_puts_per_second_max")), default=None),
        s_max_median=quantile(s_max, 0.5),
        headroom_min=None if worst is None else worst[0],
        headroom_min_at=None if worst is None else worst[1],
        short_seconds=sum(short),
        stopped_seconds=_total(line, "stopped_seconds"),
        delayed_seconds=_total(line, "delayed_seconds"),
        limit=_longest(bottlenecks, short) or _longest(bottlenecks, seconds),
        episodes=len(database.episodes),
    )


def suggestion(summary: Summary) -> str:
    """What to do, or that nothing needs to be done; one sentence or two."""
    if summary.headroom_min is None:
        return "No headroom is on record: neither the put rate nor S_max may have been known."
    lowest = f"at the least {100 * summary.headroom_min:.0f} % of S_max was left"
    stalled = summary.stalled_seconds or 0.0
    told = f"{lowest[0].upper()}{lowest[1:]}"
    if stalled >= 1.0:
        told += f", and writes were held back for {duration_text(stalled)}"
    is_short = summary.short_seconds >= SHORT_SHARE * max(1.0, summary.recorded_seconds)
    if not is_short:
        return f"{told}. There is room."
    told += (
        f". For {duration_text(summary.short_seconds)} less than {100 * SHORT_HEADROOM:.0f} % was "
        "left for sure"
    )
    if summary.limit in REMEDIES:
        words = LIMIT_WORDS[summary.limit]
        told += f", mostly {words if words[:3] == 'CPU' else words[0].lower() + words[1:]}"
        return f"{told}: {REMEDIES[summary.limit]}, and so does moving load away."
    return f"{told}: move load away, or find what lifts the limit with 'smaxd explain'."


def median_rate_text(summary: Summary) -> str:
    """Median, 95th percentile and maximum of the put rate."""
    figures = (summary.put_median, summary.put_p95, summary.put_max)
    return " / ".join("-" if figure is None else rate_text(figure) for figure in figures)


def quantile(weighted: Sequence[tuple[float, float]], share: float) -> float | None:
    """The value below which ``share`` of the weight lies, of (value, weight) pairs."""
    ordered = sorted(weighted)
    total = sum(weight for _, weight in ordered)
    passed = 0.0
    for value, weight in ordered:
        passed += weight
        if passed >= share * total:
            return value
    return None


def _weighted(
    values: Iterable[float | None], weights: Iterable[float]
) -> list[tuple[float, float]]:
    return [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _total(line: Line, name: str) -> float | None:
    known = list(_known(line.numbers(name)))
    return sum(known) if known else None


def _longest(words: Iterable[str | None], seconds: Iterable[float]) -> str | None:
    shares: dict[str, float] = {}
    for word, weight in zip(words, seconds, strict=True):
        if word is not None and weight > 0.0:
            shares[word] = shares.get(word, 0.0) + weight
    return max(shares, key=lambda word: shares[word], default=None)
