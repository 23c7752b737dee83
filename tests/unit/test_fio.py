"""The fio command line, the parser of its output on captured runs, and the probe on fake fios."""

import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.clock import SystemClock
from probes.command import CompletedCommand, ProcessGroupRunner
from probes.errors import NoData, ProbeFailed
from probes.fio import DEFAULT_LIMITS, FioLimits, FioMode, FioProbe, fio_argv, scratch_file_bytes
from probes.fio_output import parse_fio_output, reported_write_bytes
from probes.samples import DiskCounters, DiskstatsSample

CAPTURED = Path(__file__).parents[1] / "data" / "fio"
MIB = 1024 * 1024
SMALL = FioLimits(4 * MIB, 2.0, None)


def captured(name: str) -> tuple[bytes, bytes]:
    return (
        (CAPTURED / f"{name}.stdout").read_bytes(),
        (CAPTURED / f"{name}.stderr").read_bytes(),
    )


def fake_fio(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a shell script named fio first on PATH; it logs its arguments to ``argv``."""
    programs = directory / "bin"
    programs.mkdir()
    program = programs / "fio"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/argv\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return program


def probe_in(
    directory: Path,
    limits: FioLimits = SMALL,
    diskstats: Callable[[], DiskstatsSample] | None = None,
    database_paths: tuple[str, ...] = (),
) -> FioProbe:
    scratch = directory / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    return FioProbe(
        str(scratch),
        SystemClock(),
        ProcessGroupRunner(),
        FioMode.FAST,
        limits,
        device_devnum="8:0",
        diskstats=diskstats,
        database_paths=database_paths,
    )


def disk(written_bytes: int) -> DiskstatsSample:
    counters = DiskCounters(
        "sda", "8:0", 0, 0, 0, 0, 0, 0, written_bytes // 512, 0, 0, 0, 0, *[None] * 6
    )
    return DiskstatsSample(0.0, {"8:0": counters})


@pytest.mark.parametrize("mode", list(FioMode))
def test_every_mode_writes_direct_bounded_and_named_as_told(mode: FioMode) -> None:
    """Whatever the mode, bytes and time are bounded and the page cache is left out."""
    argv = fio_argv(mode, FioLimits(64 * MIB, 2.5, None), "scratch-1")
    assert argv[0] == "fio"
    expected = {
        "--filename=scratch-1",
        "--rw=write",
        "--direct=1",
        "--bs=1048576",
        f"--size={64 * MIB}",
        f"--io_size={64 * MIB}",
        "--runtime=2500ms",
        "--thread=1",
        "--allow_file_create=0",
        "--unlink=1",
        "--eta=never",
        "--output-format=json",
    }
    assert expected <= set(argv)
    assert not any("time_based" in argument for argument in argv)


def test_a_rate_limit_is_passed_only_when_there_is_one() -> None:
    """No limit means no option, not a limit of zero."""
    limited = fio_argv(FioMode.FAST, FioLimits(MIB, 1.0, 5e6), "x")
    unlimited = fio_argv(FioMode.FAST, FioLimits(MIB, 1.0, None), "x")
    assert "--rate=5000000" in limited
    assert not [argument for argument in unlimited if argument.startswith("--rate=")]


def test_only_the_accurate_mode_asks_for_a_steady_state() -> None:
    """The criterion's window must fit into the runtime."""
    accurate = fio_argv(FioMode.ACCURATE, FioLimits(MIB, 9.0, None), "x")
    assert "--ss_dur=3s" in accurate
    for mode in (FioMode.FAST, FioMode.BALANCED):
        argv = fio_argv(mode, DEFAULT_LIMITS[mode], "x")
        assert not [argument for argument in argv if argument.startswith(("--ss", "--steady"))]


def test_a_long_run_goes_round_in_a_file_of_bounded_size() -> None:
    """The space taken is less than the bytes written."""
    limits = FioLimits(16 * 1024 * MIB, 60.0, None)
    argv = fio_argv(FioMode.ACCURATE, limits, "x")
    assert f"--io_size={16 * 1024 * MIB}" in argv
    assert f"--size={1024 * MIB}" in argv
    assert scratch_file_bytes(limits) == 1024 * MIB


def test_default_limits_keep_fast_small_and_short() -> None:
    """Fast is the mode that may run often."""
    fast = DEFAULT_LIMITS[FioMode.FAST]
    assert fast.size_bytes <= 128 * MIB
    assert fast.runtime_seconds <= 3
    assert DEFAULT_LIMITS[FioMode.ACCURATE].runtime_seconds <= 60


def test_a_short_run_has_a_bandwidth_but_no_spread() -> None:
    """Without bandwidth samples the spread is unknown, not zero."""
    result = parse_fio_output(*captured("fast"), 0)
    report = json.loads(captured("fast")[0])["jobs"][0]["write"]
    assert result.fio_version == "fio-3.33"
    assert float(report["bw_bytes"]) == result.write_bytes_per_second
    assert result.written_bytes == 128 * MIB
    assert report["runtime"] / 1000 == result.runtime_seconds
    assert result.spread_ratio is None
    assert result.steady is None
    assert report["clat_ns"]["percentile"]["50.000000"] / 1e9 == result.latency_p50_seconds
    assert report["clat_ns"]["percentile"]["99.000000"] / 1e9 == result.latency_p99_seconds


def test_a_longer_run_has_a_spread() -> None:
    """The spread is fio's own deviation over its own mean."""
    result = parse_fio_output(*captured("rate_limited"), 0)
    report = json.loads(captured("rate_limited")[0])["jobs"][0]["write"]
    assert report["bw_dev"] / report["bw_mean"] == result.spread_ratio
    assert math.isclose(50 * MIB, result.write_bytes_per_second, rel_tol=0.05)


@pytest.mark.parametrize(("name", "steady"), [("steady", True), ("not_steady", False)])
def test_fio_says_whether_the_steady_state_was_reached(name: str, steady: bool) -> None:
    """Ending by bytes or time before is not steady."""
    assert steady is parse_fio_output(*captured(name), 0).steady


@pytest.mark.parametrize(
    ("name", "returncode", "reason", "words"),
    [
        ("out_of_space", 1, "out_of_space", "No space left"),
        ("read_only", 1, "read_only_file_system", "Read-only"),
        ("not_writable", 1, "scratch_not_writable", "Permission denied"),
        ("no_direct_io", 1, "direct_io_not_supported", "does not support direct=1"),
        ("bad_option", 1, "fio_failed", "unrecognized option"),
        ("no_engine", 1, "fio_failed", "engine nosuchengine not loadable"),
        ("terminated", 128, "fio_killed", "signal 15"),
        ("rate_limited", -9, "fio_killed", "signal 9"),
    ],
)
def test_each_failure_of_fio_has_its_own_reason(
    name: str, returncode: int, reason: str, words: str
) -> None:
    """The reason is a constant; the detail carries fio's first message."""
    with pytest.raises(ProbeFailed) as caught:
        parse_fio_output(*captured(name), returncode)
    assert reason == caught.value.reason
    assert words in caught.value.detail


def test_a_terminated_run_still_tells_what_it_wrote() -> None:
    """Its bytes have worn the drive all the same."""
    stdout, _ = captured("terminated")
    count = reported_write_bytes(stdout)
    assert count is not None
    assert 20 * MIB < count < 60 * MIB


def test_text_before_and_after_the_report_is_passed_over() -> None:
    """Notes may hold braces and even whole JSON objects of their own."""
    stdout, _ = captured("fast")
    noise = b'fio: note {not json\n{"a": 1}\nfio: this platform does not support x\n'
    assert parse_fio_output(stdout, b"", 0) == parse_fio_output(
        noise + stdout + b"\nfio: bye }", b"fio: note\n", 0
    )


def test_a_report_of_fio_3_0_lacks_fields_and_still_gives_a_bandwidth() -> None:
    """Before 3.7 there is only ``bw`` in KiB/s; bandwidth samples were not counted."""
    report = json.loads(captured("rate_limited")[0])
    report["fio version"] = "fio-3.0"
    write = report["jobs"][0]["write"]
    for key in ("bw_bytes", "bw_samples", "iops_samples", "runtime"):
        del write[key]
    del write["clat_ns"]["percentile"]
    result = parse_fio_output(json.dumps(report).encode(), b"", 0)
    assert write["bw"] * 1024 == result.write_bytes_per_second
    assert write["bw_dev"] / write["bw_mean"] == result.spread_ratio
    assert result.latency_p50_seconds is None
    assert math.isclose(write["io_bytes"] / (write["bw"] * 1024), result.runtime_seconds)


def test_an_old_fio_is_recognised_by_its_report() -> None:
    """fio 2 names and scales its fields differently, so its numbers are not used."""
    stdout, _ = captured("fast")
    with pytest.raises(ProbeFailed) as caught:
        parse_fio_output(stdout.replace(b"fio-3.33", b"fio-2.21"), b"", 0)
    assert caught.value.reason == "fio_too_old"
    assert "fio-2.21" in caught.value.detail


@pytest.mark.parametrize(
    "stdout",
    [
        b"",
        b"\x00\xff\xfe garbage {",
        b'{"jobs": []}',
        b'{"jobs": [{"write": {"io_bytes": 0}}]}',
        b'{"jobs": [{"write": {"io_bytes": NaN, "bw_bytes": Infinity}}]}',
        b'{"jobs": 7}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"{" * 100_000,
        b'{"jobs": [{"write": {"io_bytes": ' + b"9" * 5000 + b"}}]}",
    ],
)
def test_output_that_is_no_report_is_garbage(stdout: bytes) -> None:
    """A successful exit does not make an unreadable report readable."""
    with pytest.raises(ProbeFailed) as caught:
        parse_fio_output(stdout, b"", 0)
    assert caught.value.reason == "fio_garbage"


@given(st.binary(max_size=400), st.binary(max_size=200), st.integers(-64, 255))
def test_no_output_at_all_breaks_the_parser(stdout: bytes, stderr: bytes, code: int) -> None:
    """Whatever fio prints, there is a result or a named reason."""
    with pytest.raises(ProbeFailed):
        parse_fio_output(stdout, stderr, code)
    reported_write_bytes(stdout)


@given(st.data())
def test_damaged_reports_give_finite_values_or_a_reason(data: st.DataObject) -> None:
    """Cut, overwritten and retyped reports of a real run never give nonsense types."""
    stdout, stderr = captured(data.draw(st.sampled_from(["steady", "rate_limited", "fast"])))
    report = json.loads(stdout)
    write = report["jobs"][0]["write"]
    junk: st.SearchStrategy[object] = st.one_of(
        st.sampled_from([None, "", "x", [], {}, True]), st.floats(), st.integers()
    )
    for key in data.draw(st.sets(st.sampled_from(sorted(write)), max_size=4)):
        write[key] = data.draw(junk)
    text = json.dumps(report).encode()
    text = text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text
    try:
        result = parse_fio_output(text, stderr, 0)
    except ProbeFailed:
        return
    assert 0 < result.write_bytes_per_second < math.inf
    assert 0 < result.written_bytes < 2**63 + 1
    assert result.spread_ratio is None or 0 <= result.spread_ratio < math.inf


def test_the_probe_runs_fio_inside_the_scratch_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fio finds a file that nobody else may open, and it is gone afterwards."""
    script = f"pwd > {tmp_path}/cwd; ls -l > {tmp_path}/seen; cat {CAPTURED}/fast.stdout"
    fake_fio(tmp_path, script, monkeypatch)
    sample = probe_in(tmp_path).read()
    assert str(tmp_path / "scratch") == (tmp_path / "cwd").read_text().strip()
    seen = (tmp_path / "seen").read_text()
    assert f"smaxd-scratch-{os.getpid()}-" in seen
    assert "-rw-------" in seen
    assert os.listdir(tmp_path / "scratch") == []
    assert sample.mode == "fast"
    assert sample.written_bytes == 128 * MIB
    assert sample.other_write_bytes_per_second is None


def test_what_others_wrote_is_the_devices_traffic_less_fios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never negative, also when the device counts later than fio."""
    fake_fio(tmp_path, f"cat {CAPTURED}/fast.stdout", monkeypatch)
    readings = iter([disk(0), disk(200 * MIB), disk(0), disk(MIB), disk(5 * MIB), disk(0)])
    probe = probe_in(tmp_path, diskstats=lambda: next(readings))
    others = probe.read().other_write_bytes_per_second
    assert others is not None
    assert others > 0
    assert probe.read().other_write_bytes_per_second == 0.0
    assert probe.read().other_write_bytes_per_second is None


def test_a_device_that_cannot_be_read_costs_only_that_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement itself does not need diskstats."""

    def vanished() -> DiskstatsSample:
        raise NoData("gone", "the device is gone")

    fake_fio(tmp_path, f"cat {CAPTURED}/fast.stdout", monkeypatch)
    sample = probe_in(tmp_path, diskstats=vanished).read()
    assert sample.other_write_bytes_per_second is None


@pytest.mark.parametrize(
    ("script", "reason", "counted"),
    [
        (f"cat {CAPTURED}/out_of_space.stdout; exit 1", "out_of_space", None),
        (f"cat {CAPTURED}/terminated.stdout; exit 128", "fio_killed", None),
        ("kill -9 $$", "fio_killed", 4 * MIB),
        ("echo hello", "fio_garbage", 4 * MIB),
        ("echo 'fio: engine libaio not loadable' >&2; exit 1", "fio_failed", 4 * MIB),
    ],
)
def test_failed_runs_count_with_what_they_wrote_or_may_have_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    reason: str,
    counted: int | None,
) -> None:
    """A run without a report counts in full; the scratch file is gone in any case."""
    fake_fio(tmp_path, script, monkeypatch)
    probe = probe_in(tmp_path)
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert reason == caught.value.reason
    if counted is None:
        assert probe.written_bytes_total > 0
    else:
        assert counted == probe.written_bytes_total
    assert os.listdir(tmp_path / "scratch") == []


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many"), MemoryError("none left")])
def test_a_run_that_ends_in_an_unforeseen_way_counts_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """fio was started, and nobody knows what it wrote until it was killed."""

    def refuse() -> None:
        raise error

    fake_fio(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr("probes.command.selectors.DefaultSelector", refuse)
    probe = probe_in(tmp_path)
    with pytest.raises(type(error)):
        probe.read()
    assert probe.written_bytes_total == 4 * MIB
    assert os.listdir(tmp_path / "scratch") == []


def test_a_hanging_fio_is_killed_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout is the runtime plus the grace for starting."""
    monkeypatch.setattr("probes.fio.START_GRACE_SECONDS", 0.1)
    fake_fio(tmp_path, "exec sleep 60", monkeypatch)
    probe = probe_in(tmp_path, FioLimits(MIB, 0.1, None))
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "timeout"
    assert probe.written_bytes_total == MIB
    assert os.listdir(tmp_path / "scratch") == []


class Interrupted:
    """A runner that Ctrl-C interrupts."""

    def run(self, *_: object, **__: object) -> CompletedCommand:
        raise KeyboardInterrupt


def test_a_run_that_is_interrupted_counts_with_all_it_may_have_written(tmp_path: Path) -> None:
    """Nobody reads fio's report then."""
    (tmp_path / "scratch").mkdir(mode=0o700)
    limits = FioLimits(MIB, 0.1, None)
    scratch = str(tmp_path / "scratch")
    probe = FioProbe(scratch, SystemClock(), Interrupted(), FioMode.FAST, limits)
    with pytest.raises(KeyboardInterrupt):
        probe.read()
    assert probe.written_bytes_total == MIB
    assert os.listdir(scratch) == []


def test_a_missing_fio_is_named_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detail says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    probe = probe_in(tmp_path)
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "fio_missing"
    assert "install" in caught.value.detail
    assert probe.written_bytes_total == 0


def test_an_old_fio_that_refuses_our_options_is_asked_for_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints no report, so only --version tells."""
    script = 'case "$1" in --version) echo fio-2.2.10;; *) echo "bad option" >&2; exit 1;; esac'
    fake_fio(tmp_path, script, monkeypatch)
    with pytest.raises(ProbeFailed) as caught:
        probe_in(tmp_path).read()
    assert caught.value.reason == "fio_too_old"


def test_low_free_space_is_no_data_and_fio_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe must not fill the file system of a database."""
    fake_fio(tmp_path, "echo started", monkeypatch)
    monkeypatch.setattr("probes.fio.LARGEST_FILE_BYTES", 2**60)
    probe = probe_in(tmp_path, FioLimits(2**50, 1.0, None))
    with pytest.raises(NoData) as caught:
        probe.read()
    assert caught.value.reason == "low_free_space"
    assert not (tmp_path / "argv").exists()


def test_a_scratch_directory_that_became_part_of_a_database_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before every run, not only when it was chosen."""
    fake_fio(tmp_path, "echo started", monkeypatch)
    probe = probe_in(tmp_path)
    (tmp_path / "CURRENT").touch()
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "scratch_invalid"
    assert not (tmp_path / "argv").exists()


def test_leftovers_of_a_dead_run_go_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the agent must not leave a gigabyte for good."""
    fake_fio(tmp_path, f"cat {CAPTURED}/fast.stdout", monkeypatch)
    probe = probe_in(tmp_path)
    leftover = tmp_path / "scratch" / "smaxd-scratch-1-1-deadbeef"
    leftover.touch()
    probe.read()
    assert not leftover.exists()


def test_a_vanished_scratch_directory_is_named(tmp_path: Path) -> None:
    """A directory of the operator's is not made anew."""
    probe = probe_in(tmp_path)
    (tmp_path / "scratch").rmdir()
    with pytest.raises(ProbeFailed) as caught:
        probe.read()
    assert caught.value.reason == "scratch_not_writable"


def test_our_own_subdirectory_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another instance of ours, ending, may have removed it between two runs."""
    fake_fio(tmp_path, f"cat {CAPTURED}/fast.stdout", monkeypatch)
    directory = tmp_path / f"smaxd-scratch-{os.geteuid()}"
    probe = FioProbe(str(directory), SystemClock(), ProcessGroupRunner(), FioMode.FAST, SMALL)
    probe.read()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
