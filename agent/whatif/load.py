"""The load of ``whatif --put-rate ... --duration ...`` as an operator writes it. Pure."""

import math
import re
from typing import Final

from agent.whatif.change import ChangeError
from agent.whatif.whatif import Load

_RATE: Final = re.compile(r"([+\-=x])\s*([0-9][0-9_,]*(?:\.[0-9]*)?|\.[0-9]+)")
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|min|m|h|d|w)")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

MAX_PUTS_PER_SECOND: Final = 1e9
"""A thousand times what any RocksDB takes: beyond it is a slip of the keyboard."""

MAX_DURATION_SECONDS: Final = 366 * 86400.0
"""Beyond a year no present measurement says anything."""


def parse_load(rate: str, duration: str) -> Load:
    """``+20000`` on top of now, ``-5000``, ``=30000`` in all, ``x1.5`` of now; ``4h``, ``1h30m``.

    Raises ChangeError for anything else. The load's ``put_rate`` raises it too where the present
    rate is needed and unknown, or the result is negative.
    """
    seconds = _duration(duration)
    match = _RATE.fullmatch(rate.strip())
    if match is None:
        raise ChangeError(
            f"--put-rate is {rate!r}; write +20000 (on top of the present rate), -5000, =30000 "
            "(in all) or x1.5 (times the present rate)"
        )
    how, number = match[1], float(match[2].replace("_", "").replace(",", ""))

    def put_rate(present: float | None) -> float:
        if how == "=":
            wanted = number
        elif present is None:
            raise ChangeError(
                f"the present put rate is not known, so {rate} says nothing; write "
                "--put-rate =PUTS_PER_SECOND"
            )
        else:
            wanted = {"+": present + number, "-": present - number, "x": present * number}[how]
        if not 0.0 <= wanted <= MAX_PUTS_PER_SECOND:
            raise ChangeError(
                f"--put-rate {rate} makes {wanted:,.0f} puts/s; it must be 0 to "
                f"{MAX_PUTS_PER_SECOND:,.0f}"
            )
        return wanted

    return Load(f"{rate} for {duration}", put_rate, seconds)


def _duration(text: str) -> float:
    stripped = "".join(text.split())
    parts = list(_PART.finditer(stripped))
    seconds = math.fsum(float(part[1]) * _SECONDS[part[2]] for part in parts)
    whole = "".join(part[0] for part in parts) == stripped
    if not parts or not whole or not 0.0 < seconds <= MAX_DURATION_SECONDS:
        raise ChangeError(
            f"--duration is {text!r}; write 90s, 30min, 4h, 1h30m or 2d, at most a year"
        )
    return seconds
