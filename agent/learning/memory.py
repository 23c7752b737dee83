"""Everything that was learned, as it is written down: typed, versioned, pure.

`encode(state) -> bytes`, `decode(raw) -> LearnedState` (raises `UnknownVersion`, `Damaged`).

What becomes of it when the host changes, by rule:

- Databases are found again by their path. The same directory on a device of another size or model
  is another device: its labels are kept but do not count until that device is back. The device's
  name alone means nothing, for kernels hand names out anew at every boot.
- Labels that were measured under other options count a quarter, and the interval is widened
  (agent.learning.calibration).
- A device's best known capacity belongs to (name of its model, size), or, where the kernel tells no
  model, to its name and size.
- What was not seen for KEPT_SECONDS is forgotten, and so are the oldest above MAX_ENTRIES.
"""

from typing import Final

import msgspec

from agent.learning.labels import Label

VERSION: Final = 1
"""Grows when an older program could misread the file, and only then: fields are only added."""

KEPT_SECONDS: Final = 180 * 86400.0
MAX_ENTRIES: Final = 256


class DeviceIdentity(msgspec.Struct, frozen=True):
    """What tells a device from another across boots; ``model`` as the kernel shows it."""

    name: str
    size_bytes: int
    model: str | None = None

    @property
    def key(self) -> str:
        """Equal for the same device under another name, where its model is known."""
        return f"{self.model or self.name}/{self.size_bytes}"


class DatabaseMemory(msgspec.Struct, frozen=True):
    """What was learned of a database; ``episodes_total`` counts saturation, not floors."""

    path: str
    device: DeviceIdentity
    options_key: str
    labels: tuple[Label, ...]
    episodes_total: int
    recommended: str | None
    seen_wall_seconds: float


class DeviceMemory(msgspec.Struct, frozen=True):
    """The best capacity that a device was ever measured at: what its decline is told by."""

    device: DeviceIdentity
    baseline_bytes_per_second: float
    measured_wall_seconds: float
    seen_wall_seconds: float


class LearnedState(msgspec.Struct, frozen=True):
    """The whole file."""

    version: int = VERSION
    saved_wall_seconds: float = 0.0
    databases: tuple[DatabaseMemory, ...] = ()
    devices: tuple[DeviceMemory, ...] = ()


class UnknownVersion(ValueError):
    """The file was written by another version of the program; the message says which."""


class Damaged(ValueError):
    """The file is not what any version writes; the message says where."""


class _Header(msgspec.Struct):
    version: int


def encode(state: LearnedState) -> bytes:
    """The bytes to be written: JSON, one line."""
    return msgspec.json.encode(state) + b"\n"


def decode(raw: bytes) -> LearnedState:
    """The state again. UnknownVersion and Damaged as their names say."""
    try:
        version = msgspec.json.decode(raw, type=_Header).version
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from error
    if version != VERSION:
        raise UnknownVersion(f"version {version}, this program writes {VERSION}")
    try:
        state = msgspec.json.decode(raw, type=LearnedState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from error
    problem = _problem(state)
    if problem is not None:
        raise Damaged(problem)
    return state


def _problem(state: LearnedState) -> str | None:
    """Why a well-formed state cannot be true: every rate and width enters a logarithm."""
    for database in state.databases:
        for label in database.labels:
            if not label.puts_per_second > 0 or not label.log_uncertainty > 0:
                return f"a label of {database.path} has no positive rate"
            for p in label.predictions:
                if not (p.raw > 0 and 0 < p.lower < p.upper and p.published > 0):
                    return f"a prediction for {database.path} has no positive rate or interval"
    for device in state.devices:
        if not device.baseline_bytes_per_second > 0:
            return f"the baseline of {device.device.name} is not positive"
    return None


def pruned(state: LearnedState, wall_seconds: float) -> LearnedState:
    """Without what was not seen for long, and with the latest MAX_ENTRIES of each kind only."""
    oldest = wall_seconds - KEPT_SECONDS
    databases = [entry for entry in state.databases if entry.seen_wall_seconds >= oldest]
    devices = [entry for entry in state.devices if entry.seen_wall_seconds >= oldest]
    databases.sort(key=lambda entry: entry.seen_wall_seconds)
    devices.sort(key=lambda entry: entry.seen_wall_seconds)
    return LearnedState(
        version=VERSION,
        saved_wall_seconds=wall_seconds,
        databases=tuple(databases[-MAX_ENTRIES:]),
        devices=tuple(devices[-MAX_ENTRIES:]),
    )
