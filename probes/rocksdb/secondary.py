"""Asks a rocksdict secondary instance, in a short-lived child process, for what only it can tell.

The recipe that keeps the primary untouched is in ``secondary_child``. A child that replays the live
write-ahead logs into memory needs time and memory in proportion to those, so they are looked at
first. Pending compaction bytes and files do not depend on them: without the replay a reading costs
the same small time whatever the write rate.
"""

import contextlib
import json
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Mapping

from probes.clock import Clock
from probes.command import CommandRunner
from probes.errors import NoData, ProbeFailed
from probes.rocksdb.samples import SecondarySample
from probes.scratch import enclosing_database, process_tag, tag_is_alive
from probes.write_budget import NoBudget, WriteBudget

DEFAULT_MAX_LIVE_WAL_BYTES = 256 * 1024 * 1024
"""Replaying more than this costs more than the answer is worth."""

DEFAULT_TIMEOUT_SECONDS = 10.0
"""An idle priority child on a busy host may wait long for its turn."""

DEFAULT_MEMORY_LIMIT_BYTES = 1024 * 1024 * 1024
"""Address space, not resident memory: about 0.4 GB of it are thread stacks and code, the rest
takes the replayed logs."""

PRIVATE_PREFIX = "smaxd-secondary-"
"""Private directories are ``smaxd-secondary-<pid>-<start ticks>-<random>``."""

PRIVATE_BYTES = 128 * 1024
"""More than a reading writes into its private directory: RocksDB's LOG, 22 KB and some for each
column family. What goes beyond is counted all the same."""

_PAGE_BYTES = 4096

_GRACE_SECONDS = 2.0
"""The child ends itself at its timeout; the runner does it so much later."""

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "secondary_child.py")

_NOT_A_FAILURE = frozenset(
    {"not_permitted", "database_missing", "rocksdict_missing", "unknown_comparator"}
)
_ADVICE: Mapping[str, str] = {
    "unknown_comparator": "its comparator is not one of RocksDB's own, so it cannot be opened",
    "unknown_column_family": "a column family was just created; the next reading will know it",
    "not_permitted": "its files may not be read; give the agent's user read access",
    "database_missing": "a file vanished; it was destroyed, or changes too fast",
    "rocksdict_missing": "the Python package rocksdict cannot be imported",
    "memory_limit": "the child needed more memory than its limit",
    "corruption": "RocksDB finds its files damaged",
    "secondary_failed": "it cannot be opened",
}
_TIME_SIGNALS = frozenset({14, 24})  # SIGALRM, SIGXCPU: the child's own limits
_MEMORY_WORDS = (
    b"bad_alloc",
    b"memory allocation of",
    b"MemoryError",
    b"failed to map",
    b"terminate called without an active exception",  # a thread's stack could not be had
)
_WAL_HEADER_BYTES = 7
_RECYCLABLE_TYPES = frozenset({5, 6, 7, 8, 11, 131})
"""The last byte of a record's header is its type (db/log_format.h)."""

_MAX_MESSAGE_CHARACTERS = 300
_MAX_NAMES = 10_000


class SecondaryProbe:
    """Reads one database.

    ``private_parent`` is a directory of ours, in no database, where each reading makes and removes
    a private directory; ``wal_dir`` None means the database's own directory. Without ``replay_wal``
    the answer is as of the last flush: ``latest_sequence`` is the MANIFEST's and
    ``estimated_keys`` lacks the memtables. The limits are for the child; see the defaults.
    """

    def __init__(
        self,
        database_path: str,
        clock: Clock,
        runner: CommandRunner,
        private_parent: str,
        *,
        wal_dir: str | None = None,
        replay_wal: bool = True,
        max_live_wal_bytes: int = DEFAULT_MAX_LIVE_WAL_BYTES,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
        budget: WriteBudget | None = None,
    ) -> None:
        self._budget = budget or NoBudget()
        self._database_path = os.path.abspath(database_path)
        self._clock = clock
        self._runner = runner
        self._private_parent = os.path.abspath(private_parent)
        self._wal_dir = os.path.abspath(os.path.join(database_path, wal_dir or ""))
        self._replay_wal = replay_wal
        self._max_live_wal_bytes = max_live_wal_bytes
        self._timeout_seconds = timeout_seconds
        self._memory_limit_bytes = memory_limit_bytes
        self._leftovers_removed = False
        self._written_bytes = 0  # by one reading

    def read(self) -> SecondarySample:
        """Start the child and wait for its answer.

        Raises NoData "live_wal_too_large", "wal_recycled", "database_missing", "not_permitted",
        "rocksdict_missing", "wear_budget_used"; ProbeFailed "unknown_comparator",
        "unknown_column_family", "memory_limit", "corruption", "timeout", "stopped", "killed",
        "crashed", "secondary_garbage", "secondary_failed", "private_directory_invalid".

        With tables newer than this RocksDB the answer has no files and no pending bytes at all:
        compare ``level_files`` with the MANIFEST's.
        """
        if self._replay_wal:
            self._check_live_wal()
        known = [os.path.realpath(path) for path in (self._database_path, self._wal_dir)]
        database = enclosing_database(self._private_parent, known)
        if database is not None:
            raise ProbeFailed(
                "private_directory_invalid",
                f"{self._private_parent} lies in the database {database}; use a state directory",
            )
        if not self._leftovers_removed:
            remove_private_leftovers(self._private_parent)
            self._leftovers_removed = True
        refusal = self._budget.ask(PRIVATE_BYTES)
        if refusal is not None:
            raise NoData("wear_budget_used", f"its private directory is not written: {refusal}")
        try:
            return self._read_in_private()
        finally:
            self._budget.done(self._written_bytes)

    def _read_in_private(self) -> SecondarySample:
        self._written_bytes = 0
        name = f"{PRIVATE_PREFIX}{process_tag()}-{secrets.token_hex(4)}"
        private = os.path.join(self._private_parent, name)
        try:
            os.mkdir(private, 0o700)
        except OSError as error:
            raise ProbeFailed(
                "private_directory_invalid",
                f"{private} cannot be made: {error.strerror}; use a writable state directory",
            ) from error
        try:
            completed = self._runner.run(
                (
                    sys.executable,
                    "-P",  # keeps the working directory out of the module path
                    _CHILD,
                    self._database_path,
                    # An empty one has nothing to replay.
                    self._wal_dir if self._replay_wal else private,
                    private,
                    repr(self._timeout_seconds),
                    str(self._memory_limit_bytes),
                    str(os.getpid()),
                ),
                timeout_seconds=self._timeout_seconds + _GRACE_SECONDS,
                cwd="/",
                # One arena per thread would take 64 MiB of address space each.
                env={**os.environ, "MALLOC_ARENA_MAX": "1"},
            )
        finally:
            self._written_bytes = _size_bytes(private)
            shutil.rmtree(private, ignore_errors=True)
        return self._sample(completed.stdout, completed.stderr, completed.returncode)

    def _check_live_wal(self) -> None:
        live_wal_bytes = 0
        recycled = False
        try:
            with os.scandir(self._wal_dir) as entries:
                for entry in entries:
                    stem, dot, suffix = entry.name.partition(".")
                    if dot and suffix == "log" and stem.isdigit():
                        try:
                            live_wal_bytes += entry.stat().st_size
                            recycled = recycled or _is_recyclable(entry.path)
                        except FileNotFoundError:
                            continue  # deleted meanwhile: it was not live
        except FileNotFoundError as error:
            raise NoData("database_missing", f"{self._wal_dir} does not exist") from error
        except OSError as error:
            raise NoData(
                "not_permitted",
                f"{self._wal_dir}: {error.strerror}; give the agent's user read access",
            ) from error
        if recycled:
            raise NoData(
                "wal_recycled",
                f"{self._wal_dir} has recycled write-ahead logs, in which a secondary of RocksDB "
                "9.8 may loop without end; they are not replayed",
            )
        if live_wal_bytes > self._max_live_wal_bytes:
            mib = 1024 * 1024
            raise NoData(
                "live_wal_too_large",
                f"{self._wal_dir} has {live_wal_bytes / mib:.0f} MiB of live write-ahead logs; "
                f"more than {self._max_live_wal_bytes / mib:.0f} MiB are not replayed",
            )

    def _sample(self, stdout: bytes, stderr: bytes, returncode: int) -> SecondarySample:
        if returncode < 0:
            raise self._ended_by_signal(-returncode, stderr)
        try:
            answer = json.loads(stdout)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._garbage(stdout, stderr)
        reason = answer.get("reason")
        if isinstance(reason, str):
            advice = _ADVICE.get(reason, _ADVICE["secondary_failed"])
            detail = str(answer.get("detail"))[:_MAX_MESSAGE_CHARACTERS]
            kind = NoData if reason in _NOT_A_FAILURE else ProbeFailed
            raise kind(
                reason if reason in _ADVICE else "secondary_failed",
                f"{self._database_path}: {advice} ({detail})",
            )
        try:
            return SecondarySample(
                at=self._clock.monotonic(),
                latest_sequence=int(answer["latest_sequence"]),
                pending_compaction_bytes=_counts(answer["pending_compaction_bytes"]),
                estimated_keys=_counts(answer["estimated_keys"]),
                level_files={
                    name: tuple(int(count) for count in counts)
                    for name, counts in answer["level_files"].items()
                },
                total_sst_bytes=int(answer["total_sst_bytes"]),
                cpu_seconds=float(answer["cpu_seconds"]),
                wall_seconds=float(answer["wall_seconds"]),
                peak_resident_bytes=int(answer["peak_resident_bytes"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise self._garbage(stdout, stderr) from None

    def _ended_by_signal(self, number: int, stderr: bytes) -> ProbeFailed:
        if number in _TIME_SIGNALS:
            return ProbeFailed(
                "timeout",
                f"{self._database_path}: the secondary took over {self._timeout_seconds:g} s",
            )
        if any(word in stderr for word in _MEMORY_WORDS):
            return ProbeFailed("memory_limit", f"{self._database_path}: {_ADVICE['memory_limit']}")
        reason = "killed" if number in {9, 15} else "crashed"
        return ProbeFailed(
            reason,
            f"{self._database_path}: the secondary was ended by signal {number}: {_shown(stderr)}",
        )

    def _garbage(self, stdout: bytes, stderr: bytes) -> ProbeFailed:
        return ProbeFailed(
            "secondary_garbage",
            f"{self._database_path}: the secondary gave no answer: {_shown(stdout + stderr)}",
        )


def _size_bytes(directory: str) -> int:
    """Whole pages of all that lies below, the directories' among them; links fit into those."""
    pages = 0
    for parent, _, names in os.walk(directory):
        pages += 1
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(parent, name))
                if stat.S_ISREG(found.st_mode):
                    pages += -(-found.st_size // _PAGE_BYTES)
    return pages * _PAGE_BYTES


def remove_private_leftovers(private_parent: str) -> int:
    """Remove private directories of dead earlier runs; return how many that were."""
    removed = 0
    try:
        names = os.listdir(private_parent)
    except OSError:
        return 0  # making the next one will say what is wrong
    for name in names[:_MAX_NAMES]:
        tag, _, unique = name.removeprefix(PRIVATE_PREFIX).rpartition("-")
        if not name.startswith(PRIVATE_PREFIX) or not unique or tag_is_alive(tag):
            continue
        path = os.path.join(private_parent, name)
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            shutil.rmtree(path, ignore_errors=True)  # does not follow the links inside
            removed += 1
    return removed


def _is_recyclable(wal_path: str) -> bool:
    """Tell whether a write-ahead log is written with log numbers in its records."""
    with open(wal_path, "rb") as file:
        header = file.read(_WAL_HEADER_BYTES)
    return len(header) == _WAL_HEADER_BYTES and header[-1] in _RECYCLABLE_TYPES


def _counts(values: Mapping[str, object]) -> dict[str, int]:
    counts = {}
    for name, value in values.items():
        if not isinstance(value, int):
            raise TypeError(name)
        counts[name] = value
    return counts


def _shown(output: bytes) -> str:
    text = " ".join(output.decode("utf-8", "replace").split())
    return text[-_MAX_MESSAGE_CHARACTERS:] or "it printed nothing"
