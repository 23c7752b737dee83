"""Everything that was learned, as it is written down: typed, versioned, pure.

`encode(state) -> bytes`, `decode(raw) -> LearnedState` (raises `DamagedState`).

What becomes of it when the host changes, by rule:

- Databases are found again by their path. The same directory on a device of another size or model
  is another device: its labels are kept but do not count until that device is back. The device's
  name alone means nothing, for kernels hand names out anew at every boot.
- Labels that were measured under other options count a quarter, and the interval is widened
  (agent.learning.calibration).
- A device's best known capacity belongs to (name of its model, size), or, where the kernel tells no
  model, to its name and size.
- What was last measured of a device, and how fio fared on it, belongs to the same. Where the kernel
  tells no model, the measurement itself counts only until the device is detached or the host boots
  anew: after that, another device of this size may have this name.
- Moments are kept by the wall clock. Where that went back since, no age can be told: what was
  measured then is old, and what is waited for begins anew.
- What was not seen for KEPT_SECONDS is forgotten, and so are the oldest above MAX_ENTRIES.
"""

import math
from typing import Final, Self

import msgspec

from agent.learning.labels import Label
from agent.versioned import DamagedState, decode_versioned
from probes.samples import BlockDeviceSample

VERSION: Final = 1
"""Grows when an older program could misread the file, and only then: fields are only added."""

RATES: Final = (1e-60, 1e60)
"""Puts or bytes per second beyond these were never measured; their logarithms would be."""

LOG_WIDTHS: Final = (1e-6, 100.0)

KEPT_SECONDS: Final = 180 * 86400.0
MAX_ENTRIES: Final = 256


class DeviceIdentity(msgspec.Struct, frozen=True):
    """What tells a device from another; ``model`` and ``instance`` as in ``BlockDeviceSample``."""

    name: str
    size_bytes: int
    model: str | None = None
    instance: str | None = None

    @classmethod
    def of(cls, sample: BlockDeviceSample) -> Self:
        """As it was seen."""
        return cls(sample.device.name, sample.size_bytes, sample.model, sample.instance)

    @property
    def key(self) -> str:
        """Equal for the same device under another name, where its model is known."""
        return f"{self.model or self.name}/{self.size_bytes}"

    @property
    def lasting(self) -> bool:
        """Whether the same key after a boot means the same device."""
        return self.model is not None

    def is_surely(self, later: "DeviceIdentity") -> bool:
        """Whether what has this key later is the same device."""
        return self.key == later.key and (
            self.lasting or (self.instance is not None and self.instance == later.instance)
        )

    def differs(self, later: "DeviceIdentity") -> bool:
        """Whether what has this name later is another device, for all that can be told."""
        if self.size_bytes != later.size_bytes:
            return True
        if self.lasting and later.lasting:
            return self.model != later.model
        return None not in {self.instance, later.instance} and self.instance != later.instance

    def seen_again(self, later: Self) -> Self:
        """The same device later; what could not be read of it then stays as it was known."""
        return msgspec.structs.replace(
            later, model=later.model or self.model, instance=later.instance or self.instance
        )

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


class CapacityMemory(msgspec.Struct, frozen=True):
    """The measurement of a device that is in force, before caps; its time by the wall clock."""

    bytes_per_second: float
    spread_ratio: float | None
    lower_bound: bool
    source: str
    measured_wall_seconds: float


class RunsMemory(msgspec.Struct, frozen=True):
    """How fio fared on a device (agent.probing.past_runs); times by the wall clock."""

    long_run_done: bool = False
    fruitless: int = 0  # runs in a row of which nothing is left
    outcome: str | None = None  # of the last one
    ended_wall_seconds: float | None = None
    running_since_wall_seconds: float | None = None


class ProbingMemory(msgspec.Struct, frozen=True):
    """What a device's next run depends on; noted at ``seen_wall_seconds``."""

    device: DeviceIdentity
    capacity: CapacityMemory | None
    runs: RunsMemory
    seen_wall_seconds: float

    def age_seconds(self, then_wall_seconds: float, wall_seconds: float) -> float | None:
        """How long ago a moment was that is noted here; None: the clock was set back since."""
        if wall_seconds < max(then_wall_seconds, self.seen_wall_seconds):
            return None
        return wall_seconds - then_wall_seconds


class LearnedState(msgspec.Struct, frozen=True):
    """The whole file."""

    version: int = VERSION
    saved_wall_seconds: float = 0.0
    databases: tuple[DatabaseMemory, ...] = ()
    devices: tuple[DeviceMemory, ...] = ()
    probing: tuple[ProbingMemory, ...] = ()


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
    """The state again. DamagedState, also for what cannot be true."""
    state = decode_versioned(raw, VERSION, LearnedState)
    wrong = problem(state)
    if wrong is not None:
        raise DamagedState(wrong)
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
    identities += [entry.device for entry in state.probing]
    for identity in identities:
        if identity.size_bytes < 0:
            return f"{identity.name} has {identity.size_bytes} bytes"
    for device in state.devices:
        if not _within(RATES, device.baseline_bytes_per_second):
            return f"the baseline of {device.device.name} is not positive, or cannot be"
    for probed in state.probing:
        capacity = probed.capacity
        if capacity is not None and not (
            _within(RATES, capacity.bytes_per_second) and (capacity.spread_ratio or 0.0) >= 0.0
        ):
            return f"the capacity of {probed.device.name} is not positive, or cannot be"
        if probed.runs.fruitless < 0:
            return f"{probed.device.name} has {probed.runs.fruitless} runs without a result"
    return None


def _within(limits: tuple[float, float], value: float) -> bool:
    return limits[0] <= value <= limits[1]


def pruned(state: LearnedState, wall_seconds: float) -> LearnedState:
    """Without what was not seen for long, and with the latest MAX_ENTRIES of each kind only."""
    oldest = wall_seconds - KEPT_SECONDS
    databases = [entry for entry in state.databases if entry.seen_wall_seconds >= oldest]
    devices = [entry for entry in state.devices if entry.seen_wall_seconds >= oldest]
    probing = [entry for entry in state.probing if entry.seen_wall_seconds >= oldest]
    databases.sort(key=lambda entry: entry.seen_wall_seconds)
    devices.sort(key=lambda entry: entry.seen_wall_seconds)
    probing.sort(key=lambda entry: entry.seen_wall_seconds)
    return LearnedState(
        version=VERSION,
        saved_wall_seconds=wall_seconds,
        databases=tuple(databases[-MAX_ENTRIES:]),
        devices=tuple(devices[-MAX_ENTRIES:]),
        probing=tuple(probing[-MAX_ENTRIES:]),
    )
