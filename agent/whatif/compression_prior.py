"""What a compression algorithm does to table sizes and costs in CPU, before it was tried. Pure.

Only ``whatif`` uses these: what is measured on the host always goes before them. Source of sizes
and speeds: the lzbench table of zstd's README (Silesia corpus, one core at 4.5 GHz): ratio,
compression MB/s, decompression MB/s = zstd -1: 2.877, 330, 940; LZ4: 2.101, 620, 3100; Snappy:
2.091, 480, 1600. RocksDB's default level for zstd is 3, and its blocks are a few KiB: both slower
and, for the blocks, larger than whole files, which is what the ranges allow for.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

Lean = Literal[-1, 0, 1]
"""Which end of a range to take: -1 the one that lowers S_max, 0 the likely value, 1 the other."""

ALGORITHMS: Final = ("none", "lz4", "snappy", "zstd")


@dataclass(frozen=True, slots=True)
class Range:
    """A value that is not known: its likely value and both ends of a wide range."""

    pessimistic: float
    likely: float
    optimistic: float

    def at(self, lean: Lean) -> float:
        """The end, or the likely value."""
        return (self.likely, self.optimistic, self.pessimistic)[lean]


SIZE_RATIO: Final = {
    "none": Range(1.0, 1.0, 1.0),
    "lz4": Range(1.0, 0.5, 0.25),
    "snappy": Range(1.0, 0.5, 0.25),
    "zstd": Range(1.0, 0.42, 0.18),
}
"""Compressed over raw size of data of which nothing is known.

Likely: db_bench's own default for generated values (compression_ratio 0.5), zstd's between that and
the corpus's. Ends: data that does not compress (encrypted, or compressed by the application), and
twice as good as likely.
"""

CORPUS_LOG_RATIO: Final = {
    "lz4": math.log(2.101),
    "snappy": math.log(2.091),
    "zstd": math.log(2.877),
}
"""ln(raw / compressed): carries a measured ratio of one algorithm over to another."""

CARRY_OVER: Final = Range(0.75, 1.0, 1.25)
"""Data differ from the corpus in how much more a better algorithm gains: a factor on the log."""

COMPRESS_SECONDS_PER_BYTE: Final = {
    "none": 0.0,
    "lz4": 1.0 / 620e6,
    "snappy": 1.0 / 480e6,
    "zstd": 1.0 / 330e6,
}
DECOMPRESS_SECONDS_PER_BYTE: Final = {
    "none": 0.0,
    "lz4": 1.0 / 3100e6,
    "snappy": 1.0 / 1600e6,
    "zstd": 1.0 / 940e6,
}
"""Core seconds per raw byte."""

SLOWNESS: Final = Range(2.5, 1.25, 0.7)
"""Times the table's costs: this host's cores, small blocks, zstd's level 3 against 1."""

LEAST_CPU_SHARE: Final = 0.2
"""Of a merge's CPU that is not compression whatever the priors say: comparing and copying stay."""


def new_size_ratio(now: str, measured_ratio: float, new: str, lean: Lean) -> float:
    """Compressed over raw size under ``new``, when ``now`` gives ``measured_ratio``."""
    if new == "none":
        return 1.0
    if new == now:
        return measured_ratio
    if now not in CORPUS_LOG_RATIO or measured_ratio >= 1.0:
        # Uncompressed data tells nothing; data that one algorithm could not shrink, little.
        return SIZE_RATIO[new].at(lean) if now == "none" else 1.0
    exponent = CORPUS_LOG_RATIO[new] / CORPUS_LOG_RATIO[now]
    return min(1.0, math.pow(measured_ratio, exponent * CARRY_OVER.at(lean)))


def cpu_per_raw_byte(algorithm: str, lean: Lean, *, decompress: bool) -> float:
    """Core seconds per raw byte written, and read before where ``decompress``."""
    seconds = COMPRESS_SECONDS_PER_BYTE[algorithm]
    if decompress:
        seconds += DECOMPRESS_SECONDS_PER_BYTE[algorithm]
    return seconds * SLOWNESS.at(lean)
