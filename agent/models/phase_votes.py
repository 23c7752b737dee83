"""The published phase rule of the V4 model: three votes, the majority wins, a tie goes early.

The functions take plain numbers or numpy arrays of one shape; an unknown runtime or size is NaN
(it does not vote). They are written as arithmetic on comparisons so that one implementation serves
both, without branches.
"""

import math
from typing import Any, Final

PHASES: Final = ("initial", "middle", "final")
"""Phase names by index: all functions of the models speak in these indices."""

INITIAL: Final = 0
MIDDLE: Final = 1
FINAL: Final = 2

INITIAL_RUNTIME_MINUTES: Final = 30.0
MIDDLE_RUNTIME_MINUTES: Final = 90.0
INITIAL_BANDWIDTH_MIB: Final = 3000.0
MIDDLE_BANDWIDTH_MIB: Final = 800.0
INITIAL_SIZE_GB: Final = 5.0
MIDDLE_SIZE_GB: Final = 30.0

UNKNOWN: Final = math.nan

Number = Any
"""A float, or an array of floats; the result then is an int, or an array of ints."""


def runtime_vote(runtime_minutes: Number) -> Number:
    """Phase index by database age: < 30 min initial, < 90 min middle, else final (NaN: final)."""
    return (
        2
        - (runtime_minutes < INITIAL_RUNTIME_MINUTES) * 1
        - (runtime_minutes < MIDDLE_RUNTIME_MINUTES) * 1
    )


def bandwidth_vote(bandwidth_mib: Number) -> Number:
    """Phase index by available bandwidth: > 3000 MiB/s initial, > 800 middle, else final."""
    return (
        2 - (bandwidth_mib > INITIAL_BANDWIDTH_MIB) * 1 - (bandwidth_mib > MIDDLE_BANDWIDTH_MIB) * 1
    )


def size_vote(database_size_gb: Number) -> Number:
    """Phase index by database size: < 5 GB initial, < 30 GB middle, else final (NaN: final)."""
    return 2 - (database_size_gb < INITIAL_SIZE_GB) * 1 - (database_size_gb < MIDDLE_SIZE_GB) * 1


def phase_by_votes(
    bandwidth_mib: Number, runtime_minutes: Number = UNKNOWN, database_size_gb: Number = UNKNOWN
) -> Number:
    """Phase index with the most votes; of equals the earlier phase.

    NaN is not >= 0, which is how an unknown input loses its vote.
    """
    by_bandwidth = bandwidth_vote(bandwidth_mib)
    by_runtime = runtime_vote(runtime_minutes)
    by_size = size_vote(database_size_gb)
    runtime_known = (runtime_minutes >= 0) * 1
    size_known = (database_size_gb >= 0) * 1
    initial = (
        (by_bandwidth == INITIAL) * 1
        + (by_runtime == INITIAL) * runtime_known
        + (by_size == INITIAL) * size_known
    )
    middle = (
        (by_bandwidth == MIDDLE) * 1
        + (by_runtime == MIDDLE) * runtime_known
        + (by_size == MIDDLE) * size_known
    )
    final = 1 + runtime_known + size_known - initial - middle
    initial_wins = ((initial >= middle) & (initial >= final)) * 1
    middle_wins = (middle >= final) * 1
    return (1 - initial_wins) * (2 - middle_wins)


def phase_index(name: str) -> int:
    """Index of a phase name; ValueError names the possible ones."""
    try:
        return PHASES.index(name)
    except ValueError:
        raise ValueError(f"unknown phase {name!r}; one of {', '.join(PHASES)}") from None
