"""Decodes one VersionEdit of a MANIFEST (RocksDB db/version_edit.cc, versions 5 to 11)."""

from dataclasses import dataclass, field

MAX_LEVEL = 255
"""RocksDB's default is 7 levels and nobody runs hundreds: above this the edit is damaged."""

MAX_SEQUENCE = (1 << 56) - 1  # RocksDB db/dbformat.h, kMaxSequenceNumber
MAX_FILE_BYTES = 1 << 50
"""No file system holds a file of a pebibyte: an edit that tells of one is damaged."""

_COMPARATOR = 1
_LOG_NUMBER = 2
_NEXT_FILE_NUMBER = 3
_LAST_SEQUENCE = 4
_COMPACT_CURSOR = 5
_DELETED_FILE = 6
_NEW_FILE = 7
_PREV_LOG_NUMBER = 9
_MIN_LOG_NUMBER_TO_KEEP = 10
_NEW_FILE2 = 100
_NEW_FILE3 = 102
_NEW_FILE4 = 103
_COLUMN_FAMILY = 200
_COLUMN_FAMILY_ADD = 201
_COLUMN_FAMILY_DROP = 202
_MAX_COLUMN_FAMILY = 203
_IN_ATOMIC_GROUP = 300
_BLOB_FILE_ADDITION = 400
_BLOB_FILE_GARBAGE = 401

_SAFE_IGNORE = 1 << 13  # a tag with this bit is followed by its length, unless listed here
_BLOB_FILE_ADDITION_DEPRECATED = _SAFE_IGNORE + 2
_BLOB_FILE_GARBAGE_DEPRECATED = _SAFE_IGNORE + 3
_WAL_ADDITION = _SAFE_IGNORE + 4
_WAL_DELETION = _SAFE_IGNORE + 5

_FIELD_TERMINATE = 1  # custom fields of NewFile4
_FIELD_NON_SAFE_IGNORE = 1 << 6
_FIELD_PATH_ID = _FIELD_NON_SAFE_IGNORE + 1
_WAL_FIELD_TERMINATE = 1
_BLOB_FIELD_TERMINATE = 0


class DamagedEdit(Exception):
    """The bytes are not a VersionEdit, or one that this decoder must not guess at."""


@dataclass(slots=True)
class VersionEdit:
    """What one edit changes. ``None``: the edit does not say."""

    column_family: int = 0
    column_family_added: str | None = None
    column_family_dropped: bool = False
    log_number: int | None = None
    last_sequence: int | None = None
    deleted_files: list[tuple[int, int]] = field(default_factory=list)  # level, number
    new_files: list[tuple[int, int, int]] = field(default_factory=list)  # level, number, bytes
    atomic_group_remaining: int | None = None  # edits that follow in the same atomic group


def decode_version_edit(record: bytes) -> VersionEdit:
    """Return the decoded edit; raises DamagedEdit. Takes a few microseconds per table file."""
    edit = VersionEdit()
    try:
        _decode(record, edit)
    except IndexError:
        raise DamagedEdit("the edit ends within a field") from None
    return edit


def _decode(record: bytes, edit: VersionEdit) -> None:
    position = 0
    end = len(record)
    while position < end:
        tag, position = _varint(record, position)
        if tag == _NEW_FILE4:
            position = _new_file4(record, position, edit)
        elif tag == _DELETED_FILE:
            level, position = _level(record, position)
            number, position = _varint(record, position)
            edit.deleted_files.append((level, number))
        elif tag == _LAST_SEQUENCE:
            edit.last_sequence, position = _varint(record, position)
            if edit.last_sequence > MAX_SEQUENCE:
                raise DamagedEdit(f"sequence number {edit.last_sequence} is above {MAX_SEQUENCE}")
        elif tag == _LOG_NUMBER:
            edit.log_number, position = _varint(record, position)
        elif tag == _COLUMN_FAMILY:
            edit.column_family, position = _varint(record, position)
        elif tag == _IN_ATOMIC_GROUP:
            edit.atomic_group_remaining, position = _varint(record, position)
        elif tag in (
            _NEXT_FILE_NUMBER,
            _PREV_LOG_NUMBER,
            _MIN_LOG_NUMBER_TO_KEEP,
            _MAX_COLUMN_FAMILY,
            _WAL_DELETION,
        ):
            _, position = _varint(record, position)
        elif tag in (_NEW_FILE, _NEW_FILE2, _NEW_FILE3):
            position = _old_new_file(record, position, edit, tag)
        elif tag == _COMPARATOR:
            position = _skip_slice(record, position)
        elif tag == _COMPACT_CURSOR:
            _, position = _level(record, position)
            position = _skip_slice(record, position)
        elif tag == _COLUMN_FAMILY_ADD:
            start = position
            position = _skip_slice(record, position)
            _, start = _varint(record, start)
            edit.column_family_added = record[start:position].decode("utf-8", "backslashreplace")
        elif tag == _COLUMN_FAMILY_DROP:
            edit.column_family_dropped = True
        elif tag in (_BLOB_FILE_ADDITION, _BLOB_FILE_ADDITION_DEPRECATED):
            position = _skip_blob_file(record, position, slices=2)
        elif tag in (_BLOB_FILE_GARBAGE, _BLOB_FILE_GARBAGE_DEPRECATED):
            position = _skip_blob_file(record, position, slices=0)
        elif tag == _WAL_ADDITION:
            position = _skip_wal_addition(record, position)
        elif tag & _SAFE_IGNORE:
            position = _skip_slice(record, position)
        else:
            raise DamagedEdit(f"unknown tag {tag}, which may not be ignored")


def _varint(record: bytes, position: int) -> tuple[int, int]:
    value = record[position]
    position += 1
    if value < 128:
        return value, position
    value &= 127
    shift = 7
    while True:
        byte = record[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return value, position
        shift += 7
        if shift > 63:
            break
    raise DamagedEdit("a number longer than 64 bits")


def _level(record: bytes, position: int) -> tuple[int, int]:
    level, position = _varint(record, position)
    if level > MAX_LEVEL:
        raise DamagedEdit(f"level {level} is above {MAX_LEVEL}")
    return level, position


def _file_bytes(record: bytes, position: int) -> tuple[int, int]:
    size, position = _varint(record, position)
    if size > MAX_FILE_BYTES:
        raise DamagedEdit(f"a table file of {size} bytes")
    return size, position


def _skip_slice(record: bytes, position: int) -> int:
    length, position = _varint(record, position)
    position += length
    if position > len(record):
        raise DamagedEdit("a string longer than the edit")
    return position


def _new_file4(record: bytes, position: int, edit: VersionEdit) -> int:
    level, position = _level(record, position)
    number, position = _varint(record, position)
    size, position = _file_bytes(record, position)
    position = _skip_slice(record, position)  # smallest key
    position = _skip_slice(record, position)  # largest key
    _, position = _varint(record, position)  # smallest sequence number
    _, position = _varint(record, position)  # largest sequence number
    while True:
        field_tag, position = _varint(record, position)
        if field_tag == _FIELD_TERMINATE:
            break
        if field_tag & _FIELD_NON_SAFE_IGNORE and field_tag != _FIELD_PATH_ID:
            raise DamagedEdit(f"unknown file field {field_tag}, which may not be ignored")
        position = _skip_slice(record, position)
    edit.new_files.append((level, number, size))
    return position


def _old_new_file(record: bytes, position: int, edit: VersionEdit, tag: int) -> int:
    level, position = _level(record, position)
    number, position = _varint(record, position)
    if tag == _NEW_FILE3:
        _, position = _varint(record, position)  # path id
    size, position = _file_bytes(record, position)
    position = _skip_slice(record, position)  # smallest key
    position = _skip_slice(record, position)  # largest key
    if tag != _NEW_FILE:
        _, position = _varint(record, position)  # smallest sequence number
        _, position = _varint(record, position)  # largest sequence number
    edit.new_files.append((level, number, size))
    return position


def _skip_blob_file(record: bytes, position: int, *, slices: int) -> int:
    """Skip number, count, bytes, checksum strings (additions only) and custom fields."""
    for _ in range(3):
        _, position = _varint(record, position)
    for _ in range(slices):
        position = _skip_slice(record, position)
    while True:
        field_tag, position = _varint(record, position)
        if field_tag == _BLOB_FIELD_TERMINATE:
            return position
        position = _skip_slice(record, position)


def _skip_wal_addition(record: bytes, position: int) -> int:
    """Skip the form of 6.12 to 6.15, which carried no length (db/wal_edit.cc)."""
    _, position = _varint(record, position)
    while True:
        field_tag, position = _varint(record, position)
        if field_tag == _WAL_FIELD_TERMINATE:
            return position
        _, position = _varint(record, position)
