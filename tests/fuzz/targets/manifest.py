"""MANIFEST: a shape or an announced reason, and the same one when the file grew in two steps."""

from collections.abc import Iterator
from dataclasses import replace

from probes.errors import NoData, ProbeError
from probes.rocksdb.manifest import ManifestProbe
from probes.rocksdb.samples import ManifestSample
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound
from tests.fuzz.directory import StillClock, directory, extend, put
from tests.fuzz.framing import RAW, RECORDS, SOUND, framed

WORDS = (
    b"\x01\x19leveldb.BytewiseComparator",
    b"\x67\x00\x0b\xe8\x07",
    b"\x06\x00\x0b",
    b"\xc8\x01\x01",
    b"\xc9\x01\x03abc",
    b"\xca\x01",
    b"\xac\x02\x01",
    b"\x04\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x84\x40\x01",
)

BYTES_PER_READ = 1 << 16
MAX_READS = 64
LEVEL_BYTES = 255 * 16
"""An edit of five bytes may name the highest level there can be."""


def seeds() -> Iterator[bytes]:
    """Real MANIFESTs, versions 5 to 11, whole; and their first edits, one record each."""
    for content in captured("rocksdb/*/MANIFEST-*", 8000):
        yield bytes([SOUND, 128]) + content
        yield bytes([RAW, 60]) + content[:2000]
    yield bytes([RECORDS, 99]) + b"".join(bytes([len(word)]) + word for word in WORDS)


def run(data: bytes) -> None:
    """The first byte says how much of the frame is made right, the second where the file is cut."""
    if len(data) < 2:
        return
    content = framed(data[0], data[2:])
    cut = len(content) * data[1] // 256
    path = put("MANIFEST-000001", content)
    put("CURRENT", b"MANIFEST-000001\n")
    whole = outcome_of(ManifestProbe(directory(), StillClock(), BYTES_PER_READ))
    put("MANIFEST-000001", content[:cut])
    grown = ManifestProbe(directory(), StillClock(), BYTES_PER_READ)
    outcome_of(grown)
    extend(path, content[cut:])
    assert counted_from_the_start(outcome_of(grown)) == counted_from_the_start(whole)
    if isinstance(whole, ManifestSample):
        require_sound(whole)
        require_bounded(whole, len(content), base=LEVEL_BYTES * (2 + len(content) // 5))


def counted_from_the_start(outcome: ManifestSample | str) -> ManifestSample | str:
    """Flushes and compactions count from the first reading, which the two do not share."""
    if isinstance(outcome, str):
        return outcome
    return replace(outcome, flushed_bytes=0, compacted_bytes=0)


def outcome_of(probe: ManifestProbe) -> ManifestSample | str:
    """Read until the probe has caught up."""
    for _ in range(MAX_READS):
        try:
            return probe.read()
        except NoData as absent:
            if absent.reason != "manifest_catching_up":
                return absent.reason
        except ProbeError as error:
            return error.reason
    raise AssertionError("it never catches up")
