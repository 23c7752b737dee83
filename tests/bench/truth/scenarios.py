"""The grid: what varies, and by how much. A third is held out, chosen by a hash of the name."""

import hashlib
from dataclasses import dataclass, fields
from typing import Final, Literal

MIB: Final = 1 << 20
GIB: Final = 1 << 30
KEY_BYTES: Final = 16

FILL_SECONDS: Final = 15.0
"""A database holds what the device writes in this time: a random fill then takes about a minute."""

SMALLEST_DATA_BYTES: Final = 700 * MIB
LARGEST_DATA_BYTES: Final = 2560 * MIB
LOADED_SECONDS: Final = 520.0
"""An upper bound of the time at full rate, for the space that a growing database needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One point of the grid; the defaults are the common case. MB is 1e6 bytes, as of drives."""

    name: str
    device_mb_per_second: float = 100.0
    device_read_mb_per_second: float | None = None  # None: reads are not throttled
    value_bytes: int = 1024
    compression: Literal["none", "lz4", "zstd"] = "none"
    style: Literal["level", "universal"] = "level"
    dynamic_levels: bool = (
        False  # level_compaction_dynamic_level_bytes, RocksDB's default since 8.4
    )
    writers: int = 4
    memtable_mib: int = 64
    jobs: int = 2
    subcompactions: int = 1
    wal: Literal["on", "off", "sync"] = "on"
    pattern: Literal["overwrite", "sequential", "deletes"] = "overwrite"
    reads_per_second: float = 0.0
    rate_limiter_mb_per_second: float = 0.0  # RocksDB's own; 0: none
    foreign_mb_per_second: float = 0.0
    halves: bool = False  # the device halves in the middle of the load before the answer
    limit_visible: bool = True  # whether the agent can read the device's limit from its cgroup
    load_ratio: float = 0.30  # before the answer, of the provisional rate

    @property
    def held_out(self) -> bool:
        """Whether it is kept aside while models are made."""
        return hashlib.sha256(self.name.encode()).digest()[0] % 3 == 0

    def differences(self, other: "Scenario") -> str:
        """The parameters in which it differs from another, as words."""
        return ", ".join(
            f"{field.name} {getattr(self, field.name)}"
            for field in fields(self)
            if field.name != "name" and getattr(self, field.name) != getattr(other, field.name)
        )

    @property
    def keys(self) -> int:
        """How many keys the fill writes."""
        stored = self.device_mb_per_second * 1e6 * FILL_SECONDS
        data = min(LARGEST_DATA_BYTES, max(SMALLEST_DATA_BYTES, stored))
        # Small records cost CPU, not bandwidth, to fill.
        most = 8_000_000
        return min(most, int(data / (KEY_BYTES + self.value_bytes)))

    @property
    def saturating_writers(self) -> int:
        """One where one writer is the point, else enough to fill the write path."""
        return 1 if self.writers == 1 else max(4, self.writers)

    @property
    def image_bytes(self) -> int:
        """Size of the device: the data, its copies in compaction, L0, the WAL, fio's file."""
        data = self.keys * (KEY_BYTES + self.value_bytes)
        if self.pattern == "sequential":
            # It grows: half of what is written are tables, half is the WAL.
            data += int(self.device_mb_per_second * 1e6 / 2 * LOADED_SECONDS)
        # At saturation L0 and a compaction's output stand beside the data.
        copies = 1 if self.pattern == "sequential" else 4
        return copies * data + 5 * GIB

    def rocksdb_options(self) -> str:
        """The options that differ from RocksDB's defaults, in the form of GetOptionsFromString."""
        compression = {"none": "kNoCompression", "lz4": "kLZ4Compression", "zstd": "kZSTD"}
        options = {
            "write_buffer_size": self.memtable_mib * MIB,
            "max_background_jobs": self.jobs,
            "max_subcompactions": self.subcompactions,
            "compression": compression[self.compression],
            "compaction_style": f"kCompactionStyle{self.style.capitalize()}",
            "level_compaction_dynamic_level_bytes": str(self.dynamic_levels).lower(),
            # Keeps the writes in the cgroup: what the kernel's flusher writes back is nobody's.
            "use_direct_io_for_flush_and_compaction": "true",
            "wal_bytes_per_sync": MIB,
            "bytes_per_sync": MIB,
        }
        if self.reads_per_second:
            options["use_direct_reads"] = "true"
        return ";".join(f"{name}={value}" for name, value in options.items())

    def driver_flags(self) -> list[str]:
        """The load driver's flags, without the database."""
        flags: dict[str, object] = {
            "--options": self.rocksdb_options(),
            "--keys": self.keys,
            "--value-bytes": self.value_bytes,
            "--pattern": self.pattern,
            "--writers": self.saturating_writers,
            "--wal": self.wal,
            "--rate-limiter-bytes": self.rate_limiter_mb_per_second * 1e6,
        }
        if self.reads_per_second:
            flags |= {"--readers": 2, "--reads-per-second": self.reads_per_second}
        return [str(word) for pair in flags.items() for word in pair]


SCENARIOS: Final = (
    Scenario(name="base"),
    # The device.
    Scenario(name="device-60", device_mb_per_second=60),
    Scenario(name="device-200", device_mb_per_second=200, jobs=4),
    Scenario(name="device-400-jobs-6", device_mb_per_second=400, jobs=6),
    Scenario(name="device-600-value-8k", device_mb_per_second=600, value_bytes=8192, jobs=4),
    Scenario(name="reads-throttled-too", device_read_mb_per_second=100),
    Scenario(name="limit-hidden", limit_visible=False),
    Scenario(
        name="limit-hidden-200-lz4",
        device_mb_per_second=200,
        compression="lz4",
        jobs=4,
        limit_visible=False,
    ),
    # The record.
    Scenario(name="value-100", value_bytes=100),
    Scenario(name="value-400", value_bytes=400),
    Scenario(name="value-8k", value_bytes=8192),
    # Compression.
    Scenario(name="lz4", compression="lz4"),
    Scenario(name="zstd", compression="zstd", device_mb_per_second=60, jobs=4),
    Scenario(
        name="cpu-bound", compression="zstd", value_bytes=100, device_mb_per_second=600, jobs=4
    ),
    # The tree.
    Scenario(name="universal", style="universal"),
    Scenario(name="universal-lz4-jobs-4", style="universal", compression="lz4", jobs=4),
    Scenario(name="dynamic-levels", dynamic_levels=True),
    Scenario(name="memtable-16", memtable_mib=16),
    Scenario(name="memtable-16-jobs-4-value-400", memtable_mib=16, jobs=4, value_bytes=400),
    # Threads.
    Scenario(name="jobs-4", jobs=4),
    Scenario(name="jobs-8-subcompactions-2", jobs=8, subcompactions=2, device_mb_per_second=200),
    Scenario(name="one-writer", writers=1),
    Scenario(name="one-writer-fast", writers=1, device_mb_per_second=600, value_bytes=100, jobs=4),
    Scenario(name="one-compaction-fast", device_mb_per_second=600, compression="zstd"),
    # The load before the answer.
    Scenario(name="load-15", load_ratio=0.15),
    Scenario(name="load-60", load_ratio=0.60),
    # The WAL.
    Scenario(name="wal-off", wal="off"),
    Scenario(name="wal-sync", wal="sync", value_bytes=400),
    # What is written.
    Scenario(name="sequential", pattern="sequential", device_mb_per_second=60),
    Scenario(name="delete-heavy", pattern="deletes"),
    Scenario(name="read-while-writing", reads_per_second=2000),
    # Others, age, RocksDB's own limiter.
    Scenario(name="foreign-30", foreign_mb_per_second=30),
    Scenario(name="ageing", device_mb_per_second=160, halves=True),
    Scenario(name="rate-limiter-40", rate_limiter_mb_per_second=40),
)


def named(name: str) -> Scenario:
    """The scenario of that name; KeyError otherwise."""
    return {scenario.name: scenario for scenario in SCENARIOS}[name]
