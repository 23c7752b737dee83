"""Opens a history for reading only, and says in words why one cannot be read."""

import os
import sqlite3
import stat
import urllib.parse
from typing import Final

from agent.history import schema

BUSY_SECONDS: Final = 5.0

DENIED_CODES: Final = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}

DENIED: Final = "; read it as the daemon's user or as root"
DAMAGED: Final = "; the daemon sets it aside once it meets that; another period may be readable"
"""What to do, as the end of a sentence."""


class HistoryUnreadable(Exception):
    """There is none, or it cannot be read; the message says where, why and what to do."""


def open_read_only(path: str) -> sqlite3.Connection:
    """A connection within a transaction: all that is read is of one moment.

    Raises HistoryUnreadable.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise HistoryUnreadable(
            f"there is no {path}: the daemon keeps no history there (yet); see history.enabled "
            "in its configuration"
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise HistoryUnreadable(f"{path} cannot be read: {why}{DENIED}") from error
    if not stat.S_ISREG(found.st_mode):
        raise HistoryUnreadable(f"{path} cannot be read: it is not a regular file")
    try:
        try:
            return _opened(path, "mode=ro")
        except sqlite3.Error as error:
            # SQLite makes its log's index beside the file. Where that may not be, as beside a copy
            # on a medium that is read-only, a file without a log can do without: nobody writes it.
            if not _is_denied(error) or os.path.lexists(f"{path}-wal"):
                raise
            return _opened(path, "mode=ro&immutable=1")
    except sqlite3.Error as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: sqlite3.Error) -> HistoryUnreadable:
    """Why reading failed, and what to do where something can be done."""
    advice = DAMAGED if schema.is_damage(error) else DENIED if _is_denied(error) else ""
    return HistoryUnreadable(f"{path} cannot be read: {error}{advice}")


def _opened(path: str, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{urllib.parse.quote(os.fsencode(path))}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
    )
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")  # root may read another's file
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema")  # which is when it is opened
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_denied(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DENIED_CODES
