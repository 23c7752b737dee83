"""A real scratch database under load, small and short; also what becomes of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from agent.calibrate.figures import Measured
from agent.calibrate.load import LoadSettings, Progress, ScratchLoad
from agent.calibrate.options import parse, scratch_options
from agent.calibrate.plan import schedule
from agent.calibrate.writer_process import LoadFailed, library_options, newest_options
from probes.clock import SystemClock

DATA = Path(__file__).parents[1] / "data/rocksdb"
ROOT = Path(__file__).parents[2]
MIB = 2**20

WATCHED = sorted(DATA.glob("*/OPTIONS-*"))


def load(
    directory: Path,
    options: str,
    guard: Callable[[], str | None] = lambda: None,
    seconds: float = 4.0,
    cap_bytes: int = 200 * MIB,
    wal_bytes_per_sync: int = 0,
) -> tuple[Measured, list[Progress]]:
    shown: list[Progress] = []
    settings = LoadSettings(
        directory=str(directory),
        key_bytes=16,
        value_bytes=200,
        incompressible_ratio=0.5,
        key_order="random",
        batch_puts=64,
        wal_enabled=True,
        wal_bytes_per_sync=wal_bytes_per_sync,
        compaction_level0_files=2,
        slowdown_level0_files=4,
        device_devnum="0:0",
        schedule=schedule(seconds, cap_bytes),
    )
    run = ScratchLoad(settings, options, SystemClock(), guard, shown.append)
    return run.run(), shown


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> str:
    return library_options(str(tmp_path_factory.mktemp("known")))


@pytest.mark.parametrize("path", WATCHED, ids=[path.parent.name for path in WATCHED])
def test_every_versions_options_open_a_database_that_has_them(
    tmp_path: Path, known: str, path: Path
) -> None:
    """From 5.3 to 11.8: unknown ones are left out, the rest is in force."""
    made = scratch_options(path.read_text(), known)
    measured, _ = load(tmp_path, made.text, lambda: None, seconds=0.1)
    assert measured.aborted is False
    asked, effective = parse(made.text), parse(newest_options(str(tmp_path / "db")))
    for name in ("write_buffer_size", "level0_slowdown_writes_trigger", "compaction_style"):
        assert effective.value(name) == asked.value(name)
    assert children() == []


def test_phases_follow_each_other_and_the_child_is_gone(tmp_path: Path, known: str) -> None:
    """Fill, saturation, settling, check; puts are counted from outside."""
    text = next(path for path in WATCHED if path.parent.name == "v9.8.4").read_text()
    measured, shown = load(
        tmp_path, scratch_options(text, known).text, seconds=6.0, cap_bytes=2000 * MIB
    )
    phases = list(dict.fromkeys(progress.phase for progress in shown))
    assert phases == ["fill", "saturate", "settle", "check at 95 %"]
    assert measured.ended_by is None
    before, after = measured.saturated_before, measured.saturated_after
    assert before is not None
    assert after is not None
    assert after.puts > before.puts > 0
    assert after.written is not None
    assert after.written.flush > 0
    assert after.written.writer > 200 * after.puts // 2
    assert children() == []


def test_the_wal_reaches_the_device_when_the_options_say_so(tmp_path: Path, known: str) -> None:
    """rocksdict's build ignores wal_bytes_per_sync: all of it would be deleted unwritten."""
    options = scratch_options(None, known).text.replace(
        "write_buffer_size=67108864", "write_buffer_size=2097152"
    )
    measured, _ = load(tmp_path, options, wal_bytes_per_sync=65536, cap_bytes=16_000 * MIB)
    after = measured.saturated_after
    assert after is not None
    assert after.written is not None
    assert after.written.cancelled < 0.9 * after.written.writer


def test_the_cap_is_never_passed(tmp_path: Path, known: str) -> None:
    """Counted in bytes that reached the device or may do so."""
    measured, _ = load(tmp_path, scratch_options(None, known).text, cap_bytes=20 * MIB, seconds=30)
    assert measured.ended_by == "the cap of written bytes was reached"
    assert 0 < measured.written_bytes <= 20 * MIB
    assert not measured.aborted


def test_a_guards_word_ends_it_at_once(tmp_path: Path, known: str) -> None:
    """Within two looks, and what was measured stays."""
    asked = iter([None] * 10)
    measured, _ = load(
        tmp_path, scratch_options(None, known).text, lambda: next(asked, "distress"), seconds=60.0
    )
    assert (measured.ended_by, measured.aborted) == ("distress", True)
    assert measured.seconds < 10.0
    assert children() == []


def test_options_that_rocksdb_refuses_are_its_own_words(tmp_path: Path, known: str) -> None:
    """And leave no process."""
    text = scratch_options(None, known).text.replace("format_version=6", "format_version=99")
    with pytest.raises(LoadFailed, match="format_version"):
        load(tmp_path, text)
    assert children() == []


def test_a_killed_parent_takes_the_child_with_it(tmp_path: Path) -> None:
    """kill -9: the kernel ends the child; the directory is found by the next run."""
    program = (
        "import sys; from pathlib import Path;"
        "from tests.integration import test_live_calibrate as t;"
        "from agent.calibrate.writer_process import library_options; d = Path(sys.argv[1]);"
        "from agent.calibrate.options import scratch_options;"
        "t.load(d, scratch_options(None, library_options(str(d))).text, seconds=60.0)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT) as parent:
        deadline = time.monotonic() + 60.0
        while not (tmp_path / "db" / "LOG").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (child,) = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=10.0)
    assert not child.is_running()
