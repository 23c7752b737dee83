"""What the listener reads out of certificates. Pure.

The standard library shows the end of a certificate's validity only to who verifies it, and the
listener does not verify its own; so the few bytes of DER up to there are read here (RFC 5280, 4.1).
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

FIRST_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
)
SEQUENCE: Final = 0x30
EXPLICIT_VERSION: Final = 0xA0
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18


class NotACertificate(ValueError):
    """The text holds no certificate, or not what RFC 5280 says of one."""


def expiry_of(pem: bytes) -> float:
    """Until when (Unix time) the first certificate in ``pem`` is valid. NotACertificate."""
    found = FIRST_CERTIFICATE.search(pem)
    if found is None:
        raise NotACertificate("holds no certificate in PEM form")
    try:
        der = base64.b64decode(b"".join(found[1].split()), validate=True)
        return _not_after(der)
    except (binascii.Error, IndexError, ValueError, OverflowError) as error:
        raise NotACertificate("holds a damaged certificate") from error


def _not_after(der: bytes) -> float:
    _, certificate, _ = _element(der)
    _, to_be_signed, _ = _element(certificate)
    tag, _, rest = _element(to_be_signed)
    # [version], serial number, signature algorithm, issuer, validity
    for _ in range(3 if tag == EXPLICIT_VERSION else 2):
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != SEQUENCE:
        raise ValueError("no validity")
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    if tag == UTC_TIME:  # two digits of the year: 50 and above are of the last century
        text = (b"19" if text >= b"50" else b"20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("no time")
    return datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what comes after it."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    if len(der) < start + length:
        raise ValueError("cut off")
    return tag, der[start : start + length], der[start + length :]


def names_of(peer_certificate: Mapping[str, Any]) -> frozenset[str]:
    """The subject's alternative names, as Go writes them, of ``SSLObject.getpeercert()``."""
    return frozenset(
        _address(name) if kind == "IP Address" else name
        for kind, name in peer_certificate.get("subjectAltName", ())
        if kind in {"DNS", "IP Address", "email", "URI"}
    )


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text
