"""The history's schema, its version, and what brings an older file up to it. Pure.

Rows of a series are keyed by one integer, ``time << 18 | series`` (``agent.history.fold``), in
plain rowid tables: SQLite fills the last page of such a table before it begins the next. Tables
WITHOUT ROWID on (time, series) split theirs in halves, so that each minute's commit writes almost
twice the pages (measured with rows like these: 42 instead of 26 MB of log a day).
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final

from agent.history.columns import RESOLUTIONS, TABLES, Table
from agent.history.fold import SERIES_BITS

FILE_NAME: Final = "history.db"
"""In the state directory."""

APPLICATION_ID: Final = 0x534D4158
"""In the file's header: "SMAX"."""

VERSION: Final = 2

PAGE_BYTES: Final = 1024
"""A minute adds some hundred bytes to each of several tables and writes the whole last page of
each: small pages make the log about half of what pages of 4096 bytes would."""

SERIES_LIMIT: Final = 1 << SERIES_BITS

EVENTS: Final = (
    """
    CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE)
    """,
    """
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL,
        UNIQUE (kind, name, part)
    )
    """,
    """
    CREATE TABLE episodes (
        started INTEGER NOT NULL, series INTEGER NOT NULL, ended INTEGER NOT NULL,
        kind INTEGER NOT NULL, closed INTEGER NOT NULL, puts_per_second INTEGER NOT NULL,
        log_uncertainty INTEGER NOT NULL, measured_seconds INTEGER NOT NULL,
        stopped_ratio INTEGER NOT NULL, delayed_ratio INTEGER NOT NULL, cause INTEGER,
        PRIMARY KEY (started, series)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE alerts (
        started INTEGER NOT NULL, alert INTEGER NOT NULL, severity INTEGER NOT NULL,
        series INTEGER NOT NULL, ended INTEGER, summary TEXT NOT NULL,
        PRIMARY KEY (started, alert, severity, series)
    ) WITHOUT ROWID
    """,
)

SCORES: Final = """
    CREATE TABLE scores (
        series INTEGER NOT NULL, time INTEGER NOT NULL, labels INTEGER NOT NULL,
        accuracy_ratio INTEGER, coverage_ratio INTEGER,
        PRIMARY KEY (series, time)
    ) WITHOUT ROWID
"""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the content is wrong, rather than that it cannot be reached."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is the kind of damage
    # SQLITE_ERROR: a statement of ours does not fit the tables, so that they are not ours.
    return code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def table_name(table: Table, seconds: int) -> str:
    """The table of a kind of series at a resolution."""
    return f"{table.name}_{seconds}"


def _creation() -> Iterator[str]:
    yield from EVENTS
    yield SCORES
    for resolution in RESOLUTIONS:
        folded = resolution is not RESOLUTIONS[0]
        for table in TABLES:
            columns = ", ".join(f"{name} INTEGER" for name in table.stored(folded=folded))
            name = table_name(table, resolution.seconds)
            yield f"CREATE TABLE {name} (key INTEGER PRIMARY KEY, {columns})"
    yield f"PRAGMA application_id = {APPLICATION_ID}"
    yield f"PRAGMA user_version = {VERSION}"


MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    # Version 1 knew neither how models had scored nor how worn a drive was.
    1: (
        SCORES,
        "ALTER TABLE devices_10 ADD COLUMN endurance_used_ratio INTEGER",
        "ALTER TABLE devices_60 ADD COLUMN endurance_used_ratio INTEGER",
        "ALTER TABLE devices_600 ADD COLUMN endurance_used_ratio INTEGER",
        "PRAGMA user_version = 2",
    ),
}
"""By version: what makes the next one of it. Each statement is kept as it was released."""


def statements_from(version: int | None) -> Iterator[str]:
    """What brings a file of a version up to the present one; None: an empty file."""
    if version is None:
        yield from _creation()
        return
    while version < VERSION:
        yield from MIGRATIONS[version]
        version += 1
