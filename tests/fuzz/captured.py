"""Real inputs, captured from running systems, to begin with."""

from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
CONFIG = Path(__file__).parents[2] / "configs" / "smaxd.yaml"


def captured(pattern: str, limit_bytes: int | None = None) -> Iterator[bytes]:
    """The content of the files below tests/data, each cut after ``limit_bytes``."""
    for path in sorted(DATA.glob(pattern)):
        if path.is_file():
            yield path.read_bytes()[:limit_bytes]


def pieces(pattern: str, piece_bytes: int, step_bytes: int) -> Iterator[bytes]:
    """Pieces out of large files: small inputs are tried far more often."""
    for content in captured(pattern):
        for start in range(0, len(content), step_bytes):
            yield content[start : start + piece_bytes]
