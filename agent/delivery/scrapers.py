"""Who fetches /metrics, how often, and whether nobody does any more. Pure.

Only what calls itself a scraper counts (``SCRAPE_HEADER``, which Prometheus, its agents and vmagent
send): somebody who looks at the page with curl will raise no alert.
"""

import statistics
from dataclasses import dataclass, replace
from typing import Final

SCRAPE_HEADER: Final = "x-prometheus-scrape-timeout-seconds"

MAX_SCRAPERS: Final = 16
"""Those seen last; more do not fetch from one host."""

KEPT_GAPS: Final = 9
"""The usual interval is the median of so many: a few missed scrapes do not change it."""

ASSUMED_INTERVAL_SECONDS: Final = 60.0
"""Prometheus's default, until a scraper has come twice."""

INTERVAL_BOUNDS_SECONDS: Final = (1.0, 300.0)
"""A scraper that comes less often than this raises alerts too late to rely on."""


@dataclass(frozen=True, slots=True)
class Scraper:
    """One address that fetches the page; ``last`` in monotonic seconds."""

    client: str
    last: float
    gaps: tuple[float, ...] = ()

    @property
    def usual_seconds(self) -> float:
        """Its usual interval."""
        usual = statistics.median(self.gaps) if self.gaps else ASSUMED_INTERVAL_SECONDS
        lowest, highest = INTERVAL_BOUNDS_SECONDS
        return min(max(usual, lowest), highest)


@dataclass(frozen=True, slots=True)
class Scrapes:
    """All of them, the one seen last at the end."""

    scrapers: tuple[Scraper, ...] = ()

    def saw(self, client: str, at: float) -> "Scrapes":
        """After one more scrape."""
        known = next((one for one in self.scrapers if one.client == client), None)
        others = tuple(one for one in self.scrapers if one.client != client)
        if known is None:
            seen = Scraper(client, at)
        else:
            gaps = (*known.gaps, at - known.last)[-KEPT_GAPS:]
            seen = replace(known, last=at, gaps=gaps)
        return Scrapes((*others, seen)[-MAX_SCRAPERS:])


@dataclass(frozen=True, slots=True)
class ScraperView:
    """``seconds_since`` the last scrape is None while there was none."""

    absent: bool
    seconds_since: float | None


def view(
    scrapes: Scrapes, now: float, started_at: float, absent_intervals: float, grace_seconds: float
) -> ScraperView:
    """Whether every scraper known has been away for ``absent_intervals`` of its usual intervals.

    One that was never seen counts as absent ``grace_seconds`` after ``started_at``.
    """
    if not scrapes.scrapers:
        return ScraperView(now - started_at > grace_seconds, None)
    absent = all(now - one.last > absent_intervals * one.usual_seconds for one in scrapes.scrapers)
    return ScraperView(absent, now - max(one.last for one in scrapes.scrapers))
