"""WAL: a sequence number or an announced reason; one that grew reads as one that was there."""

from collections.abc import Iterator

from probes.errors import ProbeError
from probes.rocksdb.samples import WalSample
from probes.rocksdb.version_edit import MAX_SEQUENCE
from probes.rocksdb.wal import WalProbe
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_sound
from tests.fuzz.directory import StillClock, directory, extend, put
from tests.fuzz.framing import RAW, RECORDS, SOUND, framed

WORDS = (
    b"\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00",
    b"\x1a\x00\x00\x00",
    b"\x01\x04key1\x03abc",
    bytes(7),
    b"\x00\x80\x01",
)

NUMBER = 26
"""The number of the captured WALs whose files are recycled: their headers name it."""


def seeds() -> Iterator[bytes]:
    """Real WALs, recycled ones too: whole blocks, and the first records only."""
    for content in captured("rocksdb/*/*.log"):
        yield bytes([RAW, 128]) + content[:1500]
        yield bytes([SOUND, 200]) + content[:6000]
    for content in captured("rocksdb/wal_recycled*/*.log"):
        yield bytes([SOUND, 90]) + content[: 2 * 32768 + 100]
    record = bytes([len(b"".join(WORDS[::2]))]) + b"".join(WORDS[::2])
    yield bytes([RECORDS, 99]) + record * 3


def run(data: bytes) -> None:
    """The first byte says how much of the frame is made right, the second where the file is cut."""
    if len(data) < 2:
        return
    content = framed(data[0], data[2:])
    cut = len(content) * data[1] // 256
    name = f"{NUMBER:06d}.log"
    path = put(name, content)
    whole = outcome_of(WalProbe(directory(), StillClock()))
    put(name, content[:cut])
    grown = WalProbe(directory(), StillClock())
    before = outcome_of(grown)
    extend(path, content[cut:])
    after = outcome_of(grown)
    if isinstance(whole, WalSample):
        require_sound(whole)
        assert whole.last_sequence <= MAX_SEQUENCE
        assert isinstance(after, WalSample), f"{after} although it can be read"
        assert after.last_sequence == max(whole.last_sequence, sequence_of(before))
        assert after.mean_record_bytes == whole.mean_record_bytes
        mean = whole.mean_record_bytes
        assert mean is None or mean <= len(content), f"{mean} bytes a record of {len(content)}"
    elif isinstance(after, WalSample):
        assert after.last_sequence == sequence_of(before), "what was reported stays reported"


def sequence_of(outcome: WalSample | str) -> int:
    return 0 if isinstance(outcome, str) else outcome.last_sequence


def outcome_of(probe: WalProbe) -> WalSample | str:
    try:
        return probe.read()
    except ProbeError as error:
        return error.reason
