"""/proc/diskstats: each line is counters or nothing; two readings are rates or none."""

from collections.abc import Iterator
from itertools import pairwise

from probes.diskstats import disk_rates, parse_diskstats_line
from tests.fuzz.captured import captured
from tests.fuzz.contract import require_bounded, require_sound

WORDS = (
    b"   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
    b" 259 0 nvme0n1 " + b"18446744073709551615 " * 17 + b"\n",
    b"18446744073709551616",
    b"-1",
)

MAX_LINES = 4
"""Lines do not know of each other; the fewer an input has, the more inputs are tried."""


def seeds() -> Iterator[bytes]:
    """Real files of other kernels, and a line of every length."""
    yield from captured("proc/*/diskstats", 600)
    for count in (10, 11, 15, 17, 18):
        line = b"   8       0 sda " + b" ".join(b"%d" % (n * 1000) for n in range(count))
        yield line + b"\n" + line


def run(data: bytes) -> None:
    """Lines are read one by one, and each as the reading after the one before it."""
    found = []
    for line in data.split(b"\n")[:MAX_LINES]:
        counters = parse_diskstats_line(line)
        if counters is None:
            continue
        require_sound(counters)
        # Absent counters are None, which count as eight bytes here.
        require_bounded(counters, len(line))
        major, _, minor = counters.devnum.partition(":")
        assert major.isdigit()
        assert minor.isdigit()
        found.append(counters)
    for before, after in pairwise(found):
        rates = disk_rates(before, after, 0.1)
        if rates is not None:
            require_sound(rates)
            assert rates.busy_ratio <= 1.0
