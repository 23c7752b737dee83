"""What ``whatif`` is asked to change: options, records or host, and which values can be. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from agent.models.prediction import MIB
from agent.whatif import compression_prior


class ChangeError(ValueError):
    """A change that cannot be: the message says which value and what would be valid."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; None leaves it as it is. SI base units.

    ``rate_limit_bytes_per_second`` 0 switches the limiter off. Device and foreign rates are in all,
    as DESIGN speaks of capacity.
    """

    max_background_jobs: int | None = None
    max_subcompactions: int | None = None
    value_bytes: float | None = None
    compression: str | None = None
    device_bytes_per_second: float | None = None
    write_buffer_bytes: float | None = None
    max_write_buffer_number: int | None = None
    level0_compaction: int | None = None
    level0_slowdown: int | None = None
    level0_stop: int | None = None
    level_base_bytes: float | None = None
    level_multiplier: float | None = None
    target_file_bytes: float | None = None
    style: Literal["level", "universal"] | None = None
    rate_limit_bytes_per_second: float | None = None
    cpu_cores: float | None = None
    wal: bool | None = None
    foreign_bytes_per_second: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to change."""
        return self == Change()


_WHOLE: Final = (
    ("max_background_jobs", "--max-background-jobs", 1, 1024),
    ("max_subcompactions", "--max-subcompactions", 1, 1024),
    ("max_write_buffer_number", "--max-write-buffer-number", 2, 1024),
    ("level0_compaction", "--l0-compaction", 1, 100000),
    ("level0_slowdown", "--l0-slowdown", 1, 100000),
    ("level0_stop", "--l0-stop", 1, 100000),
)
_REAL: Final = (
    ("value_bytes", "--value-size", 1.0, 2.0**30, 1.0, "bytes"),
    ("device_bytes_per_second", "--device-mbps", 0.1 * MIB, 1e6 * MIB, MIB, "MiB/s"),
    ("write_buffer_bytes", "--write-buffer-mb", 0.0625 * MIB, 65536.0 * MIB, MIB, "MiB"),
    ("level_base_bytes", "--level-base-mb", 0.0625 * MIB, 1e9 * MIB, MIB, "MiB"),
    ("level_multiplier", "--level-multiplier", 1.01, 1000.0, 1.0, ""),
    ("target_file_bytes", "--target-file-mb", 0.0625 * MIB, 1e6 * MIB, MIB, "MiB"),
    ("rate_limit_bytes_per_second", "--rate-limit-mb", 0.0, 1e6 * MIB, MIB, "MiB/s"),
    ("cpu_cores", "--cpu-cores", 0.05, 4096.0, 1.0, "cores"),
    ("foreign_bytes_per_second", "--foreign-mb", 0.0, 1e6 * MIB, MIB, "MiB/s"),
)
"""Valid ranges: (member, option, lowest, highest, unit in bytes, unit's name). RocksDB takes write
buffers of 64 KiB to 64 GiB and at least two of them; the rest is what hosts have."""


def check(change: Change) -> None:
    """Raise ChangeError for the first value outside its range."""
    for member, option, least, most in _WHOLE:
        value = getattr(change, member)
        if value is not None and not least <= value <= most:
            raise ChangeError(f"{option} is {value}; it must be {least} to {most}")
    for member, option, low, high, unit, name in _REAL:
        value = getattr(change, member)
        if value is not None and not low <= value <= high:
            raise ChangeError(
                f"{option} is {value / unit:g}; it must be {low / unit:g} to {high / unit:g} "
                f"{name}".rstrip()
            )
    if change.compression is not None and change.compression not in compression_prior.ALGORITHMS:
        known = ", ".join(compression_prior.ALGORITHMS)
        raise ChangeError(f"--compression is {change.compression!r}; it must be one of {known}")
