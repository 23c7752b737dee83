"""The pause's file in the agent's state directory: written by the command, read by the daemon."""

import os
from typing import Final

from agent.atomic_file import AtomicFile, UnusableFile
from agent.probing.pause import DamagedPause, Pause, PauseCountdown, decode_pause, encode_pause
from probes.clock import Clock
from probes.errors import NoData, ProbeFailed

FILE_NAME: Final = "pause.json"
MAX_BYTES: Final = 4096


def write_pause(directory: str, pause: Pause) -> str:
    """Write it, replacing an older one, and return its path. Raises OSError.

    Written by root into another user's directory, it is given to that user, whose daemon reads it.
    """
    file = AtomicFile(directory, FILE_NAME)
    file.write(encode_pause(pause), to_owner=True)
    return file.path


def remove_pause(directory: str) -> bool:
    """End the pause; False when there was no file. Raises OSError."""
    try:
        os.unlink(os.path.join(directory, FILE_NAME))
    except FileNotFoundError:
        return False
    return True


class PauseProbe:
    """Reads the pause in ``directory`` (None: nowhere)."""

    def __init__(self, directory: str | None, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._countdown = PauseCountdown()

    def read(self) -> float:
        """Seconds for which the operator wants no probe.

        Raises NoData "not_paused", also when it is over; ProbeFailed "pause_unusable" for a file
        that is damaged or another user's: it may be a pause, so whoever would write waits.
        """
        pause = self._pause()
        left = self._countdown.remaining_seconds(pause, self._clock.monotonic(), self._clock.wall())
        if left <= 0.0:
            raise NoData("not_paused", "the operator has not paused the probes")
        return left

    def _pause(self) -> Pause | None:
        if self._directory is None:
            return None
        file = AtomicFile(self._directory, FILE_NAME)
        try:
            return decode_pause(file.read(MAX_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, UnusableFile, DamagedPause) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise ProbeFailed(
                "pause_unusable", f"{file.path}: {why}; remove it, or pause again"
            ) from error
