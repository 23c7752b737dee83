"""What tells that a directory is a database's: files that only RocksDB has.

A database's own directory has CURRENT and IDENTITY; those of its tables (db_paths), its WAL and its
LOG may lie elsewhere and have neither.
"""

import os
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from probes.rocksdb.files import open_regular
from probes.rocksdb.records import BLOCK_BYTES, checksum_matches, scan_block

MAX_ENTRIES: Final = 512
"""So many are looked at: a database's directory has hardly anything but its files."""

_MAX_OPENED: Final = 8
"""So many files are opened where the name alone is not enough."""

_MARKS: Final = ("CURRENT", "IDENTITY")
_ONLY_ROCKSDB: Final = re.compile(r"[0-9]{6,}\.(sst|blob)|(MANIFEST|OPTIONS)-[0-9]{6,}")
_WAL: Final = re.compile(r"[0-9]{6,}\.log")
_WAL_NAME_LENGTH: Final = len("000001.log")
_VERSION: Final = b"RocksDB version:"
_LOG_HEAD_BYTES: Final = 4096


def holds_database(directory: str) -> bool:
    """Whether a database, or its tables, or its WAL lie in ``directory`` itself."""
    if any(os.path.lexists(os.path.join(directory, mark)) for mark in _MARKS):
        return True
    names = _names(directory)
    if any(map(_ONLY_ROCKSDB.fullmatch, names)):
        return True
    logs = (os.path.join(directory, name) for name in names if _WAL.fullmatch(name))
    return any(map(_is_wal, islice(logs, _MAX_OPENED)))


def holds_log(directory: str) -> bool:
    """Whether ``directory`` is the db_log_dir of a database: the LOG there is named after it.

    A plain LOG lies beside CURRENT; elsewhere it is somebody's copy.
    """
    names = (name for name in _names(directory) if name.endswith("_LOG"))
    paths = (os.path.join(directory, name) for name in islice(names, _MAX_OPENED))
    return any(_VERSION in head for head in _heads(paths, _LOG_HEAD_BYTES))


def _names(directory: str) -> list[str]:
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in islice(entries, MAX_ENTRIES)]
    except OSError:
        return []  # missing, or nobody's to list: then it is not ours to write in, either


def _is_wal(path: str) -> bool:
    """Whether a file that has the name of a WAL is one; others name their logs by the date."""
    for block in _heads((path,), BLOCK_BYTES):
        fragments, _ = scan_block(block)
        if fragments:
            return checksum_matches(block, fragments[0])
        if block.strip(b"\0"):
            return False
    # Nothing was written yet, or it may not be read: a date has rarely six digits.
    return len(os.path.basename(path)) == _WAL_NAME_LENGTH


def _heads(paths: Iterator[str] | tuple[str, ...], limit_bytes: int) -> Iterator[bytes]:
    """The first bytes of each file that can be read."""
    for path in paths:
        try:
            descriptor = open_regular(path)
        except OSError:
            continue
        try:
            head = os.pread(descriptor, limit_bytes, 0)
        except OSError:
            continue
        finally:
            os.close(descriptor)
        yield head
