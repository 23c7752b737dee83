"""How early a stall was announced, and how often one that did not come."""

import math
from collections.abc import Sequence

from tests.bench.truth.results import RampRecord

Announcement = tuple[float, float]
"""Unix time, and the seconds to the stall announced then; infinite: not heading there."""


def stall_begin(ramp: RampRecord) -> float | None:
    """Unix time of the first delay or stop of a ramp; None when none came."""
    begins = [ramp.first_delayed_seconds, ramp.first_stopped_seconds]
    seen = [begin for begin in begins if begin is not None]
    return ramp.start_wall_seconds + min(seen) if seen else None


def lead_seconds(
    announced: Sequence[Announcement], ramp_start: float, stall: float
) -> float | None:
    """How long before the stall it was announced without a break until then; None: not at all.

    Only what was said between the ramp's start and the stall counts.
    """
    first: float | None = None
    for at, seconds in announced:
        if not ramp_start <= at < stall:
            continue
        if math.isinf(seconds):
            first = None
        elif first is None:
            first = at
    return None if first is None else stall - first


def false_alarms(announced: Sequence[Announcement], start: float, end: float) -> int:
    """How often a stall began to be announced between two moments of a load that had none."""
    alarms, before = 0, False
    for at, seconds in announced:
        if start <= at < end:
            now = math.isfinite(seconds)
            alarms += now and not before
            before = now
    return alarms
