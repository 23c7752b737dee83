"""State files that no version of the program wrote: named, kept aside, never used, never fatal."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import daemon, workplace, write_config, writing
from tests.integration.faults import failed_with, published_still

pytestmark = pytest.mark.slow
NO_PROGRAMS = "fio: {enabled: false}\nsecondary: {enabled: false}\n"


@pytest.fixture(scope="module")
def database() -> Iterator[Path]:
    """A database that is written to all the time, for all tests of this file."""
    with workplace() as path, writing(path / "db"):
        yield path / "db"


@pytest.fixture
def place() -> Iterator[Path]:
    with workplace() as path:
        (path / "home/state").mkdir(parents=True)
        yield path


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(b'{"version":1,"saved_wall_seconds":17'),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 16),
    "another version": lambda path: path.write_bytes(b'{"version":4711,"devices":[]}'),
    "another type": lambda path: path.write_bytes(b"[1, 2, 3]"),
    "nested": lambda path: path.write_bytes(b"[" * 100_000),
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_state_that_cannot_be_understood_is_set_aside_and_the_daemon_begins_afresh(
    place: Path, database: Path, damage: str
) -> None:
    """What was learned, and the account of what was written, both at once; and all of it named."""
    state = place / "home/state"
    for name in ("learned.json", "wear.json", "pause.json", "calibrate-0123456789abcdef.json"):
        DAMAGES[damage](state / name)
    config = write_config(place, NO_PROGRAMS)
    with daemon(place, "--config", config, "--db", str(database)) as running:
        running.wait_until(
            lambda page: page.value("smax_observed_puts_per_second", db=str(database)), "a rate"
        )
        running.wait_until(
            lambda _: (
                failed_with(running, "calibration", "calibration_unusable")
                and failed_with(running, "pause", "pause_unusable")
            ),
            "the other two files are named",
        )
        published_still(running, database)
        code = running.stop()

    log = running.log_file.read_text()
    warnings = [line for line in log.splitlines() if "level=warning" in line]
    for name in ("learned.json", "wear.json", "pause.json", "calibrate-0123456789abcdef.json"):
        assert len([line for line in warnings if name in line]) == 1, name
    for name in ("learned.json", "wear.json"):
        assert os.path.lexists(state / f"{name}.damaged"), name
    assert code == 0
    assert "Traceback" not in log


def test_a_later_start_finds_its_own_state_again(place: Path, database: Path) -> None:
    """Setting aside is done once; what was set aside is still there to be looked at."""
    learned = place / "home/state/learned.json"
    learned.write_bytes(b"half a fi")
    config = write_config(place, NO_PROGRAMS)
    for _ in range(2):
        with daemon(place, "--config", config, "--db", str(database)) as running:
            published_still(running, database)
            assert running.stop() == 0

    assert "state_unusable" not in running.log_file.read_text()
    assert (learned.parent / "learned.json.damaged").read_bytes() == b"half a fi"
