"""LOG: any bytes give a sample, and the same one however the file was cut while it grew."""

from collections.abc import Iterator

from probes.rocksdb.log_lines import LineSplitter
from probes.rocksdb.log_marks import MARKS
from probes.rocksdb.log_state import LogState
from probes.rocksdb.samples import LogSample
from tests.fuzz.captured import pieces
from tests.fuzz.contract import require_bounded, require_sound

WORDS = (
    *MARKS,
    b"2026/11/21-02:47:22.970972 10029 ",
    b"[WARN] [db/column_family.cc:1001] [default] Stopping",
    b"we have 2 immutable memtables (waiting for flush), max_write_buffer_number is set to 2",
    b"Cumulative stall: 00:00:1.5 H:M:S, 1.0 percent",
    b'"event": "flush_started"',
    b'"event": "flush_finished"',
    b'"event": "compaction_finished"',
    b'"event": "recovery_started"',
    b'"event": "recovery_finished"',
    b'"time_micros": 1795229242970972, ',
    b'"cf_name": "default", ',
    b'"lsm_state": [1, 2]',
    b"Uptime(secs): 1.0 total",
    b"** Compaction Stats [default] **",
)


def seeds() -> Iterator[bytes]:
    """Pieces of real LOGs, from versions 5 to 11."""
    for piece in pieces("rocksdb/*/LOG", 3000, 30_000):
        yield b"\x80" + piece
    for piece in pieces("rocksdb/v*/LOG", 12_000, 100_000):
        yield b"\x20" + piece


def run(data: bytes) -> None:
    """The first byte says where the file is cut in two."""
    place, text = data[:1], data[1:]
    cut = len(text) * place[0] // 256 if place else 0
    whole = sample_of(text)
    assert sample_of(text[:cut], text[cut:]) == whole
    require_sound(whole)
    require_bounded(whole, len(text))


def sample_of(*chunks: bytes) -> LogSample:
    """As the probe reads: the header first, then chunk by chunk, then the unfinished line."""
    splitter, state = LineSplitter(), LogState()
    for chunk in chunks:
        state.feed(splitter.split(chunk))
    state.feed(splitter.finish())
    state.finish()
    state.damaged_lines += splitter.damaged
    return state.sample(1000.0, "/db/LOG", 1.8e9)
