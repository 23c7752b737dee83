"""Certificates made by the real openssl, for tests of TLS."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
HERE = "DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs certificates; ``place`` is where all the files go."""

    place: Path
    pair: Pair

    def signs(
        self, name: str, alternative_names: str = HERE, days: int = 3650, key: str = "ec"
    ) -> Pair:
        """A new pair of this authority."""
        authority = ["-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key)]
        names = ["-addext", f"subjectAltName={alternative_names}"] if alternative_names else []
        return _make(
            self.place,
            name,
            days,
            key,
            [*authority, *names, "-addext", "basicConstraints=CA:FALSE"],
        )


def authority(place: Path, name: str = "authority") -> Authority:
    """A new authority."""
    return Authority(place, _make(place, name, 3650, "ec", []))


def _make(place: Path, name: str, days: int, key: str, more: list[str]) -> Pair:
    pair = Pair(place / f"{name}.crt", place / f"{name}.key")
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if key == "ec" else [key]
    files = ["-keyout", str(pair.key), "-out", str(pair.certificate)]
    fixed = ["-x509", "-nodes", "-days", str(days), "-subj", f"/CN={name}"]
    subprocess.run(
        ["openssl", "req", "-newkey", *kind, *fixed, *files, *more],
        check=True,
        capture_output=True,
    )
    return pair
