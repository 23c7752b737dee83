"""OPTIONS: the known options or "options_damaged"; numbers that a size can have."""

from collections.abc import Iterator

from probes.errors import ProbeFailed
from probes.rocksdb.options import parse_options
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound

WORDS = (
    b'[CFOptions "default"]\n',
    b"[DBOptions]\n",
    b"  write_buffer_size=-1\n",
    b"  max_bytes_for_level_multiplier=10.000000\n",
    b"compaction_options_universal={size_ratio=1;}\n",
    b"compression_per_level=kNoCompression:kZSTD\n",
    b"\\#",
    b"#",
    b"  wal_dir=/x\n",
)


def seeds() -> Iterator[bytes]:
    """Real OPTIONS files, whole and shortened to every fourth line."""
    for content in captured("rocksdb/*/OPTIONS-*"):
        yield content[:7000]
        lines = content.splitlines(keepends=True)
        kept = (line for at, line in enumerate(lines) if at % 4 == 0 or line.startswith(b"["))
        yield b"".join(kept)


def run(data: bytes) -> None:
    """Each option of a file is taken over at most once."""
    try:
        sample = parse_options(data, file_name="OPTIONS-000001", at=0.0, database_path="/db")
    except ProbeFailed as error:
        assert error.reason == "options_damaged"
        return
    require_sound(sample)
    # A family of fourteen bytes has about forty fields, most of them None.
    require_bounded(sample, len(data), factor=40)
