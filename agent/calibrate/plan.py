"""What a calibration may write and how its time is spent: pure arithmetic, decided beforehand."""

import math
from dataclasses import dataclass
from typing import Final, Literal

MIB: Final = 1048576
GIB: Final = 1073741824

WEAR_BUDGET_RATIO: Final = 0.001
"""Share of the drive's capacity that may be written per day without asking (DESIGN section 4)."""

LEAST_WEAR_BUDGET_BYTES: Final = 256 * MIB
"""And at least so much, on small drives."""

ASSUMED_WRITE_BYTES_PER_SECOND: Final = 512 * MIB
"""For the default cap where no limit of the device is known: what a SATA drive takes. On a faster
drive the cap ends the run before its time, which --max-gib changes: better asked for than taken."""

CAP_MARGIN_RATIO: Final = 1.2
"""Where the limit is known: throttles let bursts pass, and both ends of the run are rounded."""

LEAST_USEFUL_BYTES: Final = 64 * MIB
"""A run of fewer bytes would end before its first flush was compacted."""

LEAST_FREE_RATIO: Final = 0.05
LEAST_FREE_BYTES: Final = GIB
"""What stays free: this share of the file system, or so much where that is at most a tenth of it;
the same as for fio's probes."""

FILL_RATIO: Final = 0.3
"""The longest share of the time for building up debt; the first stall ends it sooner."""

CHECK_RATIO: Final = 0.2
"""Share of the time for the open-loop check, and of the bytes that are kept back for it."""

SETTLE_RATIO: Final = 0.1
"""The longest share of the time in which saturation's debt may drain before that check."""

CHECK_LOAD_RATIO: Final = 0.95
"""The open-loop check offers this share of the measured rate (Luo & Carey, VLDB 2019)."""

KEY_BYTES: Final = 16
DEFAULT_VALUE_BYTES: Final = 1024
"""Without a watched database: the reference experiment's records."""

BATCH_BYTES: Final = 64 * 1024
BATCH_PUTS: Final = 64
"""A batch is at most this: as much as a busy group commit carries, and well below the size of
write group (1 MiB) that RocksDB itself forms."""

KeyOrder = Literal["random", "sequential"]


def wear_budget_bytes(drive_bytes: int) -> int:
    """Bytes per day that may be written to a drive of this size without asking."""
    return max(LEAST_WEAR_BUDGET_BYTES, int(WEAR_BUDGET_RATIO * drive_bytes))


def must_stay_free_bytes(file_system_bytes: int) -> int:
    """Bytes of a file system that no run may touch."""
    return int(
        max(LEAST_FREE_RATIO * file_system_bytes, min(LEAST_FREE_BYTES, 0.1 * file_system_bytes))
    )


def default_cap_bytes(seconds: float, limit_bytes_per_second: float | None) -> int:
    """The most a run of this length writes: by the device's known limit, else by the assumption."""
    if limit_bytes_per_second is None:
        return int(seconds * ASSUMED_WRITE_BYTES_PER_SECOND)
    return int(seconds * limit_bytes_per_second * CAP_MARGIN_RATIO)


@dataclass(frozen=True, slots=True)
class WriteCap:
    """The hard limit of a run, bytes; ``lowered_for_space`` when free space made it smaller."""

    bytes: int
    lowered_for_space: bool


def write_cap(wanted_bytes: int, free_bytes: int, file_system_bytes: int) -> WriteCap | None:
    """What may be written: everything could still lie on the disk at the end, so no more than is
    free beyond what must stay free. None: too little for a measurement."""
    room = free_bytes - must_stay_free_bytes(file_system_bytes)
    cap = WriteCap(min(wanted_bytes, room), lowered_for_space=room < wanted_bytes)
    return None if cap.bytes < LEAST_USEFUL_BYTES else cap


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each phase ends at the latest: seconds and written bytes since the run's start."""

    fill_seconds: float
    saturate_seconds: float
    settle_seconds: float
    total_seconds: float
    fill_bytes: int
    saturate_bytes: int
    cap_bytes: int


def schedule(total_seconds: float, cap_bytes: int) -> Schedule:
    """Divide time and bytes among fill, saturation and check."""
    check = CHECK_RATIO * total_seconds
    settle = SETTLE_RATIO * total_seconds
    return Schedule(
        fill_seconds=FILL_RATIO * total_seconds,
        saturate_seconds=total_seconds - check - settle,
        settle_seconds=total_seconds - check,
        total_seconds=total_seconds,
        fill_bytes=int(FILL_RATIO * cap_bytes),
        saturate_bytes=int((1.0 - CHECK_RATIO) * cap_bytes),
        cap_bytes=cap_bytes,
    )


def batch_puts(record_bytes: int) -> int:
    """How many puts of this size go into one write batch."""
    return max(1, min(BATCH_PUTS, BATCH_BYTES // max(1, record_bytes)))


def key_and_value_bytes(record_bytes: float) -> tuple[int, int]:
    """Divide a record: a key of ``KEY_BYTES`` (half of very small records), the rest is value."""
    whole = max(2, math.floor(record_bytes + 0.5))
    key = min(KEY_BYTES, whole // 2)
    # Below 8 bytes random keys would meet again and again, which is another workload.
    key = max(min(8, whole - 1), key)
    return key, whole - key


def incompressible_ratio(flushed_bytes: float, user_bytes: float, *, compressed: bool) -> float:
    """Share of a value that is random, from what the watched database's flushes made of theirs.

    1 without compression, where it cannot be seen and plays no part.
    """
    if not compressed or user_bytes <= 0 or flushed_bytes <= 0:
        return 1.0
    return min(1.0, max(0.01, flushed_bytes / user_bytes))
