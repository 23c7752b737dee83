"""Where calibration results are kept: one file per database (or device) in the state directory."""

import hashlib
import os
import stat

from agent.calibrate.result import CalibrationResult, decode, encode
from probes.errors import NoData, ProbeFailed
from probes.scratch import enclosing_database

_PREFIX = "calibrate-"
_SUFFIX = ".json"
_MAX_BYTES = 1048576
_MAX_FILES = 1000


def save_result(directory: str, result: CalibrationResult) -> str:
    """Write the result beside those of other databases, replacing this one's; return the path.

    Raises OSError. A reader sees the old file or the new one, never half of it.
    """
    if enclosing_database(directory, ()) is not None:
        raise PermissionError(1, "lies in a database; nothing is written there", directory)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    path = os.path.join(directory, file_name(result.database, result.device_name))
    temporary = f"{path}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o644)
        with open(descriptor, "wb") as file:
            file.write(encode(result))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    return path


class CalibrationResultsProbe:
    """Reads what ``smaxd calibrate`` left in the state directory."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory

    def read(self) -> tuple[CalibrationResult, ...]:
        """All readable results; damaged files and other formats are passed over.

        Raises NoData "not_calibrated"; ProbeFailed "calibration_unusable" when there are files, but
        none that can be used.
        """
        found, unusable = ((), ()) if self._directory is None else _load(self._directory)
        if not found and unusable:
            raise ProbeFailed(
                "calibration_unusable", f"{'; '.join(unusable)}; run smaxd calibrate again"
            )
        if not found:
            raise NoData("not_calibrated", "smaxd calibrate was not run on this host")
        return found


def _load(directory: str) -> tuple[tuple[CalibrationResult, ...], tuple[str, ...]]:
    """The readable results, and what is wrong with the other files."""
    found, unusable = [], []
    try:
        names = sorted(os.listdir(directory))[:_MAX_FILES]
    except OSError:
        return (), ()
    for name in names:
        if not (name.startswith(_PREFIX) and name.endswith(_SUFFIX)):
            continue
        path = os.path.join(directory, name)
        try:
            found.append(decode(_read(path)))
        except (OSError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors
            unusable.append(f"{path}: {error}")
    return tuple(found), tuple(unusable)


def _read(path: str) -> bytes:
    # O_NONBLOCK: a pipe in its place must not make the daemon wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a regular file")
        return os.read(descriptor, _MAX_BYTES)
    finally:
        os.close(descriptor)


def file_name(database: str | None, device_name: str) -> str:
    """Of one database's result; of the device's own where it was made without a database."""
    key = f"device {device_name}" if database is None else f"database {database}"
    return f"{_PREFIX}{hashlib.sha256(os.fsencode(key)).hexdigest()[:16]}{_SUFFIX}"
