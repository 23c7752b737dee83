"""Numbers as people read them: rates, bytes, durations, bandwidths. Pure."""

import math

from agent.models.prediction import MIB

MB = 1e6


def rate_text(per_second: float) -> str:
    """Puts/s with separators: 20,400."""
    return f"{per_second:,.0f}"


def byte_text(value: float) -> str:
    """Whole bytes up to 10 KiB, then binary units: 4,782 B, 1.9 GiB."""
    if abs(value) < 10240.0:
        return f"{value:,.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024.0
        if abs(value) < 1024.0:
            return f"{value:,.1f} {unit}"
    return f"{value / 1024.0:,.1f} TiB"


def bandwidth_text(bytes_per_second: float) -> str:
    """MiB/s, and MB/s beside it, since drives are sold in the latter."""
    return f"{bytes_per_second / MIB:,.1f} MiB/s ({bytes_per_second / MB:,.1f} MB/s)"


def duration_text(seconds: float) -> str:
    """The coarsest unit that still says something: 45 s, 12 min, 3.5 h, 2.1 d."""
    if not math.isfinite(seconds):
        return "never"
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.0f} min"
    if seconds < 172800.0:
        return f"{seconds / 3600.0:.1f} h"
    return f"{seconds / 86400.0:.1f} d"
