import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.calibrate.guard import StallGuard, have_layer_in_common
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.errors import ProbeError
from probes.samples import BlockDeviceSample, BlockLayer
from tests.unit.agent_samples import FixedClock, a_device

DATA = Path(__file__).parents[1] / "data/rocksdb"
STALL = (
    "{time} 7 [WARN] [db/column_family.cc:1001] [default] Stalling writes because we have 6 "
    "level-0 files rate 8388608\n"
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A database that this process holds open, by its lock; its LOG ends without a stall."""
    path = tmp_path / "db"
    path.mkdir()
    shutil.copy(DATA / "v9.8.4/OPTIONS-000007", path)
    for name in ("IDENTITY", "LOCK", "MANIFEST-000005"):
        (path / name).touch()
    (path / "CURRENT").write_text("MANIFEST-000005\n")
    (path / "LOG").write_text("2026/01/02-03:04:05.000001 7 RocksDB version: 9.8.4\n")
    with open(path / "LOCK", "w", encoding="ascii") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield path


@pytest.fixture
def device(tmp_path: Path) -> BlockDeviceSample:
    """The database's own; where it has none, every database counts as being on the same."""
    try:
        return BlockDeviceProbe(str(tmp_path), SystemClock()).read()
    except ProbeError:
        return a_device()


@pytest.fixture
def guard(database: Path, device: BlockDeviceSample) -> Iterator[StallGuard]:
    made = StallGuard([str(database)], device, SystemClock())
    yield made
    made.close()


def test_an_array_shares_a_device_with_each_of_its_disks() -> None:
    """Although its traffic is accounted elsewhere; a device over none of them does not."""
    one, other = a_device("sda", "8:0"), a_device("sdb", "8:16")
    array = BlockLayer("md0", "9:0", "md")
    mirror = a_device("md0", "9:0", layers=(array, *one.layers, *other.layers), device=array)

    assert have_layer_in_common(mirror, one)
    assert have_layer_in_common(other, mirror)
    assert not have_layer_in_common(one, other)


def warn(database: Path) -> None:
    with open(database / "LOG", "a", encoding="ascii") as log:
        log.write(STALL.format(time="2026/01/02-03:04:06.000001"))


def test_a_stall_that_appears_is_named(database: Path, guard: StallGuard) -> None:
    """The WARN line is enough: it stands in the LOG at once."""
    assert guard.stalled(at_once=True) is None
    warn(database)
    assert guard.stalled(at_once=True) == f"{database} is delayed by l0_files (default)"


def test_a_quiet_log_of_a_level_with_warnings_is_no_blindness(guard: StallGuard) -> None:
    """A database just opened has told of nothing yet."""
    (watched,) = guard.watched
    assert watched.blind is None


def test_a_log_that_hides_warnings_is_told(database: Path, device: BlockDeviceSample) -> None:
    """A stall there could not be noticed."""
    options = database / "OPTIONS-000007"
    options.write_text(options.read_text().replace("=INFO_LEVEL", "=ERROR_LEVEL"))
    guard = StallGuard([str(database)], device, SystemClock())
    (watched,) = guard.watched
    guard.close()
    assert watched.blind == "its LOG has level ERROR_LEVEL and hides warnings"


def test_a_missing_log_is_told(database: Path, device: BlockDeviceSample) -> None:
    """Whatever OPTIONS say."""
    (database / "LOG").unlink()
    guard = StallGuard([str(database)], device, SystemClock())
    (watched,) = guard.watched
    guard.close()
    assert watched.blind is not None


def test_a_closed_database_is_not_watched(database: Path, device: BlockDeviceSample) -> None:
    """The last words of one that died in a stall hold back nobody."""
    warn(database)
    (database / "LOCK").unlink()
    (database / "LOCK").touch()
    guard = StallGuard([str(database)], device, SystemClock())
    assert guard.watched == ()
    assert guard.stalled(at_once=True) is None


def test_it_looks_four_times_a_second_at_most(database: Path, device: BlockDeviceSample) -> None:
    """However often it is asked."""
    clock = FixedClock()
    guard = StallGuard([str(database)], device, clock)
    guard.stalled()
    warn(database)
    asked_again = guard.stalled()
    guard.close()
    assert asked_again is None


def test_a_database_on_another_disk_is_not_watched(
    database: Path, device: BlockDeviceSample
) -> None:
    """Writes here do not reach it."""
    elsewhere = a_device("other", "999:0")
    if device.device.name == "sda":
        pytest.skip("the test's directory has no block device")
    assert StallGuard([str(database)], elsewhere, SystemClock()).watched == ()
