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

import math
from typing import Final

import msgspec

from agent.learning.labels import Label

VERSION: Final = 1
"""Grows when an older program could misread the file, and only then: fields are only added."""

RATES: Final = (1e-60, 1e60)
"""Puts or bytes per second beyond these were never measured; their logarithms would be."""

LOG_WIDTHS: Final = (1e-6, 100.0)

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

    @property
    def nameless_key(self) -> str:
        """The key under which it was kept while its model was not read."""
        return f"{self.name}/{self.size_bytes}"


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
    """The bytes to be written: JSON, one line. Databases whose path is no valid UTF-8 are left out:
    JSON cannot hold them."""
    try:
        return msgspec.json.encode(state) + b"\n"
    except UnicodeEncodeError:
        kept = tuple(entry for entry in state.databases if _is_text(entry.path))
        return msgspec.json.encode(msgspec.structs.replace(state, databases=kept)) + b"\n"


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(raw: bytes) -> LearnedState:
    """The state again. UnknownVersion and Damaged as their names say."""
    try:
        version = msgspec.json.decode(raw, type=_Header).version
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(str(error)) from error
    if version != VERSION:
        raise UnknownVersion(f"version {version}, this program writes {VERSION}")
    try:
        state = msgspec.json.decode(raw, type=LearnedState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(str(error)) from error
    wrong = problem(state)
    if wrong is not None:
        raise Damaged(wrong)
    return state


def problem(state: LearnedState) -> str | None:
    """Why a well-formed state cannot be true: every rate and width enters a logarithm."""
    for database in state.databases:
        if database.episodes_total < 0:
            return f"{database.path} has {database.episodes_total} episodes"
        for label in database.labels:
            if not _within(RATES, label.puts_per_second):
                return f"a label of {database.path} has no positive rate that can be"
            if not _within(LOG_WIDTHS, label.log_uncertainty):
                return f"a label of {database.path} has no positive uncertainty that can be"
            for p in label.predictions:
                rates = (p.raw, p.published, p.lower, p.upper)
                if not (all(_within(RATES, rate) for rate in rates) and p.lower < p.upper):
                    return f"a prediction for {database.path} has no positive rate or interval"
                if p.log_half_width is not None and not 0.0 <= p.log_half_width < math.inf:
                    return f"a prediction for {database.path} has no width that can be"
    identities = [entry.device for entry in state.databases]
    identities += [entry.device for entry in state.devices]
    for identity in identities:
        if identity.size_bytes < 0:
            return f"{identity.name} has {identity.size_bytes} bytes"
    for device in state.devices:
        if not _within(RATES, device.baseline_bytes_per_second):
            return f"the baseline of {device.device.name} is not positive, or cannot be"
    return None


def _within(limits: tuple[float, float], value: float) -> bool:
    return limits[0] <= value <= limits[1]


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
