"""The secondary probe: its answers from scripted children, and the real child on real databases."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.command import CompletedCommand, Guard, ProcessGroupRunner
from probes.errors import NoData, ProbeError, ProbeFailed
from probes.rocksdb.samples import SecondarySample
from probes.rocksdb.secondary import PRIVATE_BYTES, SecondaryProbe, remove_private_leftovers
from tests.unit.budgets import Budget

ANSWER: Mapping[str, object] = {
    "latest_sequence": 7,
    "pending_compaction_bytes": {"default": 5},
    "estimated_keys": {"default": 6},
    "level_files": {"default": [1, 0, 2]},
    "total_sst_bytes": 9,
    "cpu_seconds": 0.25,
    "wall_seconds": 0.5,
    "peak_resident_bytes": 1000,
}


CAPTURED = Path(__file__).parents[1] / "data" / "rocksdb"
VERSIONS = ["v6.17.3", "v6.29.5", "v7.4.4", "v8.8.1", "v9.8.4", "v10.7.5", "v11.8.1", "multi_cf"]


class ScriptedRunner:
    """Answers as told instead of starting a child, and keeps what it was asked."""

    def __init__(self, stdout: bytes, stderr: bytes = b"", returncode: int = 0) -> None:
        self.completed = CompletedCommand(returncode, stdout, stderr)
        self.argv: tuple[str, ...] = ()
        self.private_existed = False

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_seconds: float,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        guard: Guard | None = None,
    ) -> CompletedCommand:
        """Return the scripted end."""
        del timeout_seconds, cwd, env, guard
        self.argv = tuple(argv)
        self.private_existed = os.path.isdir(argv[5])
        return self.completed


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A directory with CURRENT and one small write-ahead log."""
    path = tmp_path / "database"
    path.mkdir()
    (path / "CURRENT").touch()
    (path / "000004.log").write_bytes(b"x" * 1000)
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The agent's own directory."""
    path = tmp_path / "state"
    path.mkdir()
    return path


def scripted(
    database: Path, state: Path, stdout: bytes, stderr: bytes = b"", returncode: int = 0
) -> SecondarySample:
    runner = ScriptedRunner(stdout, stderr, returncode)
    return SecondaryProbe(str(database), SystemClock(), runner, str(state)).read()


def make_database(path: Path, keys: int, families: Sequence[str] = ()) -> None:
    """Write a real database in a process of its own that ends without closing it."""
    code = (
        "import os, sys\n"
        "from rocksdict import Options, Rdict\n"
        "options = Options(raw_mode=True)\n"
        "db = Rdict(sys.argv[1], options)\n"
        "for name in sys.argv[3:]: db.create_column_family(name, options)[b'k'] = b'v'\n"
        "for number in range(int(sys.argv[2])): db[b'%08d' % number] = os.urandom(100)\n"
        "db.flush()\n"
        "for number in range(int(sys.argv[2])): db[b'%08d' % number] = os.urandom(100)\n"
        "db.flush_wal(True)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(keys), *families], check=True)


def contents(directory: Path) -> dict[str, tuple[int, int, int]]:
    return {
        path.name: (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in [directory, *directory.iterdir()]
    }


def test_an_answer_becomes_a_sample(database: Path, state: Path) -> None:
    """Every field of the sample comes from the child."""
    sample = scripted(database, state, json.dumps(ANSWER).encode())
    assert sample.latest_sequence == 7
    assert sample.pending_compaction_bytes == {"default": 5}
    assert sample.estimated_keys == {"default": 6}
    assert sample.level_files == {"default": (1, 0, 2)}
    assert sample.total_sst_bytes == 9
    assert (sample.cpu_seconds, sample.wall_seconds) == (0.25, 0.5)
    assert sample.peak_resident_bytes == 1000


def test_the_private_directory_lives_as_long_as_the_child(database: Path, state: Path) -> None:
    """It is there for the child, and gone afterwards also after a crash."""
    runner = ScriptedRunner(b"", b"", -signal.SIGSEGV)
    probe = SecondaryProbe(str(database), SystemClock(), runner, str(state))
    with pytest.raises(ProbeFailed):
        probe.read()
    assert runner.private_existed
    assert os.listdir(state) == []
    assert runner.argv[3:5] == (str(database), str(database))


def test_what_the_child_writes_is_asked_for_before_and_told_afterwards(
    database: Path, state: Path
) -> None:
    """Whole pages, also where it crashed; where it may write nothing it is not started."""

    class Writes(ScriptedRunner):
        def run(self, argv: Sequence[str], **options: Any) -> CompletedCommand:
            view = Path(argv[5]) / "view"
            view.mkdir()
            (view / "LOG").write_bytes(b"x" * 5000)
            (view / "CURRENT").symlink_to(database / "CURRENT")
            return super().run(argv, **options)

    budget, runner = Budget(), Writes(b"", b"", -signal.SIGSEGV)
    probe = SecondaryProbe(str(database), SystemClock(), runner, str(state), budget=budget)
    with pytest.raises(ProbeFailed):
        probe.read()
    assert (budget.asked, budget.written) == ([PRIVATE_BYTES], [4 * 4096])
    budget.refusal, runner.argv = "all of it is used", ()
    with pytest.raises(NoData, match="all of it is used") as caught:
        probe.read()
    assert (caught.value.reason, runner.argv) == ("wear_budget_used", ())


def test_a_separate_wal_directory_is_passed_on_and_measured(
    tmp_path: Path, database: Path, state: Path
) -> None:
    """Relative ones are relative to the database."""
    wal_dir = database / "wal"
    wal_dir.mkdir()
    (wal_dir / "000009.log").write_bytes(b"x" * 3000)
    runner = ScriptedRunner(json.dumps(ANSWER).encode())
    SecondaryProbe(
        str(database), SystemClock(), runner, str(state), wal_dir="wal", max_live_wal_bytes=3000
    ).read()
    assert runner.argv[4] == str(wal_dir)
    with pytest.raises(NoData) as caught:
        SecondaryProbe(
            str(database),
            SystemClock(),
            runner,
            str(state),
            wal_dir=str(wal_dir),
            max_live_wal_bytes=2999,
        ).read()
    assert caught.value.reason == "live_wal_too_large"


def test_large_logs_are_not_replayed(database: Path, state: Path) -> None:
    """Only write-ahead logs count, not tables and not the LOG."""
    (database / "000005.sst").write_bytes(b"x" * 9000)
    (database / "LOG.old.1").write_bytes(b"x" * 9000)
    (database / "notanumber.log").write_bytes(b"x" * 9000)
    runner = ScriptedRunner(json.dumps(ANSWER).encode())
    clock = SystemClock()
    SecondaryProbe(str(database), clock, runner, str(state), max_live_wal_bytes=1000).read()
    runner.argv = ()
    with pytest.raises(NoData) as caught:
        SecondaryProbe(str(database), clock, runner, str(state), max_live_wal_bytes=999).read()
    assert caught.value.reason == "live_wal_too_large"
    assert runner.argv == ()


def test_recycled_logs_are_not_replayed(database: Path, state: Path) -> None:
    """RocksDB 9.8 may loop in them until it is killed; without the replay there is an answer."""
    header = bytes([0, 0, 0, 0, 10, 0, 5])  # crc, length, type 5: full record with a log number
    (database / "000004.log").write_bytes(header + b"x" * 1000)
    with pytest.raises(NoData) as caught:
        scripted(database, state, json.dumps(ANSWER).encode())
    assert caught.value.reason == "wal_recycled"
    runner = ScriptedRunner(json.dumps(ANSWER).encode())
    clock = SystemClock()
    SecondaryProbe(str(database), clock, runner, str(state), replay_wal=False).read()
    assert runner.argv[4].startswith(str(state))


def test_without_replay_the_answer_is_as_of_the_last_flush(tmp_path: Path, state: Path) -> None:
    """2000 keys flushed, and written once more into the log."""
    path = tmp_path / "real"
    make_database(path, 2000)
    probe = SecondaryProbe(
        str(path),
        SystemClock(),
        ProcessGroupRunner(),
        str(state),
        replay_wal=False,
        max_live_wal_bytes=0,
    )
    sample = probe.read()
    assert sample.latest_sequence == 2000
    assert sample.estimated_keys["default"] == 2000
    assert sum(sample.level_files["default"]) == 1


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("not_permitted", NoData),
        ("database_missing", NoData),
        ("rocksdict_missing", NoData),
        ("unknown_comparator", NoData),
        ("unknown_column_family", ProbeFailed),
        ("memory_limit", ProbeFailed),
        ("corruption", ProbeFailed),
    ],
)
def test_the_childs_reasons_keep_their_names(
    database: Path, state: Path, reason: str, kind: type[ProbeError]
) -> None:
    """Absent things are no data; damaged ones have failed."""
    answer = json.dumps({"reason": reason, "detail": "RocksDB says so"}).encode()
    with pytest.raises(kind) as caught:
        scripted(database, state, answer)
    assert caught.value.reason == reason
    assert "RocksDB says so" in caught.value.detail
    assert str(database) in caught.value.detail


@pytest.mark.parametrize(
    ("returncode", "stderr", "reason"),
    [
        (-signal.SIGALRM, b"", "timeout"),
        (-signal.SIGXCPU, b"", "timeout"),
        (-signal.SIGKILL, b"", "killed"),
        (-signal.SIGSEGV, b"", "crashed"),
        (-signal.SIGABRT, b"Assertion failed", "crashed"),
        (-signal.SIGABRT, b"what():  std::bad_alloc", "memory_limit"),
        (-signal.SIGABRT, b"memory allocation of 512 bytes failed", "memory_limit"),
        (1, b"Traceback\nModuleNotFoundError", "secondary_garbage"),
        (0, b"", "secondary_garbage"),
    ],
)
def test_a_child_without_an_answer_has_a_reason(
    database: Path, state: Path, returncode: int, stderr: bytes, reason: str
) -> None:
    """How it ended says why."""
    with pytest.raises(ProbeFailed) as caught:
        scripted(database, state, b"", stderr, returncode)
    assert caught.value.reason == reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_no_answer_breaks_the_parent(database: Path, state: Path, data: st.DataObject) -> None:
    """A damaged or retyped answer is garbage, not an exception."""
    answer = dict(ANSWER)
    junk: st.SearchStrategy[object] = st.one_of(
        st.sampled_from([None, "x", [], {}, {"a": "b"}, {"a": None}, 1e400, {"a": [None]}]),
        st.integers(),
    )
    for key in data.draw(st.sets(st.sampled_from([*ANSWER, "reason"]), max_size=3)):
        answer[key] = data.draw(junk)
    text = json.dumps(answer).encode()
    text = text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text
    try:
        sample = scripted(database, state, text)
    except ProbeError:
        return
    assert isinstance(sample.latest_sequence, int)


def test_a_private_directory_inside_a_database_is_refused(database: Path) -> None:
    """Making it there would write into the primary's directory."""
    before = contents(database)
    with pytest.raises(ProbeFailed) as caught:
        scripted(database, database, b"{}")
    assert caught.value.reason == "private_directory_invalid"
    assert contents(database) == before


def test_a_missing_private_parent_is_named(database: Path, state: Path) -> None:
    """The operator may have removed the state directory."""
    state.rmdir()
    with pytest.raises(ProbeFailed) as caught:
        scripted(database, state, b"{}")
    assert caught.value.reason == "private_directory_invalid"


def test_leftovers_of_dead_runs_are_removed_but_not_what_they_point_to(
    database: Path, state: Path
) -> None:
    """Links in a leftover lead to the primary."""
    leftover = state / "smaxd-secondary-1-1-abcd"
    (leftover / "view").mkdir(parents=True)
    (leftover / "view" / "CURRENT").symlink_to(database / "CURRENT")
    (leftover / "view" / "all").symlink_to(database)
    (state / "smaxd-secondary-1-1-link").symlink_to(database)
    (state / "history.sqlite").touch()
    before = contents(database)
    assert remove_private_leftovers(str(state)) == 1
    assert sorted(os.listdir(state)) == ["history.sqlite", "smaxd-secondary-1-1-link"]
    assert contents(database) == before


def test_a_missing_database_is_no_data(tmp_path: Path, state: Path) -> None:
    """It may have been destroyed."""
    with pytest.raises(NoData) as caught:
        scripted(tmp_path / "missing", state, b"{}")
    assert caught.value.reason == "database_missing"


def test_the_parent_does_not_import_rocksdict() -> None:
    """It would hold the daemon's interpreter and memory."""
    code = "import sys, probes.rocksdb.secondary; print('rocksdict' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"


def test_a_real_database_is_read_and_left_alone(tmp_path: Path, state: Path) -> None:
    """Two writes of each of 2000 keys, one flushed and one only in the log, and two families."""
    path = tmp_path / "real"
    make_database(path, 2000, ["second", "dritte Familie ß"])
    before = contents(path)
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    sample = probe.read()
    assert sample.latest_sequence == 4002
    assert set(sample.level_files) == {"default", "second", "dritte Familie ß"}
    assert sum(sample.level_files["default"]) == 1
    assert sample.estimated_keys["default"] == 4000
    assert sample.estimated_keys["second"] == 1
    assert sample.pending_compaction_bytes["default"] == 0
    sst_bytes = sum(file.stat().st_size for file in path.glob("*.sst"))
    assert sample.total_sst_bytes == sst_bytes
    assert sample.cpu_seconds > 0
    assert sample.peak_resident_bytes is not None
    assert contents(path) == before
    assert os.listdir(state) == []


def test_a_real_child_outside_the_source_tree_and_under_a_hostile_directory(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules in the working directory are not imported."""
    path = tmp_path / "real"
    make_database(path, 10)
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("rocksdict", "json", "ctypes"):
        (hostile / f"{name}.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(hostile)
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    assert probe.read().latest_sequence == 20


def test_a_real_child_respects_its_memory_limit(tmp_path: Path, state: Path) -> None:
    """Whatever breaks first, the answer is the memory limit and the agent lives."""
    path = tmp_path / "real"
    make_database(path, 10)
    probe = SecondaryProbe(
        str(path),
        SystemClock(),
        ProcessGroupRunner(),
        str(state),
        memory_limit_bytes=100 * 1024 * 1024,
    )
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "memory_limit"


def test_a_real_child_ends_itself_at_its_timeout(tmp_path: Path, state: Path) -> None:
    """Also when nobody is left to kill it."""
    path = tmp_path / "real"
    make_database(path, 10)
    probe = SecondaryProbe(
        str(path), SystemClock(), ProcessGroupRunner(), str(state), timeout_seconds=0.005
    )
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "timeout"


def test_a_real_child_names_a_damaged_manifest(tmp_path: Path, state: Path) -> None:
    """RocksDB's own checks find it."""
    path = tmp_path / "real"
    make_database(path, 100)
    manifest = next(path.glob("MANIFEST-*"))
    text = bytearray(manifest.read_bytes())
    text[20] ^= 0xFF
    manifest.write_bytes(text)
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "corruption"


def test_a_real_child_names_a_foreign_comparator(tmp_path: Path, state: Path) -> None:
    """OPTIONS and MANIFEST name the comparator, and they must agree with the one we have."""
    path = tmp_path / "real"
    make_database(path, 100)
    for options in path.glob("OPTIONS-*"):
        text = options.read_text()
        options.write_text(
            text.replace("leveldb.BytewiseComparator", "rocksdb.ReverseBytewiseComparator")
        )
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    with pytest.raises(NoData) as caught:
        probe.read()
    assert caught.value.reason == "unknown_comparator"


def test_a_real_child_without_options_files_uses_defaults(tmp_path: Path, state: Path) -> None:
    """RocksDB goes on when it cannot write them, and so do we."""
    path = tmp_path / "real"
    make_database(path, 100)
    for options in path.glob("OPTIONS-*"):
        options.unlink()
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    assert probe.read().latest_sequence == 200


def test_a_real_database_of_rocksdict_in_its_own_mode_is_read(tmp_path: Path, state: Path) -> None:
    """Python keys have a comparator of rocksdict's own; its config file stays as it is."""
    path = tmp_path / "real"
    code = (
        "import os, sys\n"
        "from rocksdict import Rdict\n"
        "db = Rdict(sys.argv[1])\n"
        "for number in range(500): db[number] = 'v'\n"
        "db.create_column_family('second')[1] = 2\n"
        "db.flush()\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    before = contents(path)
    assert "rocksdict-config.json" in before
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    sample = probe.read()
    assert sample.latest_sequence == 501
    assert set(sample.level_files) == {"default", "second"}
    assert contents(path) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_the_logs_of_every_version_are_replayed_to_the_end(version: str, state: Path) -> None:
    """The captured databases have no tables, so only the sequence number can be right."""
    path = CAPTURED / version
    truth = json.loads((path / "truth.json").read_text())
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    sample = probe.read()
    assert sample.latest_sequence == truth["latest_sequence_number"]
    assert set(sample.level_files) == {name for name in truth["levels"] if name != "?"}
    assert sum(map(sum, sample.level_files.values())) == 0


def test_a_real_recycled_log_is_recognised(state: Path) -> None:
    """On this one RocksDB 9.8 does not come back."""
    path = CAPTURED / "wal_recycled_v11.8.1"
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    with pytest.raises(NoData) as caught:
        probe.read()
    assert caught.value.reason == "wal_recycled"
    without = SecondaryProbe(
        str(path), SystemClock(), ProcessGroupRunner(), str(state), replay_wal=False
    )
    assert without.read().latest_sequence > 0


def test_a_directory_that_is_no_database_is_named(tmp_path: Path, state: Path) -> None:
    """No CURRENT, nothing to open."""
    path = tmp_path / "empty"
    path.mkdir()
    probe = SecondaryProbe(str(path), SystemClock(), ProcessGroupRunner(), str(state))
    with pytest.raises(NoData) as caught:
        probe.read()
    assert caught.value.reason == "database_missing"
    assert os.listdir(path) == []
