"""What most tests of the daemon begin with; a file that needs another one has its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import workplace, writing


@pytest.fixture(scope="module")
def database() -> Iterator[Path]:
    """A database that is written to all the time, for all tests of a file."""
    with workplace() as path, writing(path / "db"):
        yield path / "db"


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory for the daemon and what it writes."""
    with workplace() as path:
        yield path
