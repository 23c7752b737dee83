"""The end of a certificate's validity: a time that a calendar has, or none."""

import base64
from collections.abc import Iterator

from agent.web_certificate import NotACertificate, expiry_of
from tests.fuzz.captured import captured

WORDS = (
    b"-----BEGIN CERTIFICATE-----",
    b"-----END CERTIFICATE-----",
    b"0\x82\x01\x00",
    b"0\x84\xff\xff\xff\xff",
    b"0\x80",
    b"\xa0\x03\x02\x01\x02",
    b"\x02\x01\x01",
    b"\x17\r500101000000Z",
    b"\x18\x0f20500101000000Z",
)
YEAR_1, YEAR_10000 = -62135596800.0, 253402300800.0


def seeds() -> Iterator[bytes]:
    """Real ones as text, and the bytes below it: damage to base64 seldom gets that far."""
    for pem in captured("web/*.crt"):
        yield b"\0" + pem
        lines = pem.partition(WORDS[0])[2].partition(WORDS[1])[0]
        yield b"\1" + base64.b64decode(lines)


def run(data: bytes) -> None:
    """The first byte says whether the rest is text, or still to be made text of."""
    pem = data[1:]
    if data[:1] == b"\1":
        pem = WORDS[0] + b"\n" + base64.b64encode(pem) + b"\n" + WORDS[1]
    try:
        expiry = expiry_of(pem)
    except NotACertificate:
        return
    assert YEAR_1 <= expiry < YEAR_10000
