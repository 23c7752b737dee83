"""The LOG's EVENT_LOG_v1 lines: JSON that RocksDB writes without escaping, and sometimes cuts.

Pure. Sources: logging/event_logger.h, db/event_helpers.cc, db/flush_job.cc,
db/compaction/compaction_job.cc. Field names differ by version; each is optional here.
"""

import re
from typing import Annotated

import msgspec

EVENT_MARK = b"EVENT_LOG_v1"
_NAME_WINDOW_BYTES = 120
"""The event's name comes after its time and job, and at most a column family's name."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 50)]
"""Counts, bytes, microseconds of work. What is beyond was not written by RocksDB: sums of it would
leave what a float can hold."""

Moment = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""Microseconds since 1970, up to the year 2255."""

_TIME_INSIDE = re.compile(rb"\d{4}/\d\d/\d\d-\d\d:\d\d:\d\d\.\d{6} ")
_FAMILY_BEGIN = b'"cf_name": "'
_FAMILY_END = re.compile(rb'", "(?=job"|event"|compaction_reason")')
_INPUT_LEVEL = re.compile(rb'"files_L(\d{1,3})"')
_INPUT_FILES = re.compile(rb'"files_L(\d{1,3})": \[([\d, ]*)\]')
_FILE_NUMBER = re.compile(rb"\d+")
_DELETION = b'"table_file_deletion"'


class TableProperties(msgspec.Struct, gc=False):
    """What is used of a table's own properties (table/table_properties.cc)."""

    num_entries: Count | None = None
    raw_key_size: Count | None = None  # 8 bytes of sequence number and type a key included
    raw_value_size: Count | None = None


class Event(msgspec.Struct, gc=False):
    """One event; a field is None when this kind or version of event does not have it."""

    time_micros: Moment
    event: str
    job: Count | None = None
    cf_name: str | None = None
    # flush_started
    num_entries: Count | None = None  # up to 10.2
    total_num_input_entries: Count | None = None  # since 10.3
    num_deletes: Count | None = None
    total_data_size: Count | None = None  # since 6.0
    memory_usage: Count | None = None
    flush_reason: str | None = None
    # table_file_creation, blob_file_creation
    file_number: Count | None = None
    file_size: Count | None = None
    total_blob_bytes: Count | None = None
    table_properties: TableProperties | None = None
    # compaction_started
    compaction_reason: str | None = None
    input_data_size: Count | None = None
    # compaction_finished
    compaction_time_micros: Count | None = None
    compaction_time_cpu_micros: Count | None = None  # since 6.0
    output_level: Count | None = None
    total_output_size: Count | None = None
    total_blob_output_size: Count | None = None
    num_input_records: Count | None = None
    num_output_records: Count | None = None
    num_subcompactions: Count | None = None
    # trivial_move
    destination_level: Count | None = None
    files: Count | None = None
    total_files_size: Count | None = None
    # flush_finished, compaction_finished
    lsm_state: list[Count] | None = None


_decoder = msgspec.json.Decoder(Event)


def is_interesting(line: bytes, mark: int) -> bool:
    """Whether the event at ``mark`` can carry anything we use; saves decoding the others."""
    return line.find(_DELETION, mark, mark + _NAME_WINDOW_BYTES) < 0


def decode_event(line: bytes, mark: int) -> tuple[Event | None, bool, bytes]:
    """Read the event whose mark is at ``mark``.

    Returns the event (None when nothing is left of it), whether the line was damaged, and the
    line that was glued to a cut event without a newline between (empty when there is none).
    A cut event keeps the fields before the cut.
    """
    body = line[mark + len(EVENT_MARK) :]
    try:
        return _decoder.decode(body), False, b""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    glued = _TIME_INSIDE.search(body)
    rest = b""
    if glued:
        rest = body[glued.start() :]
        body = body[: glued.start()]
    # The last brace is there: then nothing was lost, and what does not parse is a raw name.
    whole = not rest and body.rstrip().endswith(b"}")
    name: str | None = None
    begin = body.find(_FAMILY_BEGIN)
    family = _FAMILY_END.search(body, begin + len(_FAMILY_BEGIN)) if begin >= 0 else None
    if family:
        raw = body[begin + len(_FAMILY_BEGIN) : family.start()]
        name = raw.decode("utf-8", "backslashreplace")
        body = body[:begin] + b'"' + body[family.end() :]
    event = _decode(body) or _decode_cut(body)
    if event is not None and name is not None:
        event.cf_name = name
    return event, event is None or not whole, rest


def _decode(body: bytes) -> Event | None:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode_cut(body: bytes) -> Event | None:
    """Close a cut object after its last complete top-level field.

    The table properties, which repeat the column family's raw name, are left out first.
    """
    nested = body.find(b', "table_properties"')
    if nested > 0:
        body = body[:nested]
        event = _decode(body + b"}")
        if event is not None:
            return event
    for _ in range(4):
        last = body.rfind(b', "')
        if last < 0:
            return None
        body = body[:last]
        event = _decode(body + b"}")
        if event is not None:
            return event
    return None


def input_level(line: bytes, mark: int) -> int | None:
    """The first level a compaction_started event lists files of."""
    found = _INPUT_LEVEL.search(line, mark)
    return int(found[1]) if found else None


def input_files(line: bytes, mark: int) -> dict[int, tuple[int, ...]]:
    """Table numbers by level, of every level that a compaction_started event takes files from."""
    return {
        int(hit[1]): tuple(int(number[:18]) for number in _FILE_NUMBER.findall(hit[2]))
        for hit in _INPUT_FILES.finditer(line, mark)
        if hit[2].strip()
    }
