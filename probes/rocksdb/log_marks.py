"""The few words that make a line of the LOG worth reading, and finding them fast. Pure."""

import bisect

from probes.rocksdb.log_errors import ERROR_MARKS
from probes.rocksdb.log_events import EVENT_MARK
from probes.rocksdb.log_lines import STALL_MARK
from probes.rocksdb.stats_dump import DUMP_MARK

VERSION_MARK = b"RocksDB version:"
TABLES_MARK = b" dir, Total Num"
OPENING_MARK = b"Recovering from manifest file"
OPENED_MARK = b"DB pointer"
CLOSED_MARK = b"Shutdown complete"
FAMILY_MARKS = (b"] Column family [", b"] Created column family [")
DROPPED_MARK = b"Dropped column family with id "
JOB_MARKS = (b"] Compacting", b"] Flushing mem")
MOVE_MARK = b"] Mov"
FLUSHED_MARK = b"] Level-0 flush table"
COMPACTED_MARK = b"] compacted to: "
DUMPING_MARK = b"- DUMPING"
LASTED_MARK = b"] Flush lasted"
LIMITER_MARK = b"Options.rate_limiter: "

# bytes.find skips fastest when a mark ends in a character that is rare in a LOG; a blank is not.
TEXT_MARKS = (
    STALL_MARK,
    *ERROR_MARKS,
    *JOB_MARKS,
    MOVE_MARK,
    FLUSHED_MARK,
    COMPACTED_MARK,
    VERSION_MARK,
    TABLES_MARK,
    OPENING_MARK,
    OPENED_MARK,
    CLOSED_MARK,
    *FAMILY_MARKS,
    DROPPED_MARK,
    DUMPING_MARK,
    DUMP_MARK,
    LASTED_MARK,
    LIMITER_MARK,
)


MARKS = (EVENT_MARK, *TEXT_MARKS)
KIND_BITS = 5  # a hit is one int, position and mark: cheaper to make and to sort than a tuple
KIND_MASK = (1 << KIND_BITS) - 1


def find_marks(block: bytes) -> list[int]:
    """All marks in file order, each as position and index in ``MARKS``.

    Event lines, most of a LOG's bytes, are left out when the other marks are looked for: it is
    faster, and what an event quotes is not a message.
    """
    hits: list[int] = []
    gaps: list[bytes] = []  # the lines between events
    begins: list[int] = []  # of each gap in the text of all gaps
    shifts: list[int] = []  # from there to its place in the block
    length = at = pos = 0
    while at >= 0:
        at = block.find(EVENT_MARK, pos)
        if at >= 0:
            hits.append(at << KIND_BITS)
            line = max(pos, block.rfind(b"\n", pos, at) + 1)
        else:
            line = len(block)
        if line > pos:
            gaps.append(block[pos:line])
            begins.append(length)
            shifts.append(pos - length)
            length += line - pos
        pos = block.find(b"\n", max(at, 0)) + 1
    text = b"".join(gaps)
    for kind, mark in enumerate(TEXT_MARKS, 1):
        at = text.find(mark)
        while at >= 0:
            place = at + shifts[bisect.bisect_right(begins, at) - 1]
            hits.append(place << KIND_BITS | kind)
            at = text.find(mark, at + len(mark))
    hits.sort()
    return hits
