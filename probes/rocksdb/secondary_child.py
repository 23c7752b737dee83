"""The child process of ``SecondaryProbe``: opens one secondary instance, reads, prints, exits.

Run as ``python secondary_child.py DATABASE WAL_DIR PRIVATE TIMEOUT MEMORY PARENT``, with an
existing, empty PRIVATE directory of the caller's, TIMEOUT in seconds, MEMORY in bytes, PARENT the
caller's process id. Prints one JSON object: the values, or {"reason": ..., "detail": ...}.

It is a process of its own because rocksdict holds the interpreter's lock during the whole
catch-up, and because a library that reads another program's files may crash or take memory without
bound. It is started by its file name, and of this project it imports ``probes.tied`` only.

A plain open in secondary mode writes into, and deletes from, the primary's directory; this is what
prevents it: RocksDB is given PRIVATE/view, with symbolic links to CURRENT, MANIFEST and OPTIONS, as
the database's directory, where rocksdict may write its rocksdict-config.json; the primary's
directory appears only as a place of tables and write-ahead logs; and everything that RocksDB would
delete or archive there is switched off.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

# psutil could do this, but importing it costs more CPU than the whole rest of the start.
_IOPRIO_SET_NUMBER: Mapping[str, int] = {"x86_64": 251, "aarch64": 30, "riscv64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_IDLE = 3 << 13  # ioprio_set(2): class in the bits above 13

_NEVER = 2**62
"""For sizes and microseconds: RocksDB adds to some of them, so not the largest integer."""

_MAX_OPEN_FILES = 20
"""Also keeps RocksDB from opening every table at the start: with a bound it samples 20."""

_OPEN_ATTEMPTS = 3
"""The primary may replace its MANIFEST between the making of the links and the open."""

_ROCKSDICT_CONFIG = "rocksdict-config.json"
_MAX_CONFIG_BYTES = 1024 * 1024

_REASONS: tuple[tuple[str, str], ...] = (
    ("does not match existing comparator", "unknown_comparator"),
    ("unknown column family", "unknown_column_family"),
    ("Permission denied", "not_permitted"),
    ("Operation not permitted", "not_permitted"),
    ("No such file", "database_missing"),
    ("Cannot allocate memory", "memory_limit"),
    ("Corruption", "corruption"),
)
"""What RocksDB's messages mean (db/column_family.cc, db/version_edit_handler.cc, status.cc)."""


class _Failure(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def main(arguments: list[str]) -> int:
    """Print the values or the failure; 0 in both cases, since both are answers."""
    started = time.monotonic()
    database, wal_dir, private = arguments[:3]
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from probes.tied import (  # noqa: PLC0415 - not to be found before the path is set
        die_with_parent,
        first_to_die,
    )

    die_with_parent(int(arguments[5]))
    first_to_die()
    _limit_ourselves(float(arguments[3]), int(arguments[4]))
    answer: dict[str, object]
    try:
        answer = _read(database, wal_dir, private)
    except _Failure as failure:
        answer = {"reason": failure.reason, "detail": failure.detail}
    except MemoryError:
        answer = {"reason": "memory_limit", "detail": "the memory limit was reached"}
    used = resource.getrusage(resource.RUSAGE_SELF)
    answer["cpu_seconds"] = used.ru_utime + used.ru_stime
    answer["wall_seconds"] = time.monotonic() - started
    answer["peak_resident_bytes"] = used.ru_maxrss * 1024
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    return 0


def _limit_ourselves(timeout_seconds: float, memory_bytes: int) -> None:
    # The default action of SIGALRM ends the process even while RocksDB holds the interpreter, and
    # also when the agent is no longer there to do it.
    signal.setitimer(signal.ITIMER_REAL, timeout_seconds)
    whole_seconds = int(timeout_seconds) + 1
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, whole_seconds),
        (resource.RLIMIT_AS, memory_bytes),
    ):
        resource.setrlimit(what, (limit, limit))
    os.nice(19)
    number = _IOPRIO_SET_NUMBER.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)


def _read(database: str, wal_dir: str, private: str) -> dict[str, object]:
    view = os.path.join(private, "view")
    os.mkdir(view, 0o700)
    for attempt in range(_OPEN_ATTEMPTS):
        try:
            _link(database, view)
            return _open_and_read(database, wal_dir, view, os.path.join(private, "log"))
        except ImportError as error:
            raise _Failure("rocksdict_missing", str(error)) from error
        except MemoryError:
            raise
        except Exception as error:
            # rocksdict raises bare Exception with RocksDB's status as its text.
            message = str(error)
            reason = next(
                (reason for text, reason in _REASONS if text in message), "secondary_failed"
            )
            if reason != "database_missing" or attempt + 1 == _OPEN_ATTEMPTS:
                raise _Failure(reason, message[:500]) from error
    raise AssertionError("the last attempt returns or raises")


def _link(database: str, view: str) -> None:
    """Make ``view`` show the present CURRENT, MANIFEST and OPTIONS files of ``database``."""
    wanted = {
        name
        for name in os.listdir(database)
        if name == "CURRENT" or name.startswith(("MANIFEST-", "OPTIONS-"))
    }
    for name in os.listdir(view):
        path = os.path.join(view, name)
        if os.path.islink(path) and name not in wanted:
            os.unlink(path)
    for name in wanted:
        path = os.path.join(view, name)
        if not os.path.islink(path):
            os.symlink(os.path.join(database, name), path)
    _copy_rocksdict_config(database, view)


def _copy_rocksdict_config(database: str, view: str) -> None:
    """Let rocksdict know how the owner uses it, when it does; a missing file means raw mode.

    It tells which comparator to use. A copy, never a link: rocksdict rewrites it at every open.
    """
    try:
        with open(os.path.join(database, _ROCKSDICT_CONFIG), "rb") as file:
            text = file.read(_MAX_CONFIG_BYTES)
    except OSError:
        return
    with open(os.path.join(view, _ROCKSDICT_CONFIG), "wb") as file:
        file.write(text)


def _open_and_read(database: str, wal_dir: str, view: str, log: str) -> dict[str, object]:
    from rocksdict import AccessType, DBPath, Options, Rdict  # noqa: PLC0415  its absence is an answer

    names = Rdict.list_cf(view)
    if any(name.startswith("OPTIONS-") for name in os.listdir(view)):
        options, stored = Options.load_latest(view, ignore_unknown_options=True)
    else:
        options, stored = Options(raw_mode=True), {}
    families = {name: stored[name] if name in stored else Options(raw_mode=True) for name in names}
    for each in (options, *families.values()):
        each.set_db_paths([DBPath(database, _NEVER)])
        each.set_wal_dir(wal_dir)
        each.set_db_log_dir("")
        each.set_delete_obsolete_files_period_micros(_NEVER)
        each.set_wal_ttl_seconds(0)
        each.set_wal_size_limit_mb(0)
        each.set_max_open_files(_MAX_OPEN_FILES)
        each.set_stats_dump_period_sec(0)
        each.set_stats_persist_period_sec(0)
    instance = Rdict(view, options, column_families=families, access_type=AccessType.secondary(log))
    pending: dict[str, int] = {}
    keys: dict[str, int] = {}
    files: dict[str, list[int]] = {}
    total_sst_bytes = 0
    for name in names:
        family = instance.get_column_family(name)
        pending[name] = _integer(family, "rocksdb.estimate-pending-compaction-bytes")
        keys[name] = _integer(family, "rocksdb.estimate-num-keys")
        total_sst_bytes += _integer(family, "rocksdb.live-sst-files-size")
        files[name] = _files_by_level(family.property_value("rocksdb.levelstats") or "")
    # Closing would free gigabytes of memtables one by one; the exit below does it at once.
    return {
        "latest_sequence": instance.latest_sequence_number(),
        "pending_compaction_bytes": pending,
        "estimated_keys": keys,
        "level_files": files,
        "total_sst_bytes": total_sst_bytes,
    }


def _integer(family: object, name: str) -> int:
    value = family.property_int_value(name)  # type: ignore[attr-defined]
    if value is None:
        raise _Failure("secondary_failed", f"RocksDB does not know the property {name}")
    return int(value)


def _files_by_level(table: str) -> list[int]:
    """Parse rocksdb.levelstats: a header of two lines, then level, files, MB of each level."""
    rows = [line.split() for line in table.splitlines()]
    return [int(row[1]) for row in rows if len(row) == 3 and row[0].isdigit()]


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)
