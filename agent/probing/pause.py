"""The operator's pause of everything that writes to measure: its length, and its file. Pure.

There is no pause without an end: a forgotten one would leave the capacity unmeasured for good.
"""

import re
from dataclasses import dataclass
from typing import Final

import msgspec

LONGEST_SECONDS: Final = 30 * 86400.0

_DURATION: Final = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNIT_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Pause:
    """From when to when, Unix time; ``uid`` is the user who asked for it."""

    since_wall_seconds: float
    until_wall_seconds: float
    uid: int

    @property
    def seconds(self) -> float:
        """How long it was meant to be."""
        return self.until_wall_seconds - self.since_wall_seconds

    def remaining_seconds(self, wall_seconds: float) -> float:
        """How much of it is left by the wall clock; a clock set back does not make it longer."""
        return max(0.0, min(self.seconds, self.until_wall_seconds - wall_seconds))


class InvalidDuration(ValueError):
    """A duration that cannot be read; the message says what can."""


class DamagedPause(ValueError):
    """The content of a pause file that is none."""


def parse_duration(text: str) -> float:
    """Seconds of "90s", "30m", "2h" or "1d", at most 30 days. Raises InvalidDuration."""
    found = _DURATION.fullmatch(text.strip())
    seconds = int(found[1]) * _UNIT_SECONDS[found[2]] if found else 0.0
    if not 0.0 < seconds <= LONGEST_SECONDS:
        raise InvalidDuration(f"{text!r} is no duration of 1s to 30d, such as 90s, 30m, 2h or 1d")
    return seconds


def encode_pause(pause: Pause) -> bytes:
    """The file's content."""
    return msgspec.json.encode(pause) + b"\n"


def decode_pause(content: bytes) -> Pause:
    """The pause in a file's content. Raises DamagedPause."""
    try:
        pause = msgspec.json.decode(content, type=Pause)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DamagedPause(f"it is no pause: {error}") from error
    # Written so that NaN fails, too; a second more for rounding.
    if not 0.0 < pause.seconds <= LONGEST_SECONDS + 1.0:
        raise DamagedPause("its length is not between 0 and 30 days")
    return pause


class PauseCountdown:
    """How much of a pause is left, whatever the wall clock does meanwhile.

    The wall clock is asked once, when a pause is first seen (or seen again after a restart of the
    agent); from then on the monotonic clock counts. So a wall clock that jumps neither ends a
    pause nor prolongs it, except by as much as it jumps while no agent runs, and then never beyond
    the whole length anew. Time in which the machine sleeps does not count.
    """

    def __init__(self) -> None:
        self._pause: Pause | None = None
        self._ends_at = 0.0

    def remaining_seconds(self, pause: Pause | None, now: float, wall_seconds: float) -> float:
        """Seconds left of what the file holds (None: no file) at monotonic ``now``; 0: none."""
        if pause is None:
            self._pause = None
            return 0.0
        if pause != self._pause:
            self._pause = pause
            self._ends_at = now + pause.remaining_seconds(wall_seconds)
        return max(0.0, min(pause.seconds, self._ends_at - now))
