"""The fio probe with the real fio, on real file systems."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.diskstats import DiskstatsProbe
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.fio import FioLimits, FioMode, FioProbe

MIB = 1024 * 1024
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
pytestmark = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")

AGENT = """
import sys
from probes.clock import SystemClock
from probes.command import ProcessGroupRunner
from probes.fio import FioLimits, FioMode, FioProbe
limits = FioLimits(64 * 1024 * 1024, 3.0, 10 * 1024 * 1024)
FioProbe(sys.argv[1], SystemClock(), ProcessGroupRunner(), FioMode.FAST, limits).read()
"""


def probe(
    directory: Path,
    mode: FioMode,
    limits: FioLimits,
    runner: ProcessGroupRunner | None = None,
) -> FioProbe:
    return FioProbe(str(directory), SystemClock(), runner or ProcessGroupRunner(), mode, limits)


def reason_of(directory: Path, megabytes: int) -> str:
    """Run a probe that is expected to fail."""
    failing = probe(directory, FioMode.FAST, FioLimits(megabytes * MIB, 2.0, None))
    with pytest.raises(ProbeError) as caught:
        failing.read()
    return caught.value.reason


def wait_for_scratch_file(directory: Path) -> None:
    """Wait until fio has preallocated its file."""
    give_up = time.monotonic() + 20
    while not any(file.stat().st_size > 0 for file in directory.iterdir()):
        assert time.monotonic() < give_up, "fio does not start"
        time.sleep(0.01)


def eventually(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up, "it does not come about"
        time.sleep(0.01)


def processes_naming(text: str) -> list[str]:
    """Command lines of running processes that contain ``text``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found


@contextmanager
def file_system(workplace: Path, *mount: str) -> Iterator[Path]:
    """Mount a small file system for a block."""
    target = workplace / "mounted"
    target.mkdir()
    if subprocess.run(["mount", *mount, str(target)], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


def ext4_image(workplace: Path, megabytes: int) -> str:
    image = workplace / "image"
    with image.open("wb") as file:
        file.truncate(megabytes * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    return str(image)


def test_a_fast_run_measures_and_leaves_nothing(tmp_path: Path) -> None:
    """All bytes are written, and the values hang together."""
    fast = probe(tmp_path, FioMode.FAST, FioLimits(16 * MIB, 3.0, None))
    sample = fast.read()
    assert sample.written_bytes == 16 * MIB
    assert fast.written_bytes_total == 16 * MIB
    assert sample.write_bytes_per_second > MIB
    assert sample.latency_p50_seconds is not None
    assert sample.latency_p99_seconds is not None
    assert 0 < sample.latency_p50_seconds <= sample.latency_p99_seconds
    assert sample.fio_version.startswith("fio-")
    assert os.listdir(tmp_path) == []
    fast.read()
    assert fast.written_bytes_total == 32 * MIB


def test_time_bounds_a_run_whose_bytes_do_not(tmp_path: Path) -> None:
    """A slow device is not kept busy until the bytes are written."""
    limits = FioLimits(256 * MIB, 1.0, 20 * MIB)
    sample = probe(tmp_path, FioMode.FAST, limits).read()
    assert sample.runtime_seconds < 2
    assert sample.written_bytes < 60 * MIB
    assert sample.spread_ratio is not None


def test_bytes_bound_a_run_that_goes_round_in_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is smaller than what is written."""
    monkeypatch.setattr("probes.fio.LARGEST_FILE_BYTES", 8 * MIB)
    sample = probe(tmp_path, FioMode.BALANCED, FioLimits(24 * MIB, 10.0, None)).read()
    assert sample.written_bytes == 24 * MIB


def test_an_accurate_run_ends_at_the_steady_state(tmp_path: Path) -> None:
    """A limited rate is steady soon, long before the bytes are written."""
    sample = probe(tmp_path, FioMode.ACCURATE, FioLimits(512 * MIB, 9.0, 30 * MIB)).read()
    assert sample.steady is True
    assert sample.written_bytes < 512 * MIB


def test_others_traffic_is_never_negative(tmp_path: Path) -> None:
    """fio's own bytes are in the device's counters, too."""
    clock = SystemClock()
    device = os.stat(tmp_path).st_dev
    devnum = f"{os.major(device)}:{os.minor(device)}"
    diskstats = DiskstatsProbe(clock)
    if devnum not in diskstats.read().disks:
        pytest.skip("the temporary directory is on no device of its own")
    sample = FioProbe(
        str(tmp_path),
        clock,
        ProcessGroupRunner(),
        FioMode.FAST,
        FioLimits(16 * MIB, 3.0, None),
        device_devnum=devnum,
        diskstats=diskstats.read,
    ).read()
    assert sample.other_write_bytes_per_second is not None
    assert sample.other_write_bytes_per_second >= 0


def test_stopping_the_agent_ends_fio_and_removes_its_file(tmp_path: Path) -> None:
    """SIGTERM to the daemon must not wait for a probe."""
    runner = ProcessGroupRunner()
    slow = probe(tmp_path, FioMode.FAST, FioLimits(600 * MIB, 60.0, 10 * MIB), runner)
    reasons = []

    def read() -> None:
        try:
            slow.read()
        except ProbeFailed as failure:
            reasons.append(failure.reason)

    thread = threading.Thread(target=read)
    thread.start()
    wait_for_scratch_file(tmp_path)
    name = os.listdir(tmp_path)[0]
    runner.stop()
    thread.join(20)
    assert reasons == ["stopped"]
    assert os.listdir(tmp_path) == []
    assert processes_naming(name) == []
    assert slow.written_bytes_total == 600 * MIB


def test_what_a_killed_agent_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    """The kernel ends fio with it; nobody can remove the file but the next start."""
    with subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path)]) as agent:
        wait_for_scratch_file(tmp_path)
        leftover = os.listdir(tmp_path)[0]
        eventually(lambda: any(one.startswith("fio ") for one in processes_naming(leftover)))
        agent.kill()
    eventually(lambda: processes_naming(leftover) == [])
    assert os.listdir(tmp_path) == [leftover]
    sample = probe(tmp_path, FioMode.FAST, FioLimits(MIB, 2.0, None)).read()
    assert sample.written_bytes == MIB
    assert os.listdir(tmp_path) == []


@needs_root
def test_a_full_file_system_is_not_probed(tmp_path: Path) -> None:
    """Found before fio is started."""
    with file_system(tmp_path, "-o", "loop", ext4_image(tmp_path, 32)) as mounted:
        failing = probe(mounted, FioMode.FAST, FioLimits(16 * MIB, 2.0, None))
        with pytest.raises(NoData) as caught:
            failing.read()
        assert caught.value.reason == "low_free_space"
        assert failing.written_bytes_total == 0


@needs_root
def test_space_that_ends_during_the_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may fill the file system meanwhile; here the check before is switched off."""
    monkeypatch.setattr(FioProbe, "_check_free_space", lambda _self: None)
    with file_system(tmp_path, "-o", "loop", ext4_image(tmp_path, 32)) as mounted:
        assert reason_of(mounted, 64) == "out_of_space"
        assert os.listdir(mounted) == ["lost+found"]


@needs_root
def test_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    """As after an error of the device, when ext4 remounts itself."""
    with file_system(tmp_path, "-o", "loop,ro", ext4_image(tmp_path, 32)) as mounted:
        assert reason_of(mounted, 1) == "read_only_file_system"


@needs_root
def test_a_file_system_without_direct_writes_is_named(tmp_path: Path) -> None:
    """A measurement through the page cache would be worthless."""
    with file_system(tmp_path, "-t", "tmpfs", "-o", "size=64m", "none") as mounted:
        # tmpfs has taken O_DIRECT since Linux 6.6 and refused it before.
        try:
            probe(mounted, FioMode.FAST, FioLimits(MIB, 2.0, None)).read()
        except ProbeFailed as failure:
            assert failure.reason == "direct_io_not_supported"  # noqa: PT017  both are right
