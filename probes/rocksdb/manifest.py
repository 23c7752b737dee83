"""The LSM's shape, exact and incremental, from the live MANIFEST."""

import os
import re
from dataclasses import dataclass, field, replace

from probes.clock import Clock
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.rocksdb.files import open_regular
from probes.rocksdb.records import DamagedRecord, RecordTooLarge, read_records
from probes.rocksdb.samples import ColumnFamilyShape, LevelShape, ManifestSample
from probes.rocksdb.version_edit import DamagedEdit, VersionEdit, decode_version_edit

MAX_MANIFEST_BYTES = 512 * 1024 * 1024
"""Larger MANIFESTs are refused: decoding one would take a minute of CPU."""

MAX_BYTES_PER_READ = 8 * 1024 * 1024
"""Decoded at most per read(), about a second of CPU; only the first reads of a large file get
there, and say "manifest_catching_up" until they are through."""

MAX_EDIT_BYTES = 64 * 1024 * 1024
"""One edit may hold the whole shape after a roll, about 150 bytes per table file."""

MAX_GROUP_EDITS = 100_000
"""Edits of one atomic group, which has one edit per column family."""

_MANIFEST_NAME = re.compile(rb"MANIFEST-[0-9]{1,20}")


@dataclass(slots=True)
class _Levels:
    """The live table files of one column family."""

    name: str
    log_number: int | None = None
    files: list[dict[int, int]] = field(default_factory=lambda: [{}])  # by level: number -> bytes
    bytes: list[int] = field(default_factory=lambda: [0])

    def delete(self, level: int, number: int) -> None:
        if level < len(self.files):
            self.bytes[level] -= self.files[level].pop(number, 0)

    def add(self, level: int, number: int, size: int) -> None:
        while level >= len(self.files):
            self.files.append({})
            self.bytes.append(0)
        self.bytes[level] += size - self.files[level].get(number, 0)
        self.files[level][number] = size

    def shape(self) -> ColumnFamilyShape:
        return ColumnFamilyShape(
            self.name,
            tuple(
                LevelShape(len(files), size)
                for files, size in zip(self.files, self.bytes, strict=True)
            ),
        )


class _Lsm:
    """The state that the edits of one MANIFEST add up to."""

    def __init__(self) -> None:
        self.column_families: dict[int, _Levels] = {0: _Levels("default")}
        self.last_sequence = 0
        self.flushed_bytes = 0
        self.compacted_bytes = 0

    def apply(self, edit: VersionEdit) -> None:
        if edit.last_sequence is not None:
            self.last_sequence = max(self.last_sequence, edit.last_sequence)
        if edit.column_family_dropped:
            self.column_families.pop(edit.column_family, None)
            return
        if edit.column_family_added is not None:
            self.column_families[edit.column_family] = _Levels(edit.column_family_added)
        family = self.column_families.get(edit.column_family)
        if family is None:
            return  # an edit of a dropped column family: RocksDB ignores it too
        if edit.log_number is not None:
            family.log_number = edit.log_number
        if edit.deleted_files or edit.new_files:
            self._account(edit)
            for level, number in edit.deleted_files:
                family.delete(level, number)
            for level, number, size in edit.new_files:
                family.add(level, number, size)

    def _account(self, edit: VersionEdit) -> None:
        """A file deleted and added again was moved; new files are a flush or a compaction."""
        moved = {number for _, number in edit.deleted_files}
        if moved:
            self.compacted_bytes += sum(
                size for _, number, size in edit.new_files if number not in moved
            )
        else:
            self.flushed_bytes += sum(size for level, _, size in edit.new_files if level == 0)

    @property
    def log_number(self) -> int | None:
        """The oldest WAL that may hold unflushed writes of some column family."""
        numbers = [
            family.log_number
            for family in self.column_families.values()
            if family.log_number is not None
        ]
        return min(numbers, default=None)


class ManifestProbe:
    """Follows the live MANIFEST; ~10 us when nothing was appended."""

    def __init__(
        self, database_path: str, clock: Clock, max_bytes_per_read: int = MAX_BYTES_PER_READ
    ) -> None:
        self._directory = database_path
        self._clock = clock
        self._max_bytes_per_read = max_bytes_per_read
        self._current_version: tuple[int, int] | None = None
        self._name = ""
        self._inode: int | None = None
        self._lsm = _Lsm()
        self._offset = 0  # behind the last edit applied
        self._seen_bytes = -1  # the file's size at the last complete reading
        self._sample: ManifestSample | None = None

    def read(self) -> ManifestSample:
        """Return the shape and the totals.

        NoData: "manifest_catching_up" (read again), "manifest_rotating". ProbeFailed:
        "not_rocksdb", "not_readable", "manifest_too_large", "manifest_damaged",
        "manifest_read_error".
        """
        try:
            try:
                return self._read()
            except FileNotFoundError:
                self._current_version = None  # rolled between reading CURRENT and opening
                return self._read()
        except OSError as error:
            raise self._failure(error) from error

    def _read(self) -> ManifestSample:
        self._follow_current()
        fd = open_regular(f"{self._directory}/{self._name}")
        try:
            status = os.fstat(fd)
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._start(status.st_ino)
            if self._sample is not None and status.st_size == self._seen_bytes:
                self._sample = replace(self._sample, at=self._clock.monotonic())
                return self._sample
            if status.st_size > MAX_MANIFEST_BYTES:
                raise ProbeFailed(
                    "manifest_too_large",
                    f"{self._directory}/{self._name} has {status.st_size} bytes and is not "
                    "followed; it becomes small when the database is reopened",
                )
            self._apply_new_edits(fd)
        finally:
            os.close(fd)
        now = self._clock.monotonic()
        if self._sample is None:  # what was there before is not a flush of ours
            self._lsm.flushed_bytes = self._lsm.compacted_bytes = 0
        self._seen_bytes = status.st_size
        self._sample = ManifestSample(
            at=now,
            manifest_name=self._name,
            last_sequence=self._lsm.last_sequence,
            log_number=self._lsm.log_number,
            column_families=tuple(
                family.shape() for _, family in sorted(self._lsm.column_families.items())
            ),
            flushed_bytes=self._lsm.flushed_bytes,
            compacted_bytes=self._lsm.compacted_bytes,
            since=now if self._sample is None else self._sample.since,
        )
        return self._sample

    def _follow_current(self) -> None:
        """Read CURRENT if it is another file than last time; it is only ever replaced."""
        path = f"{self._directory}/CURRENT"
        status = os.stat(path)
        version = (status.st_ino, status.st_mtime_ns)
        if version == self._current_version:
            return
        fd = open_regular(path)
        try:
            status = os.fstat(fd)
            content = os.read(fd, 64).rstrip(b"\n")
        finally:
            os.close(fd)
        if not _MANIFEST_NAME.fullmatch(content):
            raise ProbeFailed("not_rocksdb", f"{path} does not name a MANIFEST file")
        name = content.decode("ascii")
        if name != self._name:
            self._name, self._inode = name, None
        self._current_version = (status.st_ino, status.st_mtime_ns)

    def _start(self, inode: int) -> None:
        self._inode = inode
        self._lsm = _Lsm()
        self._offset = 0
        self._seen_bytes = -1
        self._sample = None

    def _apply_new_edits(self, fd: int) -> None:
        group: list[VersionEdit] = []
        begin = self._offset
        end = begin
        try:
            for record, end in read_records(
                fd, begin, max_bytes=self._max_bytes_per_read, max_record_bytes=MAX_EDIT_BYTES
            ):
                edit = decode_version_edit(record)
                if edit.atomic_group_remaining is not None:
                    # Atomic groups take effect as a whole: until the last edit is there, the next
                    # reading starts again before the first.
                    group.append(edit)
                    if len(group) > MAX_GROUP_EDITS:
                        raise DamagedEdit(f"an atomic group of more than {MAX_GROUP_EDITS} edits")
                    if edit.atomic_group_remaining:
                        continue
                    for member in group:
                        self._lsm.apply(member)
                    group = []
                else:
                    self._lsm.apply(edit)
                self._offset = end
        except (DamagedRecord, DamagedEdit) as damage:
            raise ProbeFailed(
                "manifest_damaged",
                f"{self._directory}/{self._name} cannot be decoded behind offset "
                f"{self._offset} ({damage}); check it with ldb manifest_dump",
            ) from None
        except RecordTooLarge as large:
            raise ProbeFailed(
                "manifest_too_large", f"{self._directory}/{self._name}: {large}"
            ) from None
        if end - begin >= self._max_bytes_per_read:
            raise NoData(
                "manifest_catching_up",
                f"{self._directory}/{self._name} is large; {end} bytes were decoded so far",
            )

    def _failure(self, error: OSError) -> ProbeError:
        where = error.filename or f"{self._directory}/{self._name}"
        if isinstance(error, FileNotFoundError):
            if where.endswith("/CURRENT"):
                return ProbeFailed("not_rocksdb", f"{where} does not exist")
            return NoData("manifest_rotating", f"{where} was replaced while being read")
        if isinstance(error, PermissionError):
            return ProbeFailed(
                "not_readable",
                f"{where} is not readable for this user; run as the database's user or root, "
                "or grant read access with an ACL",
            )
        return ProbeFailed("manifest_read_error", f"{where}: {error.strerror}")
