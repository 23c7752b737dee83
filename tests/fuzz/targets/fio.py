"""fio's output: a result or an announced reason, whatever fio printed to which stream."""

from collections.abc import Iterator

from probes.errors import ProbeFailed
from probes.fio_output import parse_fio_output, reported_write_bytes
from tests.fuzz.captured import DATA
from tests.fuzz.contract import require_bounded, require_sound

STREAMS = b"\x00STDERR\x00"
WORDS = (
    STREAMS,
    b'"jobs" : [{',
    b'"write" : {',
    b'"io_bytes" : 1',
    b'"bw_bytes" : 1e308',
    b'"bw_mean" : 1.5',
    b'"runtime" : 0',
    b'"clat_ns" : {"percentile" : {"50.000000" : 1}}',
    b'"steadystate" : {"attained" : 1}',
    b'"fio version" : "fio-3.33"',
    b"NaN",
    b"-Infinity",
    b"fio: terminating on signal 15",
    b"err= 28",
)
REASONS = {
    "fio_killed",
    "fio_too_old",
    "out_of_space",
    "read_only_file_system",
    "scratch_not_writable",
    "direct_io_not_supported",
    "fio_garbage",
    "fio_failed",
}


def seeds() -> Iterator[bytes]:
    """What real runs printed, good ones and failed ones."""
    for path in sorted((DATA / "fio").glob("*.stdout")):
        error = path.with_suffix(".stderr").read_bytes()
        for status in (0, 1):
            yield bytes([status]) + path.read_bytes()[:12_000] + STREAMS + error


def run(data: bytes) -> None:
    """The first byte is the exit status, above 128 a signal."""
    status = data[0] if data else 0
    stdout, _, stderr = data[1:].partition(STREAMS)
    written = reported_write_bytes(stdout)
    assert written is None or 0 <= written <= 1 << 63
    try:
        result = parse_fio_output(stdout, stderr, status if status < 128 else 128 - status)
    except ProbeFailed as error:
        assert error.reason in REASONS, error.reason
        assert len(error.detail) < 1000
        return
    require_sound(result)
    require_bounded(result, len(data))
    assert result.write_bytes_per_second > 0
    assert result.written_bytes > 0
