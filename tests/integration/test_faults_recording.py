"""A recording that cannot be begun, or not be gone on with: it costs the recording only."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.daemon import (
    PATIENCE_SECONDS,
    ROOT,
    daemon,
    write_config,
    writing,
)
from tests.integration.demands import demands
from tests.integration.faults import wait_for_event
from tests.integration.volume import MIB, Volume, mounted_volume, needs_volumes

pytestmark = pytest.mark.long

NO_PROGRAMS = "secondary: {enabled: false}\nfio: {enabled: false}\n"


@pytest.fixture
def volume(place: Path) -> Iterator[Volume]:
    with mounted_volume(place) as made:
        yield made


def record_refused(place: Path, target: str) -> str:
    """The one line that a daemon ends with which is to record there."""
    done = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--record", target],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(place)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_recording_goes_to_a_new_file_or_nowhere(place: Path) -> None:
    """Devices, pipes and files that exist are told apart in what to do."""
    pipe, old = place / "pipe", place / "old"
    os.mkfifo(pipe)
    old.write_text("precious")

    assert "/dev/full: is no regular file; name a new file" in record_refused(place, "/dev/full")
    assert "is no regular file; name a new file" in record_refused(place, str(pipe))
    assert "exists already" in record_refused(place, str(old))
    assert "No such file or directory" in record_refused(place, str(place / "no/where"))
    assert old.read_text() == "precious"


@needs_volumes
def test_a_recording_on_a_read_only_file_system_is_refused(place: Path, volume: Volume) -> None:
    """In the words of the system."""
    volume.protect()
    assert "Read-only file system" in record_refused(place, str(volume.path / "ticks"))


@needs_volumes
@pytest.mark.parametrize(
    ("leave_bytes", "reason", "remark"),
    [
        (0, "No space left on device|less than 5 %", "incomplete|almost full"),
        (3 * MIB, "less than 5 % of its file system is free", "almost full"),
    ],
    ids=["full", "almost-full"],
)
def test_a_recording_ends_where_the_disk_is_full(
    place: Path, volume: Volume, leave_bytes: int, reason: str, remark: str
) -> None:
    """One log line; the daemon goes on, and what was recorded can be read."""
    database, recording = place / "db", volume.path / "ticks"
    words = ("--config", write_config(place, NO_PROGRAMS), "--db", str(database))
    with (
        writing(database),
        daemon(place, *words, "--record", str(recording)) as running,
        demands(running, place, database) as demanded,
    ):
        volume.fill(leave_bytes)
        said = wait_for_event(running, "recording_stopped")
        demanded.others_go_on()
        volume.make_room()
        replayed = running.smaxd("replay", str(recording))

    assert re.search(reason, said)
    assert replayed.returncode == 0
    assert re.search(remark, replayed.stderr)
