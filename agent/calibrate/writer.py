"""The child process of a calibration: opens the scratch database and puts until it is killed.

Run by its file name as ``python scratch_writer.py SETTINGS`` (JSON) in a new private directory; of
this project it imports ``probes.tied`` only. It is told what to do, and tells what it did, through
a page of shared memory (``Page``): rocksdict holds the interpreter's lock through every write, so
that during a write stop no line of Python runs here, and no message could be read or sent. For the
same reason it has one writing thread: a second one would only wait for the lock (measured: 4
threads put less than one); batches take the place of a write group.

Its parent ends it with SIGKILL, and the kernel does the same when the parent dies.
"""

import ctypes
import json
import mmap
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

PAGE_BYTES: Final = 4096

STATE, PUTS, LEVEL0, PENDING, EPOCH = range(5)
"""Places of the page's integers; EPOCH counts the parent's wishes."""

RATE: Final = 32
"""Place of the page's only float among the 8-byte slots: puts/s, 0 closed loop, below 0 pause."""

_SYNC_FILE_RANGE_WRITE: Final = 2  # sync_file_range(2): begin writing, do not wait

WAL_LOOK_SECONDS: Final = 0.05
"""How often the WAL is looked at for ``wal_bytes_per_sync``."""

STARTING, READY, FAILED = range(3)

PROPERTY_SECONDS: Final = 0.2
"""How often RocksDB's own properties are asked; each takes its mutex for a moment."""

SMALLEST_NAP_SECONDS: Final = 0.0005
"""An open loop waits at least so long for arrivals: a shorter sleep costs CPU and is no rounder."""

_POOL_BYTES: Final = 1048576
_KEY_POOL: Final = 4096
_PIECE_BYTES: Final = 100  # db_bench's CompressibleString makes its values of such pieces

_PROPERTIES: Final = (
    (LEVEL0, "rocksdb.num-files-at-level0"),
    (PENDING, "rocksdb.estimate-pending-compaction-bytes"),
)


class Page:
    """The shared page, from either side. Each slot is written by one side only."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, PAGE_BYTES)
        view = memoryview(self._memory)
        self._integers = view.cast("q")
        self._floats = view.cast("d")

    def __getitem__(self, place: int) -> int:
        """An integer slot."""
        return self._integers[place]

    def __setitem__(self, place: int, value: int) -> None:
        self._integers[place] = value

    @property
    def rate(self) -> float:
        """What the parent wants: puts/s, 0 for as fast as possible, below 0 for nothing."""
        return self._floats[RATE]

    def load(self, rate: float) -> None:
        """Parent: change the load. An open loop's schedule starts anew with every change."""
        self._floats[RATE] = rate
        self._integers[EPOCH] += 1


def main(arguments: list[str]) -> int:
    """Write the library's default options, or load the database, by ``settings["task"]``."""
    settings = json.loads(arguments[0])
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from probes.tied import (  # noqa: PLC0415 - not to be found before the path is set
        die_with_parent,
        first_to_die,
    )

    die_with_parent(int(settings["parent"]))
    first_to_die()
    try:
        if settings["task"] == "options":
            _write_default_options(settings["directory"])
        else:
            _put(settings)
    except ImportError as error:
        return _failed("rocksdict_missing", str(error))
    except Exception as error:  # rocksdict raises bare ones, RocksDB's status as text
        return _failed("rocksdb_error", str(error))
    return 0


def _failed(reason: str, detail: str) -> int:
    sys.stdout.write(json.dumps({"reason": reason, "detail": detail[:500]}))
    sys.stdout.flush()
    return 1


def _write_default_options(directory: str) -> None:
    from rocksdict import Options, Rdict  # noqa: PLC0415 - its absence is an answer

    options = Options(raw_mode=True)
    options.create_if_missing(True)
    Rdict(directory, options).close()


def _put(settings: dict[str, Any]) -> None:
    from rocksdict import (  # noqa: PLC0415 - its absence is an answer
        Options,
        Rdict,
        WriteBatch,
        WriteOptions,
    )

    page = Page(int(settings["page"]))
    try:
        options, families = Options.load_latest(settings["options"], ignore_unknown_options=True)
        database = Rdict(
            settings["directory"], options, column_families={"default": families["default"]}
        )
    except BaseException:
        page[STATE] = FAILED
        raise
    write_options = WriteOptions()
    # A property, whatever rocksdict's stub says.
    write_options.disable_wal = not settings["wal"]  # type: ignore[method-assign, assignment]
    batch_puts = int(settings["batch_puts"])
    records = _Records(settings)
    page[STATE] = READY
    if settings["wal_bytes_per_sync"] > 0:
        threading.Thread(
            target=_sync_wal,
            args=(settings["directory"], settings["wal_bytes_per_sync"]),
            daemon=True,
        ).start()
    epoch, done, started = -1, 0, 0.0
    next_properties = 0.0
    while True:
        now = time.monotonic()
        if now >= next_properties:
            for place, name in _PROPERTIES:
                page[place] = database.property_int_value(name) or 0
            next_properties = now + PROPERTY_SECONDS
        if page[EPOCH] != epoch:
            epoch, done, started = page[EPOCH], 0, now
        rate = page.rate
        if rate < 0:
            time.sleep(0.01)
            continue
        count = batch_puts
        if rate > 0:
            due = int((now - started) * rate)
            count = min(batch_puts, due - done)
            if count <= 0:
                time.sleep(max(SMALLEST_NAP_SECONDS, (done + 1) / rate - (now - started)))
                continue
        batch = WriteBatch(raw_mode=True)
        records.fill(batch, count)
        database.write(batch, write_options)
        done += count
        page[PUTS] += count


def _sync_wal(directory: str, step_bytes: int) -> None:
    """Do what ``wal_bytes_per_sync`` asks for.

    rocksdict's RocksDB is built without ROCKSDB_RANGESYNC_PRESENT and ignores the option: its WALs
    would be deleted before any of their pages reached the device.
    """
    sync_file_range = ctypes.CDLL(None).sync_file_range
    sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    name, descriptor, synced = "", -1, 0
    while True:
        time.sleep(WAL_LOOK_SECONDS)
        newest = max((n for n in os.listdir(directory) if n.endswith(".log")), default="")
        try:
            if newest != name:
                if descriptor >= 0:
                    sync_file_range(descriptor, synced, 0, _SYNC_FILE_RANGE_WRITE)
                    os.close(descriptor)
                    descriptor = -1
                descriptor = os.open(os.path.join(directory, newest), os.O_RDONLY | os.O_CLOEXEC)
                name, synced = newest, 0
            size = os.fstat(descriptor).st_size
        except OSError:
            continue  # it was switched meanwhile; the next look finds the new one
        if size - synced >= step_bytes:
            sync_file_range(descriptor, synced, size - synced, _SYNC_FILE_RANGE_WRITE)
            synced = size


class _Records:
    """Keys, all over the key space or in order, and values of the wanted compressibility."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._key_bytes = int(settings["key_bytes"])
        self._value_bytes = int(settings["value_bytes"])
        self._sequential = settings["key_order"] == "sequential"
        self._written = 0
        self._keys: list[bytes] = []
        piece = max(1, round(_PIECE_BYTES * float(settings["incompressible_ratio"])))
        pieces = []
        for _ in range((_POOL_BYTES + self._value_bytes) // _PIECE_BYTES + 1):
            part = os.urandom(min(piece, _PIECE_BYTES))
            pieces.append((part * (_PIECE_BYTES // len(part) + 1))[:_PIECE_BYTES])
        self._pool = b"".join(pieces)
        self._offset = 0

    def fill(self, batch: Any, count: int) -> None:  # noqa: ANN401 - rocksdict is imported late
        """Add ``count`` puts."""
        put, pool, size = batch.put, self._pool, self._value_bytes
        offset = self._offset
        for key in self._next_keys(count):
            put(key, pool[offset : offset + size])
            # A step that shares no factor with the pool's size: every value is another slice.
            offset = (offset + 7919) % _POOL_BYTES
        self._offset = offset

    def _next_keys(self, count: int) -> list[bytes]:
        size = self._key_bytes
        if self._sequential:
            first = self._written
            self._written += count
            return [number.to_bytes(size, "big") for number in range(first, first + count)]
        if len(self._keys) < count:
            random = os.urandom(size * _KEY_POOL)
            self._keys = [random[at : at + size] for at in range(0, len(random), size)]
        taken, self._keys = self._keys[:count], self._keys[count:]
        return taken


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)
