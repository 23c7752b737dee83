"""/proc/pressure: ratios within 0..1 and totals, or nothing."""

from collections.abc import Iterator

from probes.pressure import parse_pressure
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound

WORDS = (
    b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
    b"full avg10=100.00 avg60=99.99 avg300=1.00 total=18446744073709551615\n",
)


def seeds() -> Iterator[bytes]:
    """Real files."""
    yield from captured("proc/*/pressure/*")
    yield b"".join(WORDS)


def run(data: bytes) -> None:
    sample = parse_pressure(data, 0.0)
    if sample is None:
        return
    require_sound(sample)
    require_bounded(sample, len(data))
    ratios = (sample.some_avg10_ratio, sample.some_avg60_ratio)
    assert all(0.0 <= ratio <= 1.0 for ratio in ratios)
