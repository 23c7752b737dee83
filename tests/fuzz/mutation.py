"""Mutations without any library, the same ones for the same seed: for the short run in the tests.

Blind, unlike the coverage-guided fuzzer of the long run: it finds what a damaged file would do, not
what an attacker could.
"""

from collections.abc import Iterator, Sequence
from random import Random

INTERESTING = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"-1",
    b"1e999",
    b"9" * 400,
    b"NaN",
    b"\n",
    b'"',
    b"[",
    b"{",
)
MAX_BYTES = 64 * 1024


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], count: int) -> Iterator[bytes]:
    """``count`` damaged copies of the seeds."""
    random = Random(20)  # noqa: S311 - the same run every time
    for _ in range(count):
        data = bytearray(random.choice(seeds))
        for _ in range(1 << random.randrange(4)):
            _damage(data, random, seeds, words)
        yield bytes(data[:MAX_BYTES])


def _damage(
    data: bytearray, random: Random, seeds: Sequence[bytes], words: Sequence[bytes]
) -> None:
    """One change in place: bits, bytes, words, or a part moved, doubled, dropped or taken over."""
    at = random.randrange(len(data) + 1)
    length = min(len(data) - at, 1 << random.randrange(11))
    other = random.choice(seeds)
    start = random.randrange(len(other) + 1)
    match random.randrange(8):
        case 0 if at < len(data):
            data[at] ^= 1 << random.randrange(8)
        case 1:
            data[at : at + 1] = random.randbytes(1)
        case 2:
            data[at : at + random.randrange(9)] = random.choice(INTERESTING)
        case 3 if words:
            data[at:at] = random.choice(words)
        case 4:
            del data[at : at + length]
        case 5:
            data[at:at] = data[at : at + length]
        case 6:
            data[at : at + length] = other[start : start + length]
        case _:
            del data[at:]
