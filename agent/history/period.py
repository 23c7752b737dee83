"""``--since`` and ``--until`` as people write them. Pure but for the zone of the host's clock."""

import re
from datetime import datetime

from agent.history.past import InvalidPeriod

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}

_AGO = re.compile(r"(\d{1,9})([smhdwy])", re.ASCII)


def moment(text: str, now: int) -> int:
    """Unix time of "24h" (so long ago), "now", or a date and time in ISO form, local if no zone.

    Raises InvalidPeriod.
    """
    text = text.strip()
    if text == "now":
        return now
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0, now - int(ago[1]) * UNIT_SECONDS[ago[2]])
    try:
        return max(0, int(datetime.fromisoformat(text).timestamp()))
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidPeriod(
            f"{text!r} is no time: say 90m, 24h, 7d (ago), or 2026-03-01T08:30"
        ) from error


def period(since: str, until: str, now: int) -> tuple[int, int]:
    """Both ends, none after now. Raises InvalidPeriod, also when nothing is between them."""
    begin, end = moment(since, now), min(now, moment(until, now))
    if begin >= end:
        raise InvalidPeriod(f"--since {since} is not before --until {until}, or not before now")
    return begin, end
