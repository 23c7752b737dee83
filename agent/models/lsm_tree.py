"""The levels of a simulated LSM tree: where the bytes are, what each level may hold, what is owed.

Bytes of a level are kept over ``bins`` equal parts of the key space, because RocksDB's choice of
the file with the least overlap (kMinOverlappingRatio, its default) makes a level unevenly full: the
part compacted last is nearly empty and the one to be compacted next is the fullest, so that a merge
meets about half the bytes that mere level sizes suggest (Lim et al., FAST 2016, section 3). Sources
are RocksDB 7.8.3 and 9.8.4, which agree on every rule here unless said otherwise.
"""

import math
from typing import Final

import msgspec

from agent.forecast.pending import (
    MOST_LEVELS,
    LevelLimits,
    level_options,
    limits_of,
    pending_bytes_of,
)
from agent.models.lsm import ModelInputs, TreeOptions

FEWEST_BINS: Final = 32
MOST_BINS: Final = 256
"""Parts of the key space: two per file of the largest level that is compacted downwards, within
these. Beyond the most, several files are compacted as one: the same bytes in fewer jobs."""

MOST_BYTES: Final = 2.0**65
"""Sizes in the OPTIONS are 64-bit integers."""

SCORE_SCALE: Final = 10.0
"""kScoreScale of VersionStorageInfo::ComputeCompactionScore (db/version_set.cc)."""


class Run:
    """A table file of level 0, or one level seen as a sorted run by universal compaction."""

    __slots__ = ("busy", "level", "size")

    def __init__(self, size: float, level: int = 0) -> None:
        self.size = size
        self.level = level
        self.busy = False


class Tree:
    """The state that flushes and compactions change.

    ``level0`` is newest first; with universal compaction ``runs`` holds everything, newest first,
    and the levels stay empty. ``key_space_bytes`` is what one live version of every key takes as
    tables: what a merge of two random samples of the keys drops follows from it.
    """

    def __init__(self, inputs: ModelInputs) -> None:
        options = inputs.options
        check_options(options)
        self.options: Final = options
        self.universal: Final = options.style == "universal"
        level_bytes = [0.0] * options.num_levels
        for level, size in enumerate(inputs.shape.level_bytes[: options.num_levels]):
            level_bytes[level] = max(0.0, size)
        self.level0: list[Run] = _level0_runs(inputs, level_bytes[0])
        self.overlap_ratio: Final = min(1.0, max(0.0, inputs.costs.overlap_ratio))
        self.last_level: Final = max(
            (level for level in range(1, options.num_levels) if level_bytes[level] > 0),
            default=options.num_levels - 1 if options.level_compaction_dynamic_level_bytes else 1,
        )
        self.key_space_bytes: Final = key_space_bytes(inputs, level_bytes, self.last_level)
        if self.universal:
            self.level0 += [
                Run(size, level) for level, size in enumerate(level_bytes) if level and size > 0
            ]
            level_bytes = [0.0] * options.num_levels
        self.largest_run_bytes: Final = max((run.size for run in self.level0), default=0.0)
        self.bins: Final = _bin_count(options, level_bytes, self.last_level)
        self.density: list[list[float]] = [
            [size / self.bins] * self.bins if level else []
            for level, size in enumerate(level_bytes)
        ]
        self.locked: list[list[bool]] = [[False] * self.bins for _ in level_bytes]
        self.jobs_at_level: list[int] = [0] * options.num_levels
        self.level_bytes: list[float] = level_bytes
        self.busy_bytes: list[float] = [0.0] * options.num_levels
        self._level_options: Final = level_options(options)
        self._limits = LevelLimits(1, ())
        self.refresh()

    @property
    def base_level(self) -> int:
        """The level that takes level 0's files."""
        return self._limits.base_level

    @property
    def target_bytes(self) -> tuple[float, ...]:
        """What every level may hold; infinite: nothing is compacted from there."""
        return self._limits.target_bytes

    def refresh(self) -> None:
        """Recompute what follows from the level sizes, as a new Version does."""
        if self.universal:
            return
        sizes = self.level_bytes
        for level in range(1, len(sizes)):
            sizes[level] = sum(self.density[level])
        sizes[0] = sum(run.size for run in self.level0)
        self._limits = limits_of(sizes, self._level_options)

    def merged_alike(self, size: float, count: int) -> float:
        """Bytes left of ``count`` runs of one size over the whole key space."""
        key_space = self.key_space_bytes
        if math.isinf(key_space) or key_space <= 0.0:
            return count * size
        if size >= key_space:
            return size
        return -key_space * math.expm1(count * math.log1p(-size / key_space))

    def merged(self, upper: float, lower: float, share: float = 1.0) -> float:
        """Bytes left of two runs over ``share`` of the key space: keys in both are kept once."""
        key_space = self.key_space_bytes * share
        if math.isinf(key_space) or key_space <= 0.0:
            return upper + lower
        return max(upper, lower, upper + lower - upper * lower / key_space)

    def merged_runs(self, runs: list[Run]) -> float:
        """The same over several runs of the whole key space."""
        size = 0.0
        for run in runs:
            size = self.merged(run.size, size)
        return size

    def file_bytes(self, level: int) -> float:
        """Target size of a table of a level (MaxFileSizeForLevel, options/cf_options.cc)."""
        steps = level - (
            self.base_level if self.options.level_compaction_dynamic_level_bytes else 1
        )
        multiplier = self.options.target_file_size_multiplier
        return self.options.target_file_size_base * multiplier ** max(0, steps)

    def stall_file_count(self) -> int:
        """l0_delay_trigger_count: level 0 files; with universal compaction all sorted runs."""
        return len(self.level0)

    def pending_compaction_bytes(self) -> float:
        """RocksDB's estimate of what is owed; always 0 with universal compaction."""
        if self.universal:
            return 0.0
        return pending_bytes_of(
            len(self.level0), self.level_bytes, self._limits, self._level_options
        )

    def scores(self) -> list[tuple[float, int]]:
        """(score, level), highest first: VersionStorageInfo::ComputeCompactionScore."""
        options, sizes, targets = self.options, self.level_bytes, self.target_bytes
        dynamic = options.level_compaction_dynamic_level_bytes
        idle = [run.size for run in self.level0 if not run.busy]
        idle_bytes = sum(idle)
        score = len(idle) / max(1, options.level0_file_num_compaction_trigger)
        if dynamic:
            base_target = targets[self.base_level]
            if idle_bytes >= options.max_bytes_for_level_base:
                score = max(score, 1.01)
            if idle_bytes > base_target:
                score = max(score, idle_bytes / max(sizes[self.base_level], base_target))
            if score > 1.0:
                score *= SCORE_SCALE
        else:
            score = max(score, idle_bytes / options.max_bytes_for_level_base)
        scores = [(score, 0)]
        coming_down = sizes[0]
        for level in range(self.base_level, self.last_level):
            resting, target = sizes[level] - self.busy_bytes[level], targets[level]
            if not dynamic or resting < target:
                score = resting / target
            else:
                score = resting / (target + coming_down) * SCORE_SCALE
            scores.append((score, level))
            coming_down += max(0.0, sizes[level] - target)
        scores.sort(key=lambda entry: (-entry[0], entry[1]))
        return scores


def check_options(options: TreeOptions) -> None:
    """Raise ValueError for options under which no tree can be: RocksDB does not take them."""
    for name, value, most in (
        ("max_bytes_for_level_base", options.max_bytes_for_level_base, MOST_BYTES),
        ("target_file_size_base", options.target_file_size_base, MOST_BYTES),
        ("max_bytes_for_level_multiplier", options.max_bytes_for_level_multiplier, math.inf),
    ):
        if not (0.0 < value < most):
            raise ValueError(f"{name} must be a positive number, not {value!r}")
    for name, value in msgspec.structs.asdict(options).items():
        if isinstance(value, float) and not value >= 0.0:
            raise ValueError(f"{name} must not be negative, but is {value!r}")
    fewest = 1 if options.style == "universal" else 2
    if not fewest <= options.num_levels <= MOST_LEVELS:
        raise ValueError(
            f"num_levels must be {fewest} to {MOST_LEVELS}, not {options.num_levels!r}"
        )


def key_space_bytes(inputs: ModelInputs, level_bytes: list[float], last_level: int) -> float:
    """Table bytes of one version of every key; infinite where each put brings a new key.

    As measured, where it is. Else from the last level: a merge into it gives ``lower + upper *
    new``, ``new`` being the share of the upper bytes whose keys the last level does not have yet,
    so the measured ratio of output to input and the fan-out of that merge give ``new``; and keys
    drawn from all over the key space are new with the probability 1 - last level / key space. The
    fan-out is taken from the shape observed: half the ratio of the two lowest levels (see above),
    or of the last run to what max_size_amplification_percent lets gather above it.
    """
    measured = inputs.costs.key_space_bytes
    if measured is not None and measured > 0.0:
        # Every version in the largest level is of a different key. Measured on skewed keys it may
        # be less; then this errs towards more bytes written.
        return max(measured, *level_bytes)
    ratio = inputs.costs.merge_into_last_output_ratio
    last = max(level_bytes)
    if last <= 0.0 or ratio >= 1.0:
        return math.inf
    options = inputs.options
    if options.style == "universal":
        fan_out = 100.0 / max(1.0, options.universal_max_size_amplification_percent)
    else:
        above = max(level_bytes[1:last_level], default=0.0)
        if above > 0:
            fan_out = last / (2.0 * above)
        else:
            table = inputs.costs.flush_user_bytes * inputs.costs.flush_output_ratio
            fan_out = last / max(1.0, options.level0_file_num_compaction_trigger * table)
    new_share = min(1.0, max(0.0, ratio * (1.0 + fan_out) - fan_out))
    return math.inf if new_share >= 1.0 else last / (1.0 - new_share)


def _level0_runs(inputs: ModelInputs, level0_bytes: float) -> list[Run]:
    count = inputs.shape.level_files[0] if inputs.shape.level_files else 0
    return [Run(level0_bytes / count) for _ in range(count)] if level0_bytes > 0 else []


def _bin_count(options: TreeOptions, level_bytes: list[float], last_level: int) -> int:
    upper = max((level_bytes[level] for level in range(1, last_level)), default=0.0)
    # Level 0 at its slowdown trigger falls onto the base level at once.
    upper += options.level0_slowdown_writes_trigger * options.write_buffer_bytes
    files = 2.0 * upper / options.target_file_size_base
    return int(min(MOST_BINS, max(FEWEST_BINS, files)))
