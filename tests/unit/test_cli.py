"""The command line: every call of the contract, its exit codes, one line for every error."""

import dataclasses
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent.alerts.engine import AlertState
from agent.http import HttpServer, application
from agent.loop import Published
from probes.blockdev import BlockDeviceProbe
from probes.clock import SystemClock
from probes.errors import ProbeError
from tests.unit import snapshots
from tests.unit.command_line import NOWHERE, Call, Ended
from tests.unit.snapshots import FixedClock

ROOT = Path(__file__).parents[2]
CAPTURED = ROOT / "tests" / "data" / "rocksdb"
PREDICT_KEYS = {
    "puts_per_second",
    "model",
    "phase",
    "confidence",
    "utilization",
    "factor",
    "bandwidth_mib",
    "record_size",
}
PROBE_LOG_KEYS = {
    "rocksdb_version",
    "first_time",
    "last_time",
    "flushes",
    "compactions",
    "puts",
    "record_size_bytes",
    "write_amplification",
    "stalls",
}
CAPTURED_LOGS = sorted(
    str(path.relative_to(CAPTURED))
    for path in CAPTURED.rglob("*LOG*")
    if path.is_file() and path.stat().st_size
)


@pytest.fixture
def published() -> Published:
    holder = Published()
    holder.put(snapshots.snapshot(), 0.01)
    return holder


@pytest.fixture
def url(published: Published) -> Iterator[str]:
    """Where a listener shows the fixed snapshot, as a daemon would."""
    server = HttpServer(application(published, FixedClock()), "127.0.0.1", 0)
    server.start()
    yield f"http://{server.address}"
    server.stop()


def environment(**more: str) -> dict[str, str]:
    """What a program started by a test gets to see."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SMAXD_")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", **more}


def is_one_line(text: str) -> bool:
    return text.startswith("smaxd: ") and text.count("\n") == 1 and text.endswith("\n")


USAGE_ERRORS = [
    ["nonsense"],
    ["--nonsense"],
    ["run", "--nonsense"],
    ["run", "extra"],
    ["run", "--config"],
    ["run", "--config", "/nonexistent/smaxd.yaml"],
    ["run", "--config", "/"],
    ["run", "--web.listen-address", "nonsense"],
    ["run", "--web.listen-address", "127.0.0.1:99999"],
    ["run", "--web.listen-address", "::1:80"],
    ["status", "--nonsense"],
    ["status", "--interval", "x"],
    ["status", "--watch", "--json"],
    ["predict"],
    ["predict", "--bandwidth", "x"],
    ["predict", "--bandwidth", "0"],
    ["predict", "--bandwidth", "-5"],
    ["predict", "--bandwidth", "nan"],
    ["predict", "--bandwidth", "inf"],
    ["predict", "--bandwidth", "100", "--phase", "late"],
    ["predict", "--bandwidth", "100", "--model", "v5"],
    ["predict", "--bandwidth", "100", "--record-size", "0"],
    ["predict", "--bandwidth", "100", "--runtime-min", "-1"],
    ["predict", "--bandwidth", "100", "--db-size-gb", "-1"],
    ["predict", "--bandwidth", "100", "--wa", "nan"],
    ["validate", "extra"],
    ["probe", "nonsense"],
    ["probe", "disk"],
    ["probe", "fio"],
    ["probe", "fio", "--path", "/", "--mode", "brutal"],
    ["probe", "rocksdb"],
    ["probe", "log"],
    ["discover", "--nonsense"],
    ["discover", "--write-config"],
    ["check-config"],
    ["check-config", "/nonexistent/smaxd.yaml"],
    ["check-config", "/"],
]
FAILED_OPERATIONS = [
    ["status", "--url", NOWHERE],
    ["status", "--url", "http://127.0.0.1:nonsense"],
    ["status", "--url", ""],
    ["status", "--json", "--url", NOWHERE],
    ["run", "--web.listen-address", "no-such-host.invalid:80"],
    ["run", "--web.listen-address", f"{'x' * 80}:80"],
    ["probe", "disk", "--path", "/nonexistent"],
    ["probe", "disk", "--path", "/proc"],
    ["probe", "fio", "--path", "/nonexistent"],
    ["probe", "fio", "--path", "/etc/passwd"],
    ["probe", "rocksdb", "--db", "/nonexistent"],
    ["probe", "rocksdb", "--db", "/"],
    ["probe", "rocksdb", "--db", "/etc/passwd"],
    ["probe", "log", "/nonexistent"],
    ["probe", "log", "/"],
    ["probe", "log", "/dev/zero"],
]


@pytest.mark.parametrize("words", USAGE_ERRORS, ids=" ".join)
def test_bad_usage_or_input_ends_with_2_and_one_line(smaxd: Call, words: list[str]) -> None:
    """The line is on stderr, and nothing is on stdout."""
    ended = smaxd(*words)

    assert (ended.code, ended.out) == (2, "")
    assert is_one_line(ended.err)


@pytest.mark.parametrize("words", FAILED_OPERATIONS, ids=" ".join)
def test_a_failed_operation_ends_with_1_and_one_line(smaxd: Call, words: list[str]) -> None:
    """The line is on stderr, and nothing is on stdout."""
    ended = smaxd(*words)

    assert (ended.code, ended.out) == (1, "")
    assert is_one_line(ended.err)


@pytest.mark.parametrize("words", [["--nope"], ["--db"], ["extra"], [], ["--db", "x"]], ids=str)
def test_check_ends_with_3_for_bad_usage_and_without_a_daemon(
    smaxd: Call, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Its one line is on stdout, where monitoring reads it."""
    monkeypatch.setenv("SMAXD_URL", NOWHERE)
    ended = smaxd("check", *words)

    assert (ended.code, ended.err) == (3, "")
    assert ended.out.startswith("SMAXD UNKNOWN: ")
    assert ended.out.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        ["--version"],
        *(
            [*command, "--help"]
            for command in (
                ["run"],
                ["status"],
                ["check"],
                ["predict"],
                ["validate"],
                ["probe"],
                ["probe", "disk"],
                ["probe", "fio"],
                ["probe", "rocksdb"],
                ["probe", "log"],
                ["discover"],
                ["check-config"],
            )
        ),
    ],
    ids=" ".join,
)
def test_help_is_no_error(smaxd: Call, words: list[str]) -> None:
    """For every command of the contract."""
    ended = smaxd(*words)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out


def test_no_command_at_all_shows_the_help(smaxd: Call) -> None:
    """It is bad usage all the same."""
    ended = smaxd()

    assert ended.code == 2
    assert "check-config" in ended.err


@pytest.mark.parametrize(
    ("variable", "content", "words", "code"),
    [
        ("SMAXD_CONFIG", "/nonexistent", ["run"], 2),
        ("SMAXD_CONFIG", "/", ["run"], 2),
        ("SMAXD_URL", "http://[::1", ["status"], 1),
        ("SMAXD_URL", "http://[::1", ["check"], 3),
        ("SMAXD_URL", "\udcff", ["status"], 1),
        ("SMAXD_URL", "\udcff", ["check"], 3),
    ],
)
def test_nonsense_in_the_environment_is_an_error_like_any_other(
    smaxd: Call,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    content: str,
    words: list[str],
    code: int,
) -> None:
    """One line, no traceback."""
    monkeypatch.setenv(variable, content)
    ended = smaxd(*words)

    assert ended.code == code
    assert (ended.out + ended.err).count("\n") == 1


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"\x00\xff\xfe binary \x80", 1),
        (b"\xff" * 4096, 1),
        (b"{" * 5000, 1),
        (b"tick_seconds: [", 1),
        (b"just text", 1),
        (b"- 1\n- 2", 1),
        (b"tik_seconds: 1\nprobe_timeout_seconds: fast\nfio: {mode: brutal}\n", 3),
        (b"databases: [{path: relative}]\n", 1),
    ],
)
@pytest.mark.parametrize("command", [["check-config"], ["run", "--config"]], ids=" ".join)
def test_a_bad_config_file_lists_every_problem(
    smaxd: Call, tmp_path: Path, command: list[str], content: bytes, lines: int
) -> None:
    """Exit 2, and one line for each."""
    file = tmp_path / "smaxd.yaml"
    file.write_bytes(content)
    ended = smaxd(*command, str(file))

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", lines)
    assert all(line.startswith("smaxd: ") for line in ended.err.splitlines())


def test_a_good_config_file_is_called_ok(smaxd: Call, tmp_path: Path) -> None:
    """The empty one, too, is a configuration."""
    good, empty = tmp_path / "good.yaml", tmp_path / "empty.yaml"
    good.write_text("tick_seconds: 5\n")
    empty.write_text("")

    assert smaxd("check-config", str(good)) == Ended(0, f"{good}: ok\n", "")
    assert smaxd("check-config", str(empty)).code == 0


def test_predict_has_exactly_the_keys_of_the_contract(smaxd: Call) -> None:
    """With every option given, and with the only one that must be."""
    least = json.loads(smaxd("predict", "--bandwidth", "1000", "--json").out)
    most = smaxd(
        *("predict", "--bandwidth", "1000", "--phase", "final", "--runtime-min", "120"),
        *("--db-size-gb", "40", "--record-size", "1040", "--wa", "5", "--ra", "1"),
        *("--model", "v4.1", "--json"),
    )

    assert (set(least), set(json.loads(most.out))) == (PREDICT_KEYS, PREDICT_KEYS)
    assert (most.code, most.err) == (0, "")


def test_predict_says_what_the_published_formula_says(smaxd: Call) -> None:
    """V4, middle phase, of the reference experiment."""
    answer = smaxd(
        *("predict", "--bandwidth", "1074.8", "--phase", "middle", "--model", "v4", "--json")
    )

    assert json.loads(answer.out) == {
        "puts_per_second": pytest.approx(50932, abs=1),
        "model": "v4",
        "phase": "middle",
        "confidence": "high",
        "utilization": 0.047,
        "factor": 1.0,
        "bandwidth_mib": 1074.8,
        "record_size": 1040.0,
    }


def test_a_warning_of_a_prediction_goes_to_stderr(smaxd: Call) -> None:
    """The JSON stays clean."""
    ended = smaxd("predict", "--bandwidth", "20000", "--json")

    assert set(json.loads(ended.out)) == PREDICT_KEYS
    assert ended.err.startswith("smaxd: warning: ")
    assert ended.code == 0


def test_predict_is_readable_without_json(smaxd: Call) -> None:
    """The number, and the formula it comes from."""
    text = smaxd("predict", "--bandwidth", "1000", "--phase", "middle", "--model", "v4").out

    assert text.splitlines() == [
        "47,388 puts/s  (v4, middle phase, confidence high)",
        "= 1000 MiB/s / 1040 B * 0.047 * 1.0000",
    ]


def test_validate_prints_claim_and_recomputation(smaxd: Call) -> None:
    """Never the claim alone."""
    text = smaxd("validate").out
    document = json.loads(smaxd("validate", "--json").out)
    middle = next(p for p in document["points"] if p["phase"] == "middle" and p["model"] == "v4")

    assert re.search(r"middle +1074.8 +114,472 +v4 +50,932 +44.5 % +96.9 %", text)
    assert round(middle["accuracy_percent"], 1) == 44.5
    assert middle["claimed_accuracy_percent"] == 96.9


@pytest.mark.parametrize("log", CAPTURED_LOGS)
def test_probe_log_has_the_keys_of_the_contract_on_every_captured_log(
    smaxd: Call, log: str
) -> None:
    """Of every version, damaged or not."""
    ended = smaxd("probe", "log", str(CAPTURED / log), "--json")

    assert (ended.code, ended.err) == (0, "")
    assert set(json.loads(ended.out)) >= PROBE_LOG_KEYS


def test_probe_log_agrees_with_what_was_really_written(smaxd: Call) -> None:
    """The version, and the puts but for the last ones, which no flush has seen yet."""
    database = CAPTURED / "v9.8.4"
    truth = json.loads((database / "truth.json").read_bytes())
    told = json.loads(smaxd("probe", "log", str(database / "LOG"), "--json").out)

    assert told["rocksdb_version"] == truth["rocksdb_version"]
    assert 0.95 * truth["operations_total"] <= told["puts"] <= truth["operations_total"]
    assert told["write_amplification"] > 1.0


def test_probe_log_says_null_where_the_log_does_not_say(smaxd: Call, tmp_path: Path) -> None:
    """An empty LOG tells nothing, which is not zero."""
    (tmp_path / "LOG").write_bytes(b"")
    told = json.loads(smaxd("probe", "log", str(tmp_path / "LOG"), "--json").out)
    counted = {"flushes", "compactions", "puts", "record_size_bytes", "write_amplification"}

    assert {key: told[key] for key in PROBE_LOG_KEYS - {"stalls"}} == dict.fromkeys(
        PROBE_LOG_KEYS - {"stalls"}
    )
    assert all(
        f"{key:<24} unknown" in smaxd("probe", "log", str(tmp_path / "LOG")).out for key in counted
    )


def test_probe_rocksdb_reads_every_source_of_a_captured_database(smaxd: Call) -> None:
    """The numbers are those that the database itself reported."""
    database = CAPTURED / "v9.8.4"
    truth = json.loads((database / "truth.json").read_bytes())
    ended = smaxd("probe", "rocksdb", "--db", str(database), "--json")
    told = json.loads(ended.out)

    assert ended.code == 0
    assert set(told) == {"fingerprint", "options", "wal", "manifest", "log", "secondary"}
    assert told["wal"]["last_sequence"] == truth["latest_sequence_number"]
    assert {cf["name"] for cf in told["manifest"]["column_families"]} == {"default", "second"}
    assert told["log"]["rocksdb_version"] == "9.8.4"


def test_probe_rocksdb_names_what_it_cannot_read_beside_what_it_can(
    smaxd: Call, tmp_path: Path
) -> None:
    """A missing LOG costs the LOG's part."""
    database = tmp_path / "db"
    shutil.copytree(CAPTURED / "v9.8.4", database)
    (database / "LOG").unlink()
    told = json.loads(smaxd("probe", "rocksdb", "--db", str(database), "--json").out)

    assert set(told["log"]) == {"reason", "detail"}
    assert told["wal"]["last_sequence"] == 9380
    assert f"log: {told['log']['reason']}: " in smaxd("probe", "rocksdb", "--db", str(database)).out


def test_a_path_that_is_no_valid_utf_8_is_shown_escaped(smaxd: Call, tmp_path: Path) -> None:
    """In text and in JSON."""
    database = os.path.join(tmp_path, "x\udcff")
    shutil.copytree(CAPTURED / "v9.8.4", database)
    answers = [
        smaxd("probe", "rocksdb", "--db", database),
        smaxd("probe", "rocksdb", "--db", database, "--json"),
        smaxd("probe", "log", f"{database}/LOG", "--json"),
    ]

    assert [(ended.code, ended.err) for ended in answers] == [(0, "")] * 3
    assert json.loads(answers[1].out)["wal"]["last_sequence"] == 9380
    assert smaxd("probe", "log", f"{database}/nothing").code == 1


def test_probe_disk_tells_the_device_behind_a_path(smaxd: Call) -> None:
    """The real one under the tests, or that there is none."""
    ended = smaxd("probe", "disk", "--path", str(ROOT), "--seconds", "0.1", "--json")
    if ended.code == 1:
        pytest.skip(f"the project lies on no block device here: {ended.err.strip()}")
    told = json.loads(ended.out)

    assert set(told) == {"device", "rates"}
    assert re.fullmatch(r"\d+:\d+", told["device"]["device"]["devnum"])
    assert f"({told['device']['device']['devnum']})" in (
        smaxd("probe", "disk", "--path", str(ROOT), "--seconds", "0.1").out
    )


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_probe_fio_measures_and_leaves_nothing(
    smaxd: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real fio, on the real disk, however busy that is."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    ended = smaxd("probe", "fio", "--path", str(tmp_path), "--force", "--json")
    if "direct_io_not_supported" in ended.err:
        pytest.skip("the file system of the tests has no direct I/O")
    told = json.loads(ended.out)

    assert told["mode"] == "fast"
    assert told["write_bytes_per_second"] > 0
    assert told["written_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_probe_fio_without_fio_says_what_to_install(
    smaxd: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leaves nothing either."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    ended = smaxd("probe", "fio", "--path", str(tmp_path), "--force")

    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        "smaxd: fio not found; install the fio package (fio_missing)"
    )
    assert list(tmp_path.iterdir()) == []


def commands_below(pid: int) -> set[bytes]:
    """The programs that a process has started."""
    commands = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[1]
            if int(parent) == pid:
                commands.add((entry / "cmdline").read_bytes().partition(b"\0")[0])
        except OSError:
            continue  # ended meanwhile
    return commands


def test_under_nohup_a_closed_terminal_stays_without_effect(smaxd: Call) -> None:
    """A signal that is ignored from the start is meant to be."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert smaxd("--version").code == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_probe_fio_that_is_told_to_end_takes_fio_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A signal to the command ends the program, removes its file, and charges the bytes."""
    state, measured = tmp_path / "state", tmp_path / "measured"
    for directory in (state, measured):
        directory.mkdir()
    (state / "wear.json").write_text("{}")
    try:
        BlockDeviceProbe(str(measured), SystemClock()).read()
        expected_receipts = 1
    except ProbeError:
        expected_receipts = 0  # no device, no account
    argv = [sys.executable, "-m", "agent", "probe", "fio", "--path", str(measured)]
    environ = environment(STATE_DIRECTORY=str(state))
    with subprocess.Popen([*argv, "--mode", "accurate", "--force"], env=environ) as running:
        try:
            give_up = time.monotonic() + 30
            while b"fio" not in commands_below(running.pid):
                if running.poll() is not None:
                    pytest.skip("fio cannot run here")
                assert time.monotonic() < give_up
                time.sleep(0.02)
            running.send_signal(number)
            code = running.wait(10)
        finally:
            running.kill()

    assert code == 128 + number
    assert list(measured.iterdir()) == []
    assert len(list(state.glob("written-*.json"))) == expected_receipts


DATABASE_OWNER = """
import sys
from rocksdict import Rdict
database = Rdict(sys.argv[1])
database["key"] = "value"
print("open", flush=True)
sys.stdin.read()
database.close()
"""


@pytest.fixture
def open_database(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A database that a process has open, and the process's id."""
    path = tmp_path / "open" / "db"
    path.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", DATABASE_OWNER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"open\n"
        yield path, owner.pid
        owner.communicate()


def test_discover_lists_a_database_that_is_open(
    smaxd: Call, open_database: tuple[Path, int]
) -> None:
    """Path, owner, size, version; the same in JSON."""
    path, pid = open_database
    text = smaxd("discover")
    found = json.loads(smaxd("discover", "--json").out)["databases"]
    one = next(database for database in found if database["path"] == str(path))

    assert text.code == 0
    assert (one["pid"], one["rocksdb_version"]) == (pid, "9.8.4")
    assert re.search(rf"^ +{pid} +9\.8\.4 +[\d,]+ MiB +\S+ +{path}$", text.out, re.MULTILINE)


def test_discover_writes_a_config_that_is_good_and_never_overwrites_one(
    smaxd: Call, open_database: tuple[Path, int], tmp_path: Path
) -> None:
    """The second time it refuses, and the file stays."""
    file = tmp_path / "smaxd.yaml"
    first = smaxd("discover", "--write-config", str(file))
    content = file.read_bytes()
    second = smaxd("discover", "--write-config", str(file))

    assert (first.code, second.code) == (0, 1)
    assert {"path": str(open_database[0])} in yaml.safe_load(content)["databases"]
    assert smaxd("check-config", str(file)).code == 0
    assert second.err.endswith(f"smaxd: {file} exists and is not overwritten; move it away first\n")
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ["missing/smaxd.yaml", "."])
def test_discover_says_why_it_cannot_write(
    smaxd: Call, open_database: tuple[Path, int], tmp_path: Path, name: str
) -> None:
    """A missing directory, or a directory in the file's place."""
    ended = smaxd("discover", "--write-config", str(tmp_path / name))

    assert ended.code == 1
    assert is_one_line(ended.err.splitlines(keepends=True)[-1])
    assert "Traceback" not in ended.err


def test_status_is_plain_where_there_is_no_terminal(smaxd: Call, url: str) -> None:
    """At most 80 columns, and no control character."""
    ended = smaxd("status", "--url", url)

    assert (ended.code, ended.err) == (0, "")
    assert "S_max     131,670 puts/s" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "\x1b" not in ended.out


def test_status_json_is_what_the_daemon_serves(smaxd: Call, url: str) -> None:
    """One contract for both."""
    document = json.loads(smaxd("status", "--json", "--url", url).out)

    assert document["databases"][0]["recommended"]["puts_per_second"] == 131_670.0
    assert document["tick"] == 42


def test_status_of_a_daemon_that_is_starting_fails_with_its_word(
    smaxd: Call, url: str, published: Published
) -> None:
    """It answers, but has nothing to tell yet."""
    published.__init__()  # type: ignore[misc]
    ended = smaxd("status", "--url", url)

    assert ended.code == 1
    assert ended.err == f"smaxd: smaxd at {url} is starting: no tick yet\n"


@pytest.mark.parametrize(("severity", "code"), [("warning", 1), ("critical", 2), (None, 0)])
def test_check_ends_as_host_checks_do(
    smaxd: Call, url: str, published: Published, severity: str | None, code: int
) -> None:
    """One line whatever the state."""
    alerts: tuple[AlertState, ...] = ()
    if severity is not None:
        active = next(state for state in snapshots.alerts() if state.active)
        alerts = (dataclasses.replace(active, severity=severity),)
    databases = (snapshots.busy_database(),)
    published.put(
        dataclasses.replace(snapshots.snapshot(), databases=databases, alerts=alerts), 0.01
    )
    ended = smaxd("check", "--url", url, "--db", "orders")

    assert (ended.code, ended.err, ended.out.count("\n")) == (code, "", 1)
    assert smaxd("check", f"--url={url}", "--db=orders").code == code


def test_a_reader_that_goes_away_ends_the_command_quietly(url: str) -> None:
    """As in "smaxd status | head -1"."""
    argv = [sys.executable, "-m", "agent", "status", "--json", "--url", url]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        error = running.stderr.read()

    assert error == b""
    assert running.returncode == 1


IN_TERMINAL = """
import fcntl, runpy, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C becomes a signal
runpy.run_module("agent", run_name="__main__")
"""


def test_watch_refreshes_in_a_terminal_until_ctrl_c(url: str, published: Published) -> None:
    """It shows the latest tick, in colour, and ends with exit 0."""
    terminal, other_end = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, "status", "--watch", "--interval", "0.1", "--url", url],
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        env=environment(COLUMNS="80", LINES="50"),
        start_new_session=True,
    ) as running:
        os.close(other_end)
        try:
            seen = read_until(terminal, b"tick 42")
            published.put(dataclasses.replace(snapshots.snapshot(), tick=43), 0.01)
            seen += read_until(terminal, b"tick 43")
            os.write(terminal, b"\x03")
            rest = read_until(terminal, None)
            code = running.wait(30)
        finally:
            running.kill()
            os.close(terminal)

    assert code == 0
    assert b"\x1b[" in seen
    assert b"Traceback" not in seen + rest


def read_until(terminal: int, text: bytes | None) -> bytes:
    """Read a terminal up to a text, or up to its end."""
    seen = b""
    give_up = time.monotonic() + 30
    while text is None or text not in seen:
        readable, _, _ = select.select([terminal], [], [], max(0.0, give_up - time.monotonic()))
        assert readable, f"{text!r} never came: {seen!r}"
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            chunk = b""
        if not chunk:
            assert text is None, f"ended before {text!r}: {seen!r}"
            break
        seen += chunk
    return seen
