"""What is kept of each moment, and how: the columns of the tables, pure.

Every number is stored as a small integer, ``round(value * per_unit)``, because SQLite keeps an
integer in as few bytes as it needs. Unknown is NULL, never 0. A word (a phase, a model) is stored
as its number in the table ``words``.

``fold`` says what a longer period keeps of the shorter ones in it; ``extremes`` are kept beside
the mean where the mean would hide what matters.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Fold = Literal["mean", "min", "max", "sum", "most"]

Value = float | str | None

NEVER_SECONDS: Final = 8_388_607
"""Stored for a stall that is not ahead: the largest number of three bytes, 97 days."""

LARGEST: Final = 2**53
"""Beyond it a float is no exact integer; nothing measured comes near."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``ceiling`` is what an infinite value is stored as, and read as infinite."""

    name: str
    per_unit: float = 1.0
    fold: Fold = "mean"
    extremes: tuple[Literal["min", "max"], ...] = ()
    word: bool = False
    ceiling: int | None = None

    def encode(self, value: float | None) -> int | None:
        """The integer that is stored; None for what is unknown or no number."""
        if value is None or math.isnan(value):
            return None
        if self.ceiling is not None and value * self.per_unit >= self.ceiling:
            return self.ceiling
        if math.isinf(value):
            return None
        return max(-LARGEST, min(LARGEST, round(value * self.per_unit)))

    def decode(self, stored: Iterable[int | None]) -> list[float | None]:
        """Values in their unit again; a whole column at once, for there are many."""
        per_unit, ceiling = self.per_unit, self.ceiling
        if ceiling is None:
            return [None if value is None else value / per_unit for value in stored]
        return [
            None if value is None else math.inf if value >= ceiling else value / per_unit
            for value in stored
        ]


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of series; each has a table per resolution, ``{name}_{seconds}``."""

    name: str
    columns: tuple[Column, ...]

    def stored(self, *, folded: bool) -> tuple[str, ...]:
        """The names of the stored columns; those of a longer period have extremes, and a count."""
        names = [column.name for column in self.columns]
        if folded:
            names += [name for _, _, name in self.extremes()]
            names.append(SAMPLES)
        return tuple(names)

    def extremes(self) -> Iterator[tuple[int, Literal["min", "max"], str]]:
        """Of which column (by its place), which extreme, and the name of that."""
        for index, column in enumerate(self.columns):
            for extreme in column.extremes:
                yield index, extreme, f"{column.name}_{extreme}"


SAMPLES: Final = "samples"
"""How many of the shortest samples a longer period is made of."""

PUTS: Final = 10.0  # tenths of a put/s
KIB: Final = 1.0 / 1024.0
RATIO: Final = 10_000.0
MILLI: Final = 1000.0

DATABASES: Final = Table(
    "databases",
    (
        Column("observed_puts_per_second", PUTS, extremes=("min", "max")),
        Column("s_max_puts_per_second", PUTS, extremes=("min",)),
        Column("s_max_lower_puts_per_second", PUTS, extremes=("min",)),
        Column("s_max_upper_puts_per_second", PUTS),
        Column("headroom_ratio", RATIO, extremes=("min",)),
        Column("headroom_lower_ratio", RATIO, extremes=("min",)),
        Column("model", fold="most", word=True),
        Column("phase", fold="most", word=True),
        Column("bottleneck", fold="most", word=True),
        Column("device", fold="most", word=True),
        Column("available_bytes_per_second", KIB, extremes=("min",)),
        Column("foreign_bytes_per_second", KIB, extremes=("max",)),
        Column("compaction_bytes_per_second", KIB),
        Column("pending_compaction_bytes", KIB, extremes=("max",)),
        Column("debt_bytes", KIB, extremes=("max",)),
        Column("stopped_seconds", MILLI, "sum"),
        Column("delayed_seconds", MILLI, "sum"),
        Column("time_to_stall_seconds", 1.0, "min", ceiling=NEVER_SECONDS),
        Column("saturated_ratio", RATIO),
        Column("background_error", 1.0, "max"),
        Column("record_size_bytes", 1.0),
        Column("write_amplification_ratio", 100.0),
        Column("size_bytes", KIB),
        Column("cpu_cores", 100.0),
    ),
)

DEVICES: Final = Table(
    "devices",
    (
        Column("capacity_bytes_per_second", KIB, extremes=("min",)),
        Column("capacity_ratio", RATIO, extremes=("min",)),
        Column("write_bytes_per_second", KIB, extremes=("max",)),
        Column("read_bytes_per_second", KIB),
        Column("write_await_seconds", 1e6, extremes=("max",)),
        Column("queue_depth", 100.0),
        Column("endurance_used_ratio", RATIO, "max"),
    ),
)

MODELS: Final = Table(
    "models",
    (
        Column("puts_per_second", PUTS),  # what the model says itself
        Column("calibrated_puts_per_second", PUTS),
    ),
)

TABLES: Final = (DATABASES, DEVICES, MODELS)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Samples of ``seconds``, kept for ``kept_seconds``."""

    seconds: int
    kept_seconds: int


HOUR: Final = 3600
DAY: Final = 24 * HOUR

RESOLUTIONS: Final = (
    Resolution(10, 2 * DAY),
    Resolution(60, 30 * DAY),
    Resolution(600, 2 * 365 * DAY),
)
"""Ascending; each but the first is folded from the one before it."""

EVENTS_KEPT_SECONDS: Final = RESOLUTIONS[-1].kept_seconds
