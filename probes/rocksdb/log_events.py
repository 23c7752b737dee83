"""The LOG's EVENT_LOG_v1 lines: JSON that RocksDB writes without escaping, and sometimes cuts.

Pure. Sources: logging/event_logger.h, db/event_helpers.cc, db/flush_job.cc,
db/compaction/compaction_job.cc. Field names differ by version; each is optional here.
"""

import re

import msgspec

EVENT_MARK = b"EVENT_LOG_v1"
_NAME_WINDOW_BYTES = 120
"""The event's name comes after its time and job, and at most a column family's name."""

_TIME_INSIDE = re.compile(rb"\d{4}/\d\d/\d\d-\d\d:\d\d:\d\d\.\d{6} ")
_FAMILY_NAME = re.compile(rb'"cf_name": "(.*?)", "(?=job"|event"|compaction_reason")', re.DOTALL)
_INPUT_LEVEL = re.compile(rb'"files_L(\d{1,3})"')
_INPUT_FILES = re.compile(rb'"files_L(\d{1,3})": \[([\d, ]*)\]')
_DELETION = b'"table_file_deletion"'


class TableProperties(msgspec.Struct, gc=False):
    """What is used of a table's own properties (table/table_properties.cc)."""

    num_entries: int | None = None
    raw_key_size: int | None = None  # 8 bytes of sequence number and type a key included
    raw_value_size: int | None = None


class Event(msgspec.Struct, gc=False):
    """One event; a field is None when this kind or version of event does not have it."""

    time_micros: int
    event: str
    job: int | None = None
    cf_name: str | None = None
    # flush_started
    num_entries: int | None = None  # up to 10.2
    total_num_input_entries: int | None = None  # since 10.3
    num_deletes: int | None = None
    total_data_size: int | None = None  # since 6.0
    memory_usage: int | None = None
    flush_reason: str | None = None
    # table_file_creation, blob_file_creation
    file_number: int | None = None
    file_size: int | None = None
    total_blob_bytes: int | None = None
    table_properties: TableProperties | None = None
    # compaction_started
    compaction_reason: str | None = None
    input_data_size: int | None = None
    # compaction_finished
    compaction_time_micros: int | None = None
    compaction_time_cpu_micros: int | None = None  # since 6.0
    output_level: int | None = None
    total_output_size: int | None = None
    total_blob_output_size: int | None = None
    num_input_records: int | None = None
    num_output_records: int | None = None
    num_subcompactions: int | None = None
    # trivial_move
    destination_level: int | None = None
    files: int | None = None
    total_files_size: int | None = None
    # flush_finished, compaction_finished
    lsm_state: list[int] | None = None


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
    family = _FAMILY_NAME.search(body)
    if family:
        name = family[1].decode("utf-8", "backslashreplace")
        body = body[: family.start()] + b'"' + body[family.end() :]
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
        int(hit[1]): tuple(int(number[:18]) for number in hit[2].split(b",") if number.strip())
        for hit in _INPUT_FILES.finditer(line, mark)
        if hit[2].strip()
    }
