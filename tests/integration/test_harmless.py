"""The primary's directory stays untouched: real writers, real probes, every system call watched."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.probing.scheduler import STALL_QUIET_SECONDS
from probes.scratch import SCRATCH_DATABASE_PREFIX
from tests.integration.daemon import (
    PATIENCE_SECONDS,
    Daemon,
    daemon,
    environment,
    processes_naming,
    write_config,
)
from tests.integration.volume import VOLUME_BYTES, mounted_volume, needs_volumes

TICKS = 300
PAUSE_SECONDS = 0.01
SECONDARY_EVERY = 10
NOBODY = 65534
ROOT = Path(__file__).parents[2]

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
needs_db_bench = pytest.mark.skipif(
    shutil.which("db_bench") is None, reason="db_bench (rocksdb-tools) is not installed"
)
needs_fio = pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change user and mount")
pytestmark = [needs_strace, pytest.mark.slow, pytest.mark.timeout(400)]

CHANGING_CALLS = (
    "creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,symlink,"
    "symlinkat,truncate,ftruncate,fallocate,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,"
    "utime,utimes,utimensat,futimesat,mknod,mknodat,setxattr,lsetxattr,fsetxattr,removexattr,"
    "lremovexattr,fremovexattr,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,flock"
)
"""Every call here that names the database, or a file in it, is a violation, failed or not."""

TRACED = f"trace=open,openat,openat2,fcntl,{CHANGING_CALLS}"
# Contents are not shown (-s 0), since they may name the database; file names always are.
STRACE = ["strace", "-f", "-y", "--seccomp-bpf", "-s", "0", "-e", TRACED]
WRITING_FLAGS = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND|TMPFILE)")
CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)")
LINKS = re.compile(r"/view/(CURRENT|MANIFEST-|OPTIONS-)")
FOLLOWING_CALLS = frozenset({"truncate", "chmod", "chown", "utime", "utimes", "setxattr"})

NAIVE_OPEN = """
import sys
from rocksdict import AccessType, Options, Rdict
options, families = Options.load_latest(sys.argv[1])
Rdict(sys.argv[1], options, families, AccessType.secondary(sys.argv[2]))
"""

ROCKSDICT_WRITER = """
import os, sys, time
from rocksdict import Options, Rdict
options = Options()
options.set_write_buffer_size(1 << 20)
options.set_keep_log_file_num(3)
for _ in range(3):  # each opening leaves a LOG.old behind
    Rdict(sys.argv[1], options).close()
db = Rdict(sys.argv[1], options)
number = 0
while True:
    for _ in range(500):
        db[number] = os.urandom(400)
        number += 1
    if number == 50_000:
        db.create_column_family("later")[1] = 1
    time.sleep(0.02)
"""


@pytest.fixture
def workplace() -> Iterator[Path]:
    """A directory that other users may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="smaxd-test-", dir=os.environ.get("TMPDIR", "/var/tmp")))  # noqa: S108
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def writing(argv: list[str], database: Path) -> Iterator[None]:
    """Run a writer until the end of the block; begins once its first table is there."""
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as writer:
        try:
            give_up = time.monotonic() + 30
            while not list(database.glob("*.sst")):
                assert writer.poll() is None, "the writer ended"
                assert time.monotonic() < give_up, "the writer writes no table"
                time.sleep(0.05)
            yield
            assert writer.poll() is None, "the writer ended before the probes did"
        finally:
            os.killpg(writer.pid, signal.SIGKILL)


def db_bench(database: Path) -> list[str]:
    return [
        "db_bench",
        f"--db={database}",
        "--benchmarks=fillrandom",
        "--num=1000000000",
        "--duration=120",
        "--value_size=400",
        "--write_buffer_size=2097152",
        "--benchmark_write_rate_limit=8388608",
        "--compression_type=none",
    ]


def rocksdict_writer(database: Path) -> list[str]:
    return [sys.executable, "-c", ROCKSDICT_WRITER, str(database)]


@dataclass(frozen=True)
class Agent:
    """Who runs the probes, and from where that user can run them."""

    python: str = sys.executable
    source: Path = ROOT
    packages: str = ""
    user: int | None = None


@contextmanager
def mounted(source: Path, target: Path, *options: str) -> Iterator[Path]:
    """Show ``source`` at ``target`` until the end of the block."""
    target.mkdir()
    if subprocess.run(["mount", "--bind", str(source), str(target)], check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        if options:
            subprocess.run(["mount", "-o", ",".join(options), str(target)], check=True)
        yield target
    finally:
        subprocess.run(["umount", str(target)], check=True)


@contextmanager
def nobody(workplace: Path) -> Iterator[Agent]:
    """Let another user run our interpreter, packages and source, which may lie in a closed home."""
    with (
        mounted(Path(sys.base_prefix), workplace / "python") as python,
        mounted(Path(sysconfig.get_path("platlib")), workplace / "packages") as packages,
        mounted(ROOT, workplace / "source") as source,
    ):
        program = python / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        yield Agent(str(program), source, str(packages), NOBODY)


def traced(agent: Agent, arguments: list[str], trace: Path) -> bytes:
    """Run Python under strace as the agent's user, and return what it printed."""
    done = subprocess.run(
        [*STRACE, "-o", str(trace), agent.python, *arguments],
        stdout=subprocess.PIPE,
        check=True,
        timeout=100,
        user=agent.user,
        group=agent.user,
        extra_groups=None if agent.user is None else [],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{agent.source}:{agent.packages}".rstrip(":"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd="/",
    )
    return done.stdout


def violations(trace: Path, directories: list[Path]) -> list[str]:
    """List the calls that would change a database, or take one of its locks."""
    found = []
    inside = re.compile("|".join(re.escape(str(path)) + r'(?=[/">])' for path in directories))
    for line in trace.read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        # With -y the result of an open is the file's real path, whatever link led there.
        if not inside.search(line):
            if call[1] in FOLLOWING_CALLS and LINKS.search(line):
                found.append(line)
            continue
        if call[1].startswith("open"):
            violated = WRITING_FLAGS.search(line) is not None
        elif call[1] == "fcntl":
            violated = "F_SETLK" in line or "F_OFD_SETLK" in line
        elif call[1].startswith("symlink"):
            # The link's target may be in the database, its own name may not.
            violated = inside.search(line.rpartition(", ")[2]) is not None
        else:
            violated = True
        if violated:
            found.append(line)
    return found


def loop_over(database: Path, workplace: Path, agent: Agent = Agent()) -> Path:
    """Read hundreds of times while the writer writes; return the trace of all system calls."""
    state = workplace / "state"
    state.mkdir()
    if agent.user is not None:
        os.chown(state, agent.user, agent.user)
    loop = agent.source / "tests" / "integration" / "probe_loop.py"
    numbers = [str(TICKS), str(PAUSE_SECONDS), str(SECONDARY_EVERY)]
    output = traced(agent, [str(loop), str(database), str(state), *numbers], state / "trace")
    outcomes = json.loads(output)
    for name, counts in outcomes.items():
        expected = TICKS // SECONDARY_EVERY if name.startswith("secondary") else TICKS
        assert sum(counts.values()) == expected, (name, counts)
        # A busy writer rotates its files under the reader now and then.
        assert counts.get("ok", 0) >= 0.8 * expected, (name, counts)
    trace = state / "trace"
    text = trace.read_text(errors="replace")
    assert f"{database}/CURRENT" in text, "the trace does not show the readings"
    assert re.search(rf"= \d+<{re.escape(str(database))}/\d+\.sst>", text), "no secondary was seen"
    assert [name for name in os.listdir(state) if name != "trace"] == []
    return trace


def test_the_watch_sees_what_a_naive_open_does(workplace: Path) -> None:
    """Without the recipe rocksdict writes its config into the primary's directory."""
    database = workplace / "db"
    with writing(rocksdict_writer(database), database):
        second = workplace / "second"
        traced(Agent(), ["-c", NAIVE_OPEN, str(database), str(second)], workplace / "trace")
    found = violations(workplace / "trace", [database])
    assert any("rocksdict-config.json" in line and "O_TRUNC" in line for line in found)


@needs_db_bench
def test_a_db_bench_database_is_untouched_by_hundreds_of_ticks(workplace: Path) -> None:
    """As the same user, who could write there."""
    database = workplace / "db"
    with writing(db_bench(database), database):
        trace = loop_over(database, workplace)
    assert violations(trace, [database]) == []


def test_a_rocksdict_database_is_untouched_by_hundreds_of_ticks(workplace: Path) -> None:
    """With old LOG files to delete, a column family that comes later, and a config to overwrite."""
    database = workplace / "db"
    with writing(rocksdict_writer(database), database):
        trace = loop_over(database, workplace)
    assert violations(trace, [database]) == []
    assert (database / "rocksdict-config.json").exists()


@needs_root
@needs_db_bench
def test_another_user_reads_a_directory_that_nobody_may_write(workplace: Path) -> None:
    """The writer is root, which the missing write permission does not stop."""
    database = workplace / "db"
    with nobody(workplace) as agent, writing(db_bench(database), database):
        database.chmod(0o555)
        trace = loop_over(database, workplace, agent)
    assert violations(trace, [database]) == []


@needs_root
@needs_db_bench
def test_a_read_only_mount_of_a_live_database_is_read(workplace: Path) -> None:
    """As in a container that was given the database's volume read-only."""
    database = workplace / "db"
    with (
        writing(db_bench(database), database),
        mounted(database, workplace / "read-only", "remount", "bind", "ro") as view,
    ):
        trace = loop_over(view, workplace)
    assert violations(trace, [database, view]) == []


# -- the whole daemon, with its programs and with storage that fails


def traced_python(place: Path, trace: Path) -> str:
    """An interpreter under strace that keeps its process id (-D), so that signals reach it."""
    program = place / "traced-python"
    words = " ".join((*STRACE, "-D", "-o", str(trace), sys.executable))
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    return str(program)


def whole_trace(trace: Path) -> str:
    """What strace wrote, once it has ended after its tracee."""
    give_up = time.monotonic() + 30
    while processes_naming(str(trace)):
        assert time.monotonic() < give_up, "strace does not end"
        time.sleep(0.1)
    return trace.read_text(errors="replace")


BUSY = (
    "fio: {size_mib: 8, runtime_seconds: 1, interval_seconds: 10}\n"
    "secondary: {interval_seconds: 1, cpu_share_ratio: 1.0}\n"
)


def has_looked(running: Daemon, database: Path) -> None:
    """Wait until secondary and fio have run."""
    running.wait_until(
        lambda page: (
            page.value("smax_estimated_keys", db=str(database)) is not None
            and page.samples("smax_device_write_capacity_bytes_per_second")
        ),
        "the secondary's answer and fio's",
        # On a busy machine the guard may end fio, which then waits for a minute without stalls.
        PATIENCE_SECONDS + 2 * STALL_QUIET_SECONDS,
    )


@needs_fio
def test_a_database_is_untouched_by_the_daemon_with_fio_and_secondary(workplace: Path) -> None:
    """From the start to the end of the service, its scratch file beside the database included."""
    database, trace, scratch = workplace / "db", workplace / "trace", workplace / "scratch"
    scratch.mkdir()
    words = ("--config", write_config(workplace, BUSY), "--db", str(database))
    python = traced_python(workplace, trace)
    with (
        writing(rocksdict_writer(database), database),
        daemon(workplace, *words, "--scratch", str(scratch), python=python) as running,
    ):
        has_looked(running, database)
        assert running.stop() == 0
    text = whole_trace(trace)

    assert f"{scratch}/" in text, "fio's scratch file was not seen"
    assert re.search(rf"= \d+<{re.escape(str(database))}/\d+\.sst>", text), "no secondary was seen"
    assert violations(trace, [database]) == []
    assert list(scratch.iterdir()) == []


@needs_fio
@needs_volumes
@pytest.mark.parametrize("fault", ["full", "read-only", "gone"])
def test_a_database_is_untouched_while_its_storage_fails(workplace: Path, fault: str) -> None:
    """No clean-up and no retry leads into its directory, with the state beside it."""
    trace = workplace / "trace"
    # Whoever has a file open for writing, as the history has, keeps it from being remounted.
    more = "history: {enabled: false}\n" if fault == "read-only" else ""
    with mounted_volume(workplace) as volume:
        database, state = volume.path / "db", volume.path / "state"
        words = ("--config", write_config(workplace, BUSY + more), "--db", str(database))
        python = traced_python(workplace, trace)
        with writing(rocksdict_writer(database), database):
            pass
        names = sorted(os.listdir(database))
        with daemon(workplace, *words, "--state", str(state), python=python) as running:
            has_looked(running, database)
            ticks = running.page().value("smaxd_ticks_total") or 0.0
            do = {"full": volume.fill, "read-only": volume.protect, "gone": volume.unplug}
            undo = {"full": volume.make_room, "read-only": volume.unprotect, "gone": volume.plug_in}
            do[fault]()
            later = running.wait_until(
                lambda page: (
                    (page.value("smaxd_ticks_total") or 0.0) > ticks + 20
                    and 0.0 in [value for _, value in page.samples("smax_probe_success")]
                ),
                "ticks in which something fails",
            )
            ticks = later.value("smaxd_ticks_total") or 0.0
            undo[fault]()
            running.wait_until(
                lambda page: (
                    (page.value("smaxd_ticks_total") or 0.0) > ticks + 2
                    and page.value("smax_puts_total", db=str(database))
                ),
                "the database is read again",
            )
            assert running.stop() == 0
        whole_trace(trace)
        assert violations(trace, [database]) == []
        assert sorted(os.listdir(database)) == names


@needs_volumes
def test_a_database_is_untouched_by_a_calibration_beside_it(workplace: Path) -> None:
    """Its options are read, its twin is made, filled and removed in a directory of its own."""
    trace = workplace / "trace"
    # On a disk of its own: beside a live database that stalls, calibrate refuses to begin.
    with mounted_volume(workplace, 2 * VOLUME_BYTES) as volume:
        database, scratch = volume.path / "db", volume.path / "scratch"
        scratch.mkdir()
        with writing(rocksdict_writer(database), database):
            pass
        names = sorted(os.listdir(database))
        done = subprocess.run(
            [
                *(traced_python(workplace, trace), "-m", "agent", "calibrate", "--yes"),
                *("--db", str(database), "--scratch", str(scratch), "--max-gib", "0.07"),
            ],
            env=environment(workplace / "home"),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        text = whole_trace(trace)

        assert done.returncode in {0, 1}, done.stderr
        assert f"{scratch}/{SCRATCH_DATABASE_PREFIX}" in text, done.stderr
        assert violations(trace, [database]) == []
        assert sorted(os.listdir(database)) == names
        assert list(scratch.iterdir()) == []
