"""What a longer period keeps of the shorter ones in it. Pure.

Only what is known takes part: a mean is that of the rows that know it, weighted by how many of the
shortest samples each is made of, and what none of them knows stays unknown. A period without any
sample has no row: a gap stays a gap.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from agent.history.columns import Column, Table

SERIES_BITS = 18
"""A row's key is its time in seconds, shifted by so many bits, and the number of its series."""

SERIES_MASK = (1 << SERIES_BITS) - 1

Stored = int | None
Row = tuple[int, Sequence[Stored]]
"""A key, and the stored columns in the order of ``Table.stored``."""


def key(seconds: int, series: int) -> int:
    """The key of a series' row at a time; keys ascend with time."""
    return (seconds << SERIES_BITS) | series


def time_of(row_key: int) -> int:
    """Seconds (Unix time) of a key."""
    return row_key >> SERIES_BITS


def fold(table: Table, rows: Iterable[Row], seconds: int, *, folded: bool) -> list[Row]:
    """The rows of periods of ``seconds``; ``folded`` tells that ``rows`` are periods themselves.

    The rows come in the order of their keys; the answer is in that order, too.
    """

    def place(row: Row) -> tuple[int, int]:
        return time_of(row[0]) // seconds * seconds, row[0] & SERIES_MASK

    return [
        (key(*where), _period(table, [stored for _, stored in members], folded=folded))
        for where, members in groupby(sorted(rows, key=place), key=place)
    ]


def _period(table: Table, members: list[Sequence[Stored]], *, folded: bool) -> list[Stored]:
    weights = [int(stored[-1] or 1) for stored in members] if folded else [1] * len(members)
    answer = [
        _one(column, [stored[index] for stored in members], weights)
        for index, column in enumerate(table.columns)
    ]
    for place, (index, extreme, _) in enumerate(table.extremes(), len(table.columns)):
        known = [v for stored in members if (v := stored[place if folded else index]) is not None]
        pick = min if extreme == "min" else max
        answer.append(pick(known) if known else None)
    answer.append(sum(weights))
    return answer


def _one(column: Column, values: list[Stored], weights: list[int]) -> Stored:
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    if not known:
        return None
    if column.fold == "mean":
        return round(sum(v * w for v, w in known) / sum(w for _, w in known))
    if column.fold == "most":
        shares: dict[int, int] = {}
        for value, weight in known:
            shares[value] = shares.get(value, 0) + weight
        return max(shares, key=lambda value: shares[value])
    numbers = [value for value, _ in known]
    if column.fold == "sum":
        return sum(numbers)
    return min(numbers) if column.fold == "min" else max(numbers)
