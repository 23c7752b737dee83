import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.calibrate.figures import Measured, Written
from agent.calibrate.options import parse
from agent.calibrate.outcome import RunContext, outcome
from agent.calibrate.result import CalibrationResult, OptionChange, Records, decode, encode
from agent.calibrate.result_file import CalibrationResultsProbe, file_name, save_result
from agent.calibrate.text import announcement, result_lines
from probes.errors import NoData, ProbeFailed
from tests.unit.agent_samples import a_device
from tests.unit.test_scratch_figures import points, reading, stalled

OPTIONS = (Path(__file__).parents[1] / "data/rocksdb/v9.8.4/OPTIONS-000007").read_text()


def context(**changes: Any) -> RunContext:
    values: dict[str, Any] = {
        "wall_seconds": 1.7e9,
        "smaxd_version": "1.2.3",
        "database": "/db",
        "database_bytes": 1e9,
        "scratch_bytes_end": 1e9,
        "device": a_device(),
        "device_limit_bytes_per_second": None,
        "cores": 2.0,
        "options": parse(OPTIONS),
        "options_changed": (OptionChange("merge_operator", "x", "nullptr", "the application's"),),
        "options_digest": "abc",
        "options_key": "def",
        "watched_version": "7.8.3",
        "records": Records(16, 1024, 1.0, "random", 63, True, "log flush events"),
        "notes": (),
        **changes,
    }
    return RunContext(**values)


def measured(**changes: Any) -> Measured:
    """20 s of saturation at 1,000 puts/s, then a check that was held."""
    values: dict[str, Any] = {
        "saturated_before": reading(0.0, 0),
        "saturated_after": reading(20.0, 20000, log=stalled(5.0)),
        "check_before": reading(30.0, 20000, log=stalled(5.0)),
        "check_after": reading(50.0, 39000, log=stalled(5.0)),
        "check_rate": 950.0,
        "points": points(50, 1000.0),
        "seconds": 60.0,
        "written_bytes": 10**8,
        **changes,
    }
    return Measured(**values)


def a_result(context_changes: dict[str, Any] | None = None, **changes: Any) -> CalibrationResult:
    return outcome(context(**(context_changes or {})), measured(**changes))


def shown(result: CalibrationResult) -> str:
    return "\n".join(result_lines(result))


def test_a_steady_run_is_usable_and_labelled() -> None:
    """It may replace the prior, under its own name."""
    result = a_result()
    assert (result.source, result.puts_per_second, result.limit) == (
        "calibrate",
        1000.0,
        "database",
    )
    assert result.usable
    assert "sustained  1,000 puts/s" in shown(result)


def test_a_rate_that_still_moves_is_shown_but_not_used() -> None:
    """The debt grew: the rate would not last."""
    result = a_result(points=points(50, 1000.0, lambda at: 10 + at))
    assert result.puts_per_second == 1000.0
    assert not result.usable
    assert "STILL MOVING" in shown(result)


def test_a_writer_at_its_limit_gives_a_lower_bound() -> None:
    """Not a number for the database."""
    after = reading(20.0, 20000, writer_cpu_seconds=19.5)
    result = a_result(saturated_after=after)
    assert (result.limit, result.at_least, result.usable) == ("writer", True, False)
    assert "at least 1,000 puts/s" in shown(result)
    assert "the one writing thread" in shown(result)


def test_an_interrupted_run_says_what_it_has() -> None:
    """And nothing more."""
    result = a_result(
        saturated_before=None,
        saturated_after=None,
        check_before=None,
        check_after=None,
        ended_by="SIGINT",
    )
    assert (result.puts_per_second, result.saturated, result.check) == (None, None, None)
    assert result.written_bytes_per_put == {}
    text = shown(result)
    assert text.startswith("ended before its time: SIGINT\nnothing was measured yet")
    assert "95 MiB written in 60 s" in text


def test_the_device_is_a_capacity_only_when_it_was_the_limit() -> None:
    """Otherwise its rate is a lower bound."""
    assert a_result().sustained_capacity is None
    limited = a_result({"device_limit_bytes_per_second": 5.2e6})
    assert limited.sustained_capacity == pytest.approx(5.12e6)


def test_a_larger_database_is_told_to_sustain_less() -> None:
    """The scratch tree is younger and has fewer levels."""
    assert "sustains less than this" in shown(a_result({"database_bytes": 5e9}))
    assert "sustains less" not in shown(a_result({"database_bytes": 1.05e9}))


def test_others_use_of_the_cpu_is_told() -> None:
    """Half of two cores busy, a tenth by us."""
    result = a_result(
        saturated_before=reading(0.0, 0, writer_cpu_seconds=0.0, compaction_cpu_seconds=0.0),
        saturated_after=reading(20.0, 20000, writer_cpu_seconds=1.0, compaction_cpu_seconds=1.0),
    )
    assert "other programs used 0.8 of 2 cores" in shown(result)


def test_changed_options_are_listed_with_their_reason() -> None:
    """Nobody should have to guess what was compared."""
    assert "merge_operator=x -> nullptr: the application's" in shown(a_result())


def results_in(directory: Path) -> tuple[CalibrationResult, ...]:
    """What the daemon reads there."""
    return CalibrationResultsProbe(str(directory)).read()


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    """All of it."""
    result = a_result()
    assert decode(encode(result)) == result
    path = save_result(str(tmp_path / "state"), result)
    assert results_in(tmp_path / "state") == (result,)
    assert os.listdir(tmp_path / "state") == [os.path.basename(path)]


def test_a_new_result_replaces_the_same_databases_and_no_other(tmp_path: Path) -> None:
    """One file per database."""
    save_result(str(tmp_path), a_result())
    save_result(str(tmp_path), a_result({"database": "/other"}))
    save_result(str(tmp_path), a_result({"database": None}))
    save_result(str(tmp_path), a_result({"wall_seconds": 1.8e9}))
    found = {result.database: result.measured_wall_seconds for result in results_in(tmp_path)}
    assert found == {"/db": 1.8e9, "/other": 1.7e9, None: 1.7e9}


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format_version": 2}'])
def test_a_damaged_file_is_passed_over(tmp_path: Path, content: bytes) -> None:
    """It costs its own value and nothing else."""
    path = Path(save_result(str(tmp_path), a_result()))
    path.with_name("calibrate-0.json").write_bytes(content)
    assert len(results_in(tmp_path)) == 1


def test_files_of_which_none_can_be_used_are_told(tmp_path: Path) -> None:
    """With their names: else they would be as if nothing had ever been measured."""
    (tmp_path / "calibrate-0.json").write_bytes(b"{}")
    with pytest.raises(ProbeFailed) as refused:
        results_in(tmp_path)
    assert refused.value.reason == "calibration_unusable"
    assert str(tmp_path / "calibrate-0.json") in refused.value.detail


def test_a_pipe_or_endless_nesting_is_passed_over(tmp_path: Path) -> None:
    """Neither makes the daemon wait for a writer, nor ends the probe."""
    save_result(str(tmp_path), a_result())
    os.mkfifo(tmp_path / "calibrate-0.json")
    (tmp_path / "calibrate-1.json").write_bytes(b'{"x":' + b"[" * 100_000)
    assert len(results_in(tmp_path)) == 1


@pytest.mark.parametrize("rate", [0.0, -5.0, 1e300])
def test_a_rate_that_cannot_be_is_not_read(rate: float) -> None:
    """It would become the device's capacity, or S_max."""
    tree = msgspec.to_builtins(a_result())
    with pytest.raises(ValueError, match="cannot be"):
        decode(msgspec.json.encode({**tree, "puts_per_second": rate}))


def test_another_format_is_not_read() -> None:
    """Rather nothing than something misunderstood."""
    newer = msgspec.json.encode({**msgspec.to_builtins(a_result()), "format_version": 2})
    with pytest.raises(ValueError, match="format 2"):
        decode(newer)


def test_no_state_is_no_results(tmp_path: Path) -> None:
    """The common case on a new host."""
    with pytest.raises(NoData, match="not_calibrated"):
        results_in(tmp_path / "missing")


def test_state_is_never_written_into_a_database(tmp_path: Path) -> None:
    """Whatever STATE_DIRECTORY says."""
    (tmp_path / "CURRENT").touch()
    with pytest.raises(PermissionError):
        save_result(str(tmp_path), a_result())
    assert os.listdir(tmp_path) == ["CURRENT"]


def test_file_names_tell_databases_and_devices_apart() -> None:
    """A database could be called like a device."""
    assert file_name("sda", "sda") != file_name(None, "sda")


def test_what_will_be_written_is_said_against_the_budget() -> None:
    """Before it is."""
    text = announcement(10 * 2**30, 300.0, "sda", "/data", 500 * 2**20)
    assert text == (
        "calibrate writes at most 10.0 GiB to sda (/data) in 5.0 min: 20 times this drive's wear "
        "budget of a day (500 MiB)"
    )


def test_flushes_are_told_from_the_wal() -> None:
    """By thread."""
    written = Written(total=8 * 10**7, cancelled=0, writer=2 * 10**7, flush=3 * 10**7)
    result = a_result(saturated_after=reading(20.0, 20000, written=written))
    assert result.written_bytes_per_put["flush"] == 1500.0
