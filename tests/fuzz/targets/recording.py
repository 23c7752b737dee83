"""Recordings: findings until the end, or one RecordingError; never more than was recorded."""

import gzip
import io
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import islice

from agent.recording.recording import Recording, RecordingError, TickEncoder
from tests.fuzz.captured import DATA
from tests.unit.recordings import HEADER, captured_ticks

WORDS = (
    b'{"end":"stopped"}\n',
    b'{"tick":{}}\n',
    b'{"tick":{"databases":[]}}\n',
    b'{"drop":1,"edit":[[0,{}]],"add":[{}]}',
    b'{"keys":[],"values":[]}',
    b'["Known",{"value":1.0,"source":"x","at":0.0}]',
    b'["Missing",{"reason":"x","detail":"y"}]',
    b"Infinity",
    b"NaN",
    b'"skipped":1',
)
PACKED, PLAIN = 0, 1
SEED_TICKS = 3


@cache
def _lines() -> tuple[bytes, ...]:
    encoder = TickEncoder()
    ticks = islice(captured_ticks("v9.8.4", 0.5), SEED_TICKS)
    return (
        TickEncoder.header(HEADER),
        *(encoder.tick(findings) for findings in ticks),
        TickEncoder.end("stopped"),
    )


def seeds() -> Iterator[bytes]:
    """A recording made of a captured database, plain and packed; the beginning of a real one."""
    lines = _lines()
    yield bytes([PLAIN]) + b"".join(lines)
    yield bytes([PLAIN]) + lines[0] + lines[1] + b'{"tick":{}}\n' + lines[-1]
    yield bytes([PACKED]) + gzip.compress(b"".join(lines), mtime=0)
    with gzip.open(DATA / "recordings" / "base" / "recording.gz") as file:
        real = file.read(20_000)
    yield bytes([PLAIN]) + real[: real.rfind(b"\n") + 1]


def run(data: bytes) -> None:
    """The first byte says whether the rest is the lines or the packed file."""
    if not data:
        return
    content = data[1:]
    if data[0] & 1:
        content = gzip.compress(content, compresslevel=1, mtime=0)
    try:
        recording = Recording(io.BytesIO(content), "fuzz")
        count = sum(1 for _ in recording)
    except RecordingError as error:
        assert len(str(error)) < 2000, "an error of one sentence"
        return
    assert recording.skipped >= 0
    assert recording.end is not None or recording.cut is not None
    assert count <= unpacked_lines(content)


def unpacked_lines(content: bytes) -> int:
    """Lines that the packed content holds, up to where it is damaged."""
    try:
        return zlib.decompressobj(31).decompress(content).count(b"\n") + 1
    except zlib.error:
        return 0
