"""Keeps the open file in shape: folds what is over into longer periods, forgets what is old."""

import sqlite3
from itertools import pairwise
from typing import Final

from agent.history import schema
from agent.history.columns import (
    EVENTS_KEPT_SECONDS,
    HOUR,
    RESOLUTIONS,
    TABLES,
    Table,
)
from agent.history.fold import fold, key, time_of
from agent.history.store_rows import put_rows

FOLD_BACKLOG_SECONDS: Final = HOUR
"""How much of a longer backlog one commit takes on: each is a short one."""

PRUNE_SECONDS: Final = 600
"""How often old rows are deleted: their pages are freed whole, and still fit into the cache."""

JUMP_SECONDS: Final = 2 * HOUR
"""A wall clock that moved on by more is not believed before the next time."""

MOST_PRUNED_SECONDS: Final = 4 * HOUR
"""At a time; nor does a clock that is years ahead at the start cost more history than that."""

OVERSIZE_STEP: Final = 0.02
"""Above the limit this oldest part of what each table covers goes, at a time."""


class Upkeep:
    """Works within a transaction of its caller's; ``newest`` is the time of the latest sample."""

    def __init__(self, connection: sqlite3.Connection, limit_bytes: int) -> None:
        self._connection = connection
        self._limit_bytes = limit_bytes
        self._pruned_at: int | None = None

    def look_after(self, newest: int) -> None:
        """Fold what is complete; now and then forget what is old."""
        self.fold(newest)
        elapsed = None if self._pruned_at is None else newest - self._pruned_at
        if elapsed is None or PRUNE_SECONDS <= elapsed <= JUMP_SECONDS:
            self.prune(newest)
        if elapsed is None or not 0 <= elapsed < PRUNE_SECONDS:
            self._pruned_at = newest

    def fold(self, newest: int) -> None:
        """Make the periods that are over, of the resolution before; of a backlog some of it."""
        final = newest
        for before, after in pairwise(RESOLUTIONS):
            span = after.seconds
            final = final // span * span
            for table in TABLES:
                final = min(final, self._fold_table(table, before.seconds, span, final, newest))

    def _fold_table(self, table: Table, source: int, span: int, final: int, newest: int) -> int:
        """The periods of one table that end by ``final``; until when all of them are made now."""
        run = self._connection.execute
        source_name = schema.table_name(table, source)
        target_name = schema.table_name(table, span)
        # What is made already tells where to go on; a clock that was once ahead left later ones.
        (last,) = run(
            f"SELECT max(key) FROM {target_name} WHERE key < ?",  # noqa: S608 - our own names
            (key(newest + 1, 0),),
        ).fetchone()
        begin = 0 if last is None else time_of(last) + span
        (first,) = run(
            f"SELECT min(key) FROM {source_name} WHERE key >= ?",  # noqa: S608 - our own names
            (key(begin, 0),),
        ).fetchone()
        if first is None:
            return final
        start = time_of(first) // span * span
        end = min(final, start + FOLD_BACKLOG_SECONDS)
        if start >= end:
            return final
        folded = source != RESOLUTIONS[0].seconds
        names = ", ".join(table.stored(folded=folded))
        rows = run(
            f"SELECT key, {names} FROM {source_name} WHERE key >= ? AND key < ? ORDER BY key",  # noqa: S608 - our own names
            (key(start, 0), key(end, 0)),
        )
        found = ((row[0], row[1:]) for row in rows)
        put_rows(self._connection, table, span, fold(table, found, span, folded=folded))
        return end

    def prune(self, newest: int) -> None:
        """Forget what is older than is kept, and more of it where the file is too large."""
        run = self._connection.execute
        oversize = self._used_bytes() > self._limit_bytes
        for resolution in RESOLUTIONS:
            for table in TABLES:
                name = schema.table_name(table, resolution.seconds)
                (oldest,) = run(f"SELECT min(key) FROM {name}").fetchone()  # noqa: S608 - our own names
                if oldest is not None:
                    kept = resolution.kept_seconds
                    cut = _cut(time_of(oldest), newest, kept, oversize=oversize)
                    run(f"DELETE FROM {name} WHERE key < ?", (key(max(0, cut), 0),))  # noqa: S608 - our own names
        for name, time in (("episodes", "started"), ("alerts", "started"), ("scores", "time")):
            (oldest,) = run(f"SELECT min({time}) FROM {name}").fetchone()  # noqa: S608 - our own names
            if oldest is not None:
                cut = _cut(oldest, newest, EVENTS_KEPT_SECONDS, oversize=oversize)
                run(f"DELETE FROM {name} WHERE {time} < ?", (cut,))  # noqa: S608 - our own names

    def _used_bytes(self) -> int:
        run = self._connection.execute
        pages = run("PRAGMA page_count").fetchone()[0] - run("PRAGMA freelist_count").fetchone()[0]
        return int(pages * run("PRAGMA page_size").fetchone()[0])


def _cut(oldest: int, newest: int, kept_seconds: int, *, oversize: bool) -> int:
    """Before which time a table's rows go, where its oldest is of ``oldest``."""
    cut = newest - kept_seconds
    if oversize:
        cut = max(cut, oldest + int(OVERSIZE_STEP * (newest - oldest)))
    return min(cut, oldest + MOST_PRUNED_SECONDS)
